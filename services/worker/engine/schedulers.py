"""Noise schedulers by name, and what each of their steps does to a row, as numbers.

A step of DDIM, Euler, Euler ancestral, DPM++ 2M, LCM and flow-match Euler is linear in the latents, the model's output,
the picture that the step before predicted, and fresh noise. So a run needs no scheduler object while it is drawn: a
table of numbers does, and rows of different schedulers, step counts and timesteps are stepped by one expression. The
coefficients are read off the diffusers class itself, by stepping it on unit vectors: no formula is written twice. A run
with any other scheduler has one of its own.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2AncestralDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    TCDScheduler,
    UniPCMultistepScheduler,
)
from numpy.typing import NDArray
from torch import Tensor

from services.worker.engine.failures import SchedulerUnknown

#: For models that predict noise or velocity; the first five have tables.
CLASSES: Final[dict[str, Any]] = {
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "euler_ancestral": EulerAncestralDiscreteScheduler,
    "dpmpp_2m": DPMSolverMultistepScheduler,
    "lcm": LCMScheduler,
    "ddpm": DDPMScheduler,
    "deis": DEISMultistepScheduler,
    "dpm2": KDPM2DiscreteScheduler,
    "dpm2_ancestral": KDPM2AncestralDiscreteScheduler,
    "dpmpp_2s": DPMSolverSinglestepScheduler,
    "heun": HeunDiscreteScheduler,
    "pndm": PNDMScheduler,
    "tcd": TCDScheduler,
    "unipc": UniPCMultistepScheduler,
}
#: For models of flow matching; the first has tables.
FLOW_CLASSES: Final[dict[str, Any]] = {
    "flow_euler": FlowMatchEulerDiscreteScheduler,
    "flow_heun": FlowMatchHeunDiscreteScheduler,
}

#: Columns of a table. The step is x' = X x + E e + M m + Z z, for latents x, the model's output e, the prediction m of
#: the step before and noise z; the prediction is p = MX x + ME e; the model is given SCALE x at TIMESTEP. Euler's steps
#: add DT (x - p) / SIGMA, unexpanded: where sigma is large the stock class cancels large numbers, and so do we.
#: A picture s with noise n as noisy as the step leaves x is KEEP s + OVER n.
TIMESTEP, SCALE, X, E, M, Z, MX, ME, SIGMA, DT, KEEP, OVER = range(12)
COLUMN_COUNT: Final = 12
#: The length of the unit vectors: a power of two, large beside the noise that is drawn over them.
_UNIT: Final = 2.0**20
_TABLES_KEPT: Final = 256
_PLAIN: Final[Mapping[str, Any]] = {}


def build(name: str, base_config: Any, classes: Mapping[str, Any] = CLASSES) -> Any:
    """Make a fresh scheduler of this name with the noise schedule of `base_config`.

    Raises:
        SchedulerUnknown: if there is none of this name.
    """
    if name not in classes:
        raise SchedulerUnknown(f"There is no scheduler '{name}'; there are {', '.join(classes)}.")
    return classes[name].from_config(base_config)


def set_steps(scheduler: Any, name: str, steps: int, schedule: Mapping[str, Any] = _PLAIN) -> None:
    """Lay out the timesteps; `schedule` is what the base model's family adds to the number of steps.

    Raises:
        SchedulerUnknown: if the scheduler does not take that many steps.
    """
    try:
        scheduler.set_timesteps(steps, **schedule)
    except (TypeError, ValueError) as problem:
        raise SchedulerUnknown(f"The scheduler '{name}' does not take {steps} steps: {problem}") from problem


@dataclass(frozen=True, slots=True)
class Table:
    """All steps of a scheduler at one step count."""

    coefficients: NDArray[np.float32]
    """(steps, columns), by the columns above."""
    draws_noise: tuple[bool, ...]
    start_scale: float
    """What the noise that a run starts from is multiplied by."""

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return len(self.draws_noise)

    @property
    def is_euler(self) -> bool:
        """Whether its steps have Euler's term."""
        return bool(self.coefficients[:, DT].any())

    @property
    def remembers(self) -> bool:
        """Whether a step needs the prediction of the step before."""
        return bool(self.coefficients[:, M].any())


def start_scale(scheduler: Any) -> float:
    """What the noise that a run starts from is multiplied by; schedulers of flows do not say."""
    return float(getattr(scheduler, "init_noise_sigma", 1.0))


class Tables:
    """Tables of one base model, each made once."""

    def __init__(self, base_config: Any, classes: Mapping[str, Any] = CLASSES) -> None:
        self._config = base_config
        self._classes = classes
        self._made: collections.OrderedDict[tuple[object, ...], Table | None] = collections.OrderedDict()

    def build(self, name: str, steps: int, schedule: Mapping[str, Any] = _PLAIN, begin: int | None = None) -> Any:
        """A scheduler for one run alone, its timesteps laid out; `begin` is its first step where a picture is given.

        Raises:
            SchedulerUnknown: if there is no such scheduler, or it does not take that many steps.
        """
        scheduler = build(name, self._config, self._classes)
        set_steps(scheduler, name, steps, schedule)
        if begin is not None and hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(begin * scheduler.order)
        return scheduler

    def of(self, name: str, steps: int, schedule: Mapping[str, Any] = _PLAIN, begin: int | None = None) -> Table | None:
        """The table of the steps from `begin` on, or None where they are not linear and need a scheduler of their own.

        Raises:
            SchedulerUnknown: if there is no such scheduler, or it does not take that many steps.
        """
        key = (name, steps, begin, *sorted(schedule.items()))
        if key not in self._made:
            scheduler = self.build(name, steps, schedule, begin)
            self._made[key] = tabulated(scheduler, begin or 0)
            if len(self._made) > _TABLES_KEPT:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return self._made[key]


