"""Noise schedulers by name, and what each of their steps does to a row, as numbers.

A step of DDIM, Euler, Euler ancestral, DPM++ 2M and LCM is linear in the latents, the model's output, the picture that
the step before predicted, and fresh noise. So a run needs no scheduler object while it is drawn: a table of numbers
does, and rows of different schedulers, step counts and timesteps are stepped by one expression. The coefficients are
read off the diffusers class itself, by stepping it on unit vectors: no formula is written twice.
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
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
)
from numpy.typing import NDArray
from torch import Tensor

from services.worker.engine.base import SchedulerUnknown

CLASSES: Final[dict[str, Any]] = {
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "euler_ancestral": EulerAncestralDiscreteScheduler,
    "dpmpp_2m": DPMSolverMultistepScheduler,
    "lcm": LCMScheduler,
}

#: Columns of a table. The step is x' = X x + E e + M m + Z z, for latents x, the model's output e, the prediction m of
#: the step before and noise z; the prediction is p = MX x + ME e; the model is given SCALE x at TIMESTEP. Euler's steps
#: add DT (x - p) / SIGMA, unexpanded: where sigma is large the stock class cancels large numbers, and so do we.
TIMESTEP, SCALE, X, E, M, Z, MX, ME, SIGMA, DT = range(10)
COLUMN_COUNT: Final = 10
#: The length of the unit vectors: a power of two, large beside the noise that is drawn over them.
_UNIT: Final = 2.0**20
_TABLES_KEPT: Final = 256


def build(name: str, base_config: Any) -> Any:
    """Make a fresh scheduler of this name with the noise schedule of `base_config`.

    Raises:
        SchedulerUnknown: if there is none of this name.
    """
    if name not in CLASSES:
        raise SchedulerUnknown(f"There is no scheduler '{name}'; there are {', '.join(CLASSES)}.")
    return CLASSES[name].from_config(base_config)


def set_steps(scheduler: Any, name: str, steps: int) -> None:
    """Lay out the timesteps.

    Raises:
        SchedulerUnknown: if the scheduler does not take that many steps.
    """
    try:
        scheduler.set_timesteps(steps)
    except ValueError as problem:
        raise SchedulerUnknown(f"The scheduler '{name}' does not take {steps} steps: {problem}") from problem


@dataclass(frozen=True, slots=True)
class Table:
    """All steps of a scheduler at one step count."""

    coefficients: NDArray[np.float32]
    """(steps, 8), by the columns above."""
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


class Tables:
    """Tables of one base model, each made once."""

    def __init__(self, base_config: Any) -> None:
        self._config = base_config
        self._made: collections.OrderedDict[tuple[str, int], Table | None] = collections.OrderedDict()

    def of(self, name: str, steps: int) -> Table | None:
        """The table, or None where the steps are not linear and the run needs a scheduler of its own.

        Raises:
            SchedulerUnknown: if there is no such scheduler, or it does not take that many steps.
        """
        key = (name, steps)
        if key not in self._made:
            self._made[key] = tabulate(name, self._config, steps)
            if len(self._made) > _TABLES_KEPT:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return self._made[key]


def is_linear(config: Mapping[str, Any]) -> bool:
    """Whether a configuration clips nothing: then its steps are linear."""
    return not (config.get("thresholding") or config.get("clip_sample"))


def tabulate(name: str, base_config: Any, steps: int) -> Table | None:
    """Read the coefficients off the scheduler's class."""
    scheduler = build(name, base_config)
    if not is_linear(scheduler.config):
        return None
    set_steps(scheduler, name, steps)
    coefficients = np.zeros((len(scheduler.timesteps), COLUMN_COUNT), np.float64)
    draws = []
    for index, timestep in enumerate(scheduler.timesteps):
        row, draws_noise = _PROBES.get(type(scheduler), _probe)(scheduler, timestep, index)
        coefficients[index] = row
        draws.append(draws_noise)
    return Table(coefficients.astype(np.float32), tuple(draws), float(scheduler.init_noise_sigma))


def _probe(scheduler: Any, timestep: Tensor, index: int) -> tuple[list[float], bool]:
    """Step a scheduler on unit vectors of x, e and m, with known noise over them."""
    x, e, m = (_UNIT * torch.eye(4)[position] for position in range(3))
    is_multistep = isinstance(scheduler, DPMSolverMultistepScheduler)
    if is_multistep and index > 0:
        scheduler.model_outputs[-1] = m
    scaled = scheduler.scale_model_input(x, timestep)
    generator = torch.Generator().manual_seed(index)
    before = generator.get_state()
    extra = {} if isinstance(scheduler, DDIMScheduler) else {"generator": generator}
    after = scheduler.step(e, timestep, x, **extra, return_dict=False)[0].double()
    draws_noise = not torch.equal(before, generator.get_state())
    noise = torch.randn(4, generator=torch.Generator().manual_seed(index)).double()
    of_noise = float(after[3] / noise[3]) if draws_noise else 0.0
    of_x, of_e, of_m, _ = ((after - of_noise * noise) / _UNIT).tolist()
    predicted = scheduler.model_outputs[-1] / _UNIT if is_multistep else torch.zeros(4)
    of_m = of_m if is_multistep and index > 0 else 0.0
    scale = float(scaled[0]) / _UNIT
    predictions = [float(predicted[0]), float(predicted[1])]
    return [float(timestep), scale, of_x, of_e, of_m, of_noise, *predictions, 1.0, 0.0], draws_noise


def _probe_euler(scheduler: Any, timestep: Tensor, index: int) -> tuple[list[float], bool]:
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
    EulerDiscreteScheduler: _probe_euler,
    EulerAncestralDiscreteScheduler: _probe_euler,
}
