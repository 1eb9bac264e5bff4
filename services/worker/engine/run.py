"""One picture while it is denoised: all that its rows carry from step to step. No two runs share any of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from services.worker.engine.base import Progress, StopSignal
from services.worker.engine.lora_layers import RowLora
from services.worker.engine.schedulers import Table


@dataclass(slots=True, eq=False)
class Run:
    """The state of a run. Made on the text thread; from then on the step loop alone touches it."""

    stop: StopSignal
    on_progress: Callable[[Progress], None]
    generator: torch.Generator
    latents: Tensor
    """(1, channels, height, width) on the device."""
    text: Tensor
    """(1 or 2, tokens, width): the conditional row, then the unconditional one where guided."""
    guidance: float
    table: Table | None
    scheduler: Any = None
    """The run's own scheduler, where there is no table."""
    lora: RowLora | None = None
    guidance_embedding: Tensor | None = None
    step: int = 0
    predicted: Tensor | None = None
    """The picture that the step before predicted, for schedulers that remember it."""
    text_projected: Tensor | None = None
    """Keys and values of the text: (rows, numbers)."""
    device_s: float = 0.0
    """Its share of the steps' time so far."""
    started_s: float = 0.0
    outcome: Future[Tensor] = field(default_factory=Future)
    _ahead: Tensor | None = None

    @property
    def rows(self) -> int:
        """How many rows of a batch it takes."""
        return int(self.text.shape[0])

    @property
    def steps(self) -> int:
        """How many steps it takes in all."""
        return self.table.steps if self.table is not None else len(self.scheduler.timesteps)

    @property
    def is_done(self) -> bool:
        """Whether all its steps are made."""
        return self.step >= self.steps

    def noise(self, dtype: torch.dtype) -> Tensor | None:
        """Fresh noise for this step if it needs any; asked again within the step it is the same."""
        if self.table is None or not self.table.draws_noise[self.step]:
            return None
        if self._ahead is None:
            device = self.latents.device
            self._ahead = randn_tensor(self.latents.shape, generator=self.generator, device=device, dtype=dtype)
        return self._ahead

    def step_alone(self, output: Tensor, latents: Tensor, extra: dict[str, Any]) -> Tensor:
        """The step of its own scheduler; asked again within the step it is the same."""
        if self._ahead is None:
            timestep = self.scheduler.timesteps[self.step]
            self._ahead = self.scheduler.step(output, timestep, latents, **extra, return_dict=False)[0]
        return self._ahead

    def advance(self) -> None:
        """Note that the step was made."""
        self.step += 1
        self._ahead = None
