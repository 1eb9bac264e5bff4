"""One picture while it is denoised: all that its rows carry from step to step. No two runs share any of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from services.worker.engine.base import Progress, Sketch, StopSignal
from services.worker.engine.families.port import Conditions
from services.worker.engine.lora_layers import RowLora
from services.worker.engine.own_scheduler import OwnScheduler
from services.worker.engine.schedulers import Table
from services.worker.engine.sketches import Glance
from services.worker.engine.sources import Kept


@dataclass(slots=True, eq=False)
class Run:
    """The state of a run. Made on the text thread; from then on the step loop alone touches it."""

    stop: StopSignal
    on_progress: Callable[[Progress], None]
    generator: torch.Generator
    latents: Tensor
    """(1, channels, height, width) on the device."""
    conditions: Conditions
    """Each (1 or 2, …): the conditional row, then the unconditional one where guided."""
    guidance: float
    table: Table | None
    scheduler: OwnScheduler
    """Steps the run where there is no table, and where it is alone."""
    organization_id: str = ""
    deadline_s: float | None = None
    kept: Kept | None = None
    """What a mask keeps of the picture that the run starts from."""
    lora: RowLora | None = None
    sketch: Callable[[Glance], Future[Sketch]] | None = None
    """Has a sketch made of a step, on another thread."""
    step: int = 0
    predicted: Tensor | None = None
    """The picture that the step before predicted, for schedulers that remember it."""
    text_projected: Tensor | None = None
    """Keys and values of the text: (rows, numbers)."""
    device_s: float = 0.0
    """Its share of the steps' time so far."""
    started_s: float = 0.0
    outcome: Future[Tensor] = field(default_factory=Future)
    _noise: Tensor | None = None
    _stepped: tuple[Tensor, Tensor | None] | None = None

    @property
    def rows(self) -> int:
        """How many rows of a batch it takes."""
        return int(self.conditions["text"].shape[0])

    @property
    def steps(self) -> int:
        """How many steps it takes in all."""
        return self.table.steps if self.table is not None else self.scheduler.steps

    @property
    def has_begun(self) -> bool:
        """Whether its first step is made."""
        return self.step > 0

    @property
    def is_done(self) -> bool:
        """Whether all its steps are made."""
        return self.step >= self.steps

    @property
    def has_drawn(self) -> bool:
        """Whether this step's noise was drawn for a row of a table, which its own scheduler would draw again."""
        return self._noise is not None

    def noise(self, dtype: torch.dtype) -> Tensor | None:
        """Fresh noise for this step if it needs any; asked again within the step it is the same."""
        if self.table is None or not self.table.draws_noise[self.step]:
            return None
        if self._noise is None:
            device = self.latents.device
            self._noise = randn_tensor(self.latents.shape, generator=self.generator, device=device, dtype=dtype)
        return self._noise

    def step_alone(self, output: Tensor, latents: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor | None]:
        """The step of its own scheduler and what it remembers; asked again within the step it is the same."""
        if self._stepped is None:
            self._stepped = self.scheduler.step(output, latents, self.step, predicted, self.generator)
        return self._stepped

    def advance(self) -> None:
        """Note that the step was made."""
        self.step += 1
        self._noise = self._stepped = None
