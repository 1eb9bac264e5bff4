"""A stock scheduler for one run alone: for schedulers that no table describes, and for a run that is stepped alone.

A run that is stepped alone gives the stock pipeline's latents to the last bit, since the sums are made in the same
order. It may go from a table to its own scheduler and back between any two steps: all that a scheduler remembers of the
steps before is the prediction that the table's rows carry too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from services.worker.engine.schedulers import start_scale


class OwnScheduler:
    """Steps counted from the run's first, which is number `begin` of those asked for.

    A scheduler of second order takes two of its own for each.
    """

    def __init__(self, make: Callable[[], Any], begin: int, *, is_sole: bool) -> None:
        self._make = make
        self._begin = begin
        #: Whether the run has no table: then the scheduler itself knows what was before.
        self._is_sole = is_sole
        self._made: Any = None
        #: What its `step` takes.
        self._taken: frozenset[str] = frozenset()

    @property
    def steps(self) -> int:
        """How many steps there are from `begin` on."""
        return len(self._scheduler.timesteps) - self._first

    def timestep(self, step: int) -> Any:
        """The timestep of a step."""
        return self._scheduler.timesteps[self._first + step]

    @property
    def start_scale(self) -> float:
        """What the noise that a run starts from is multiplied by."""
        return start_scale(self._scheduler)

    def noised(self, latents: Tensor, noise: Tensor, step: int) -> Tensor:
        """Latents of a picture with the noise of a step over them."""
        timestep = self._scheduler.timesteps[self._first + step : self._first + step + 1]
        if hasattr(self._scheduler, "add_noise"):
            noised: Tensor = self._scheduler.add_noise(latents, noise, timestep)
        else:  # schedulers of flows
            noised = self._scheduler.scale_noise(latents, timestep, noise)
        return noised

    def scaled(self, latents: Tensor, step: int) -> Tensor:
        """Latents as the model takes them."""
        if not hasattr(self._scheduler, "scale_model_input"):
            return latents
        self._resume(step, None)
        scaled: Tensor = self._scheduler.scale_model_input(latents, self.timestep(step))
        return scaled

    def step(
        self, output: Tensor, latents: Tensor, step: int, predicted: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """The latents after a step and what is remembered of it; `predicted` is what the step before remembered."""
        self._resume(step, predicted)
        offered = {"eta": 0.0, "generator": generator}
        extra = {name: value for name, value in offered.items() if name in self._taken}
        after: Tensor = self._scheduler.step(output, self.timestep(step), latents, **extra, return_dict=False)[0]
        is_multistep = isinstance(self._scheduler, DPMSolverMultistepScheduler)
        return after, self._scheduler.model_outputs[-1] if is_multistep else None

    @property
    def _scheduler(self) -> Any:
        if self._made is None:
            self._made = self._make()
            self._taken = frozenset(inspect.signature(self._made.step).parameters)
        return self._made

    @property
    def _first(self) -> int:
        return self._begin * int(self._scheduler.order)

    def _resume(self, step: int, predicted: Tensor | None) -> None:
        """Let the scheduler stand before a step, wherever it stood."""
        if self._is_sole:
            return
        scheduler = self._scheduler
        if hasattr(scheduler, "_step_index"):
            scheduler._step_index = self._first + step  # noqa: SLF001 - there is no public way to begin in the middle
        if isinstance(scheduler, DPMSolverMultistepScheduler) and predicted is not None:
            order = scheduler.config.solver_order
            scheduler.lower_order_nums = min(step, order)
            scheduler.model_outputs = [None] * (order - 1) + [predicted if step else None]