def is_linear(scheduler: Any) -> bool:
    """Whether its steps are linear in what a run carries: it clips nothing and remembers one step at most."""
    config = scheduler.config
    if type(scheduler) not in _PROBES or config.get("thresholding") or config.get("clip_sample"):
        return False
    return type(scheduler) is not DPMSolverMultistepScheduler or config.solver_order <= 2


def tabulate(name: str, base_config: Any, steps: int) -> Table | None:
    """The table of a scheduler by its name."""
    return Tables(base_config).of(name, steps)


def tabulated(scheduler: Any, begin: int = 0) -> Table | None:
    """Read the coefficients off a scheduler that is laid out; None where its steps are not linear."""
    if not is_linear(scheduler):
        return None
    coefficients = np.zeros((len(scheduler.timesteps) - begin, COLUMN_COUNT), np.float64)
    draws = []
    for step, row in enumerate(coefficients):
        index = begin + step
        row[:KEEP], draws_noise = _PROBES[type(scheduler)](scheduler, scheduler.timesteps[index], index, step == 0)
        row[KEEP:] = _noising(scheduler, index + 1)
        draws.append(draws_noise)
    return Table(coefficients.astype(np.float32), tuple(draws), start_scale(scheduler))


def _noising(scheduler: Any, index: int) -> list[float]:
    """What a picture and noise over it are multiplied by to be as noisy as a step takes them; none after the last."""
    if index == len(scheduler.timesteps):
        return [1.0, 0.0]
    if not hasattr(scheduler, "add_noise"):
        return [0.0, 0.0]
    picture, noise = torch.eye(2).unsqueeze(1)
    noised: list[float] = scheduler.add_noise(picture, noise, scheduler.timesteps[index : index + 1])[0].tolist()
    return noised


def _probe(scheduler: Any, timestep: Tensor, index: int, is_first: bool) -> tuple[list[float], bool]:
    """Step a scheduler on unit vectors of x, e and m, with known noise over them."""
    x, e, m = (_UNIT * torch.eye(4)[position] for position in range(3))
    is_multistep = isinstance(scheduler, DPMSolverMultistepScheduler)
    if is_multistep and not is_first:
        scheduler.model_outputs[-1] = m
    scaled = scheduler.scale_model_input(x, timestep) if hasattr(scheduler, "scale_model_input") else x
    generator = torch.Generator().manual_seed(index)
    before = generator.get_state()
    extra = {} if isinstance(scheduler, DDIMScheduler) else {"generator": generator}
    after = scheduler.step(e, timestep, x, **extra, return_dict=False)[0].double()
    draws_noise = not torch.equal(before, generator.get_state())
    noise = torch.randn(4, generator=torch.Generator().manual_seed(index)).double()
    of_noise = float(after[3] / noise[3]) if draws_noise else 0.0
    of_x, of_e, of_m, _ = ((after - of_noise * noise) / _UNIT).tolist()
    predicted = scheduler.model_outputs[-1] / _UNIT if is_multistep else torch.zeros(4)
    of_m = of_m if is_multistep and not is_first else 0.0
    scale = float(scaled[0]) / _UNIT
    predictions = [float(predicted[0]), float(predicted[1])]
    return [float(timestep), scale, of_x, of_e, of_m, of_noise, *predictions, 1.0, 0.0], draws_noise


def _probe_euler(scheduler: Any, timestep: Tensor, index: int, _is_first: bool) -> tuple[list[float], bool]:
    """Euler, with or without noise: Karras et al. 2022 (arXiv 2206.00364), algorithm 2 without churn."""
    x, e = (_UNIT * torch.eye(4)[position] for position in range(2))
    scale = float(scheduler.scale_model_input(x, timestep)[0]) / _UNIT
    sigma, following = scheduler.sigmas[index], scheduler.sigmas[index + 1]
    predicted = scheduler.step(e, timestep, x).pred_original_sample / _UNIT
    is_ancestral = isinstance(scheduler, EulerAncestralDiscreteScheduler)
    up = (following**2 * (sigma**2 - following**2) / sigma**2) ** 0.5 if is_ancestral else torch.tensor(0.0)
    down = (following**2 - up**2) ** 0.5 if is_ancestral else following
    predictions = [float(predicted[0]), float(predicted[1])]
    step = [float(sigma), float(down - sigma)]
    return [float(timestep), scale, 1.0, 0.0, 0.0, float(up), *predictions, *step], is_ancestral


_PROBES: Final[dict[type, Any]] = {
    DDIMScheduler: _probe,
    DPMSolverMultistepScheduler: _probe,
    LCMScheduler: _probe,
    FlowMatchEulerDiscreteScheduler: _probe,
    EulerDiscreteScheduler: _probe_euler,
    EulerAncestralDiscreteScheduler: _probe_euler,
}
