"""Rows that are stepped together, whatever their timestep, text, guidance, scheduler, LoRAs and weights.

A batch is made for a set of runs and is thrown away when one joins or leaves. A step either is made for all of its runs
or changes nothing, so that a step that failed may be tried again in smaller batches.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from services.worker.engine import schedulers
from services.worker.engine.families.sd import denoising
from services.worker.engine.lora_layers import LoraRows, Place, RowLora
from services.worker.engine.model import Model
from services.worker.engine.run import Run


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
        self._lora_rows = LoraRows(model.layers, arranged.loras)
        self._latents = torch.cat([run.latents for run in self.runs])
        self._text = torch.cat([self.runs[index].text[half : half + 1] for index, half in arranged.rows])
        self._text_views = model.text_attention.views(
            torch.cat([_projected(self.runs[index], half) for index, half in arranged.rows]), self._text.shape[1]
        )
        device = self._latents.device
        position = {row: place for place, row in enumerate(arranged.rows)}
        conditional = [position[index, 0] for index in range(len(self.runs))]
        unconditional = [position.get((index, 1), position[index, 0]) for index in range(len(self.runs))]
        self._run_of_row = torch.tensor([index for index, _ in arranged.rows], device=device)
        self._conditional = torch.tensor(conditional, device=device)
        self._unconditional = torch.tensor(unconditional, device=device)
        guidance = torch.tensor([run.guidance for run in self.runs], device=device, dtype=self._latents.dtype)
        self._guidance = guidance.view(-1, 1, 1, 1)
        embeddings = [run.guidance_embedding for run in self.runs if run.guidance_embedding is not None]
        self._guidance_rows = torch.cat(embeddings)[self._run_of_row] if embeddings else None
        self._remembers = any(run.table is not None and run.table.remembers for run in self.runs)
        self._has_euler = any(run.table is not None and run.table.is_euler for run in self.runs)
        self._predicted = torch.cat(
            [torch.zeros_like(run.latents) if run.predicted is None else run.predicted for run in self.runs]
        )

    def step(self) -> None:
        """Make one step of every run, or none."""
        self._model.bind(self, self._lora_rows, self._text_views)
        table = self._coefficients()
        scaled = self._latents * table[:, schedulers.SCALE].view(-1, 1, 1, 1).to(self._latents.dtype)
        timesteps = table[:, schedulers.TIMESTEP]
        if any(run.table is None for run in self.runs):
            scaled = self._scaled_alone(scaled)
        output = denoising.forward(
            self._model.pipeline,
            scaled.index_select(0, self._run_of_row),
            timesteps.index_select(0, self._run_of_row),
            self._text,
            self._guidance_rows,
        )
        guided = denoising.guide(
            output.index_select(0, self._unconditional), output.index_select(0, self._conditional), self._guidance
        )
        self._commit(guided, table)

    def scatter(self) -> None:
        """Give every run its rows back, before other batches are made of them."""
        for index, run in enumerate(self.runs):
            run.latents = self._latents[index : index + 1]
            run.predicted = self._predicted[index : index + 1]

    def _coefficients(self) -> Tensor:
        rows = np.zeros((len(self.runs), schedulers.COLUMN_COUNT), np.float32)
        for index, run in enumerate(self.runs):
            if run.table is not None:
                rows[index] = run.table.coefficients[run.step]
            else:
                rows[index, schedulers.TIMESTEP] = run.scheduler.timesteps[run.step]
                rows[index, schedulers.SCALE] = rows[index, schedulers.SIGMA] = 1
        return torch.from_numpy(rows).to(self._latents.device)

    def _scaled_alone(self, scaled: Tensor) -> Tensor:
        scaled = scaled.clone()
        for index, run in enumerate(self.runs):
            if run.table is None:
                latents = self._latents[index : index + 1]
                scaled[index : index + 1] = run.scheduler.scale_model_input(latents, run.scheduler.timesteps[run.step])
        return scaled

    def _commit(self, output: Tensor, table: Tensor) -> None:
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
            noise = run.noise(dtype)
            if noise is not None:
                after[index : index + 1] += noise * factors[index, schedulers.Z]
        after = after.to(dtype)
        for index, run in enumerate(self.runs):
            if run.table is None:
                row = slice(index, index + 1)
                after[row] = run.step_alone(output[row].to(dtype), self._latents[row], _extra(run))
        self._latents, self._predicted = after, predicted
        for run in self.runs:
            run.advance()


def _project_texts(model: Model, runs: Sequence[Run]) -> None:
    """Keys and values of the text, once for each run, together for those that join together."""
    if not runs:
        return
    arranged = arrange(runs)
    model.bind(None, LoraRows(model.layers, arranged.loras), None)
    text = torch.cat([arranged.runs[index].text[half : half + 1] for index, half in arranged.rows])
    projected = model.text_attention.project(text)
    position = {row: place for place, row in enumerate(arranged.rows)}
    for index, run in enumerate(arranged.runs):
        run.text_projected = torch.cat([projected[position[index, half]][None] for half in range(run.rows)])


def _projected(run: Run, half: int) -> Tensor:
    if run.text_projected is None:
        raise ValueError("the text was not projected")
    return run.text_projected[half : half + 1]


def _extra(run: Run) -> dict[str, Any]:
    known = inspect.signature(run.scheduler.step).parameters
    offered = {"eta": 0.0, "generator": run.generator}
    return {name: value for name, value in offered.items() if name in known}
