"""Rows that are stepped together, whatever their timestep, text, guidance, scheduler, LoRAs and weights.

A batch is made for a set of runs and is thrown away when one joins or leaves. A step either is made for all of its runs
or changes nothing, so that a step that failed may be tried again in smaller batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from services.worker.engine import schedulers
from services.worker.engine.fusing import StepKind, sole_lora
from services.worker.engine.lora_layers import LoraRows, Place, RowLora
from services.worker.engine.model import Model
from services.worker.engine.run import Run
from services.worker.engine.sketches import Glance
from services.worker.engine.sources import Kept


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Which rows there are: runs whose LoRAs have one layout stand side by side, those without stand last."""

    runs: tuple[Run, ...]
    rows: tuple[tuple[int, int], ...]
    """(index of the run, 0 for its conditional and 1 for its unconditional row)."""
    loras: tuple[tuple[int, tuple[RowLora, ...]], ...]
    """Each group's first row and the LoRAs of its rows."""


def arrange(runs: Sequence[Run]) -> Arrangement:
    """Lay out the rows of a batch."""
    groups: dict[tuple[Place, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(run.lora.layout.places if run.lora is not None else (), []).append(run)
    without = groups.pop((), [])
    ordered: list[Run] = []
    rows: list[tuple[int, int]] = []
    loras: list[tuple[int, tuple[RowLora, ...]]] = []
    for group in [*groups.values(), without]:
        start = len(rows)
        indexes = range(len(ordered), len(ordered) + len(group))
        ordered += group
        rows += [(index, 0) for index in indexes]
        rows += [(index, 1) for index in indexes if ordered[index].rows == 2]
        of_rows = tuple(lora for index, _ in rows[start:] if (lora := ordered[index].lora) is not None)
        if of_rows:
            loras.append((start, of_rows))
    return Arrangement(tuple(ordered), tuple(rows), tuple(loras))


class Batch:
    """Runs of one latent size on the device. Used on the step loop's thread alone."""

    def __init__(self, model: Model, runs: Sequence[Run]) -> None:
        self._model = model
        _project_texts(model, [run for run in runs if run.text_projected is None])
        arranged = arrange(runs)
        self.runs = arranged.runs
        self.row_count = len(arranged.rows)
        rows = model.padded(arranged.rows)
        self.sole_lora = sole_lora([run.lora for run in self.runs])
        self._lora_rows = model.lora_rows(arranged.loras, len(rows))
        self._latents = torch.cat([run.latents for run in self.runs])
        self._conditions = _conditions(arranged.runs, rows)
        self._text_views = model.text_attention.views(
            torch.cat([_projected(self.runs[index], half) for index, half in rows]),
            self._conditions["text"].shape[1],
        )
        device = self._latents.device
        position = {row: place for place, row in enumerate(arranged.rows)}
        conditional = [position[index, 0] for index in range(len(self.runs))]
        unconditional = [position.get((index, 1), position[index, 0]) for index in range(len(self.runs))]
        self._run_of_row = torch.tensor([index for index, _ in rows], device=device)
        self._conditional = torch.tensor(conditional, device=device)
        self._unconditional = torch.tensor(unconditional, device=device)
        guidance = torch.tensor([run.guidance for run in self.runs], device=device, dtype=torch.float32)
        self._guidance = guidance.view(-1, 1, 1, 1)
        self._remembers = any(run.table is not None and run.table.remembers for run in self.runs)
        self._has_euler = any(run.table is not None and run.table.is_euler for run in self.runs)
        self._last: Glance | None = None
        self._predicted = torch.cat(
            [torch.zeros_like(run.latents) if run.predicted is None else run.predicted for run in self.runs]
        )

    def step(self) -> None:
        """Make one step of every run, or none."""
        self._model.bind(self, self._lora_rows, self._text_views, self.sole_lora)
        own = self._own()
        table = self._coefficients(own)
        seen = self._scaled(table, own)
        output = self._model.family.denoising.forward(
            self._model.pipeline,
            seen.index_select(0, self._run_of_row),
            table[:, schedulers.TIMESTEP].index_select(0, self._run_of_row),
            self._conditions,
        )
        said = self._guided(output)
        self._commit(said, table, own)
        self._last = Glance(seen, said, table[:, schedulers.TIMESTEP])

    @property
    def kind(self) -> StepKind:
        """What decides how long its steps take."""
        height, width = self._latents.shape[2:]
        return (height, width, self.row_count)

    def glance(self, index: int) -> Glance:
        """What a run's last step saw and said, copied."""
        if self._last is None:
            raise ValueError("no step was made")
        row = slice(index, index + 1)
        seen, said, timestep = (part[row].clone() for part in (self._last.seen, self._last.said, self._last.timestep))
        return Glance(seen, said, timestep, self.runs[index].kept)

    def scatter(self) -> None:
        """Give every run its rows back, before other batches are made of them."""
        for index, run in enumerate(self.runs):
            run.latents = self._latents[index : index + 1]
            run.predicted = self._predicted[index : index + 1]

    def _guided(self, output: Tensor) -> Tensor:
        """Both passes combined; a run without an unconditional pass gives its conditional one twice."""
        unconditional = output.index_select(0, self._unconditional)
        conditional = output.index_select(0, self._conditional)
        # Source: Ho and Salimans 2022 (arXiv 2207.12598), equation 6, in the stock pipeline's order of operations.
        # Guidance is a float32 there too: 7.3 of bfloat16 would be 7.3125. The product is rounded once.
        return unconditional + (self._guidance * (conditional - unconditional)).to(output.dtype)

    def _own(self) -> tuple[int, ...]:
        """Which runs are stepped by schedulers of their own: those without a table, and one that is alone."""
        is_alone = len(self.runs) == 1 and not self.runs[0].has_drawn
        return tuple(index for index, run in enumerate(self.runs) if run.table is None or is_alone)

    def _coefficients(self, own: Sequence[int]) -> Tensor:
        rows = np.zeros((len(self.runs), schedulers.COLUMN_COUNT), np.float32)
        for index, run in enumerate(self.runs):
            if run.table is not None:
                rows[index] = run.table.coefficients[run.step]
        for index in own:
            run = self.runs[index]
            rows[index, schedulers.TIMESTEP] = run.scheduler.timestep(run.step)
            rows[index, schedulers.SIGMA] = 1
        return torch.from_numpy(rows).to(self._latents.device)

    def _scaled(self, table: Tensor, own: Sequence[int]) -> Tensor:
        scaled = (self._latents * table[:, schedulers.SCALE].view(-1, 1, 1, 1)).to(self._latents.dtype)
        for index in own:
            run, row = self.runs[index], slice(index, index + 1)
            scaled[row] = run.scheduler.scaled(self._latents[row], run.step)
        return scaled

    def _commit(self, output: Tensor, table: Tensor, own: Sequence[int]) -> None:
        after, predicted = self._latents, self._predicted
        if len(own) < len(self.runs):
            after, predicted = self._stepped(output, table, own)
        if own:
            after, predicted = after.clone(), predicted.clone()
        for index in own:
            run, row = self.runs[index], slice(index, index + 1)
            latents = self._latents[row]
            after[row], remembered = run.step_alone(output[row].to(latents.dtype), latents, self._predicted[row])
            if remembered is not None:
                predicted[row] = remembered
        for index, run in enumerate(self.runs):
            if run.kept is not None:
                row = slice(index, index + 1)
                after[row] = run.kept.over(after[row], _origin(run, run.kept, table[index], index in own))
        self._latents, self._predicted = after, predicted
        for run in self.runs:
            run.advance()

    def _stepped(self, output: Tensor, table: Tensor, own: Sequence[int]) -> tuple[Tensor, Tensor]:
        """All rows by their tables: the latents after the step, and what is remembered of it."""
        dtype = self._latents.dtype
        latents, output = self._latents.float(), output.float()
        factors = table.view(*table.shape, 1, 1, 1)
        after = latents * factors[:, schedulers.X] + output * factors[:, schedulers.E]
        predicted = self._predicted
        if self._remembers or self._has_euler:
            predicted = latents * factors[:, schedulers.MX] + output * factors[:, schedulers.ME]
        if self._remembers:
            after += self._predicted.float() * factors[:, schedulers.M]
        if self._has_euler:
            after += (latents - predicted) / factors[:, schedulers.SIGMA] * factors[:, schedulers.DT]
        for index, run in enumerate(self.runs):
            noise = run.noise(dtype) if index not in own else None
            if noise is not None:
                after[index : index + 1] += noise * factors[index, schedulers.Z]
        return after.to(dtype), predicted


def _origin(run: Run, kept: Kept, row: Tensor, is_own: bool) -> Tensor:
    """What a run keeps of its source, as noisy as the step at hand leaves the rest."""
    if run.step + 1 == run.steps:
        return kept.latents
    if is_own:
        return run.scheduler.noised(kept.latents, kept.noise, run.step + 1)
    origin = kept.latents.float() * row[schedulers.KEEP] + kept.noise.float() * row[schedulers.OVER]
    return origin.to(kept.latents.dtype)


def _project_texts(model: Model, runs: Sequence[Run]) -> None:
    """Keys and values of the text, once for each run, together for those that join together."""
    if not runs:
        return
    arranged = arrange(runs)
    model.bind(None, LoraRows(model.layers, arranged.loras), None)
    projected = model.text_attention.project(_conditions(arranged.runs, arranged.rows)["text"])
    position = {row: place for place, row in enumerate(arranged.rows)}
    for index, run in enumerate(arranged.runs):
        run.text_projected = torch.cat([projected[position[index, half]][None] for half in range(run.rows)])


def _conditions(runs: Sequence[Run], rows: Sequence[tuple[int, int]]) -> dict[str, Tensor]:
    """What steers each row, row by row."""
    return {
        name: torch.cat([runs[index].conditions[name][half : half + 1] for index, half in rows])
        for name in runs[0].conditions
    }


def _projected(run: Run, half: int) -> Tensor:
    if run.text_projected is None:
        raise ValueError("the text was not projected")
    return run.text_projected[half : half + 1]
