"""Compiled steps, an option: the denoiser through torch.compile, with rows and LoRAs in places of fixed shapes.

Rows are padded to a bucket, and LoRAs are copied into tensors that are made once for each rank bucket, for all modules
that a LoRA has changed so far. So a graph is made for each latent size, row bucket and rank bucket, and for nothing
else: prompts, seeds, guidance, timesteps, adapters and weights are numbers in tensors. Only a LoRA that changes modules
which none before it did makes graphs anew. A row without a LoRA multiplies zeros beside one that has one.
"""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch._inductor import config as inductor

from services.worker.engine.lora_layers import (
    RANK_BUCKETS,
    BankLayer,
    LoraRows,
    Place,
    RowLora,
    Slice,
    weighted,
)

#: What an operator may choose, as what `torch.compile` is told; None: steps are not compiled.
MODES: Final[Mapping[str, Mapping[str, Any] | None]] = {
    "off": None,
    "default": {},
    "cuda-graphs": {"mode": "reduce-overhead"},
}
#: Far more graphs than there are buckets of the sizes that one worker draws; beyond it steps are made uncompiled.
_MOST_GRAPHS: Final = 256

Groups = Sequence[tuple[int, Sequence[RowLora]]]


def row_bucket(rows: int) -> int:
    """The rows that a compiled step carries: the next power of two."""
    return 1 << (rows - 1).bit_length()


def _rank_bucket(rank: int) -> int:
    """As for one LoRA; several of one row may pass the largest bucket together, then multiples of it."""
    largest = RANK_BUCKETS[-1]
    return next((bucket for bucket in RANK_BUCKETS if rank <= bucket), -(-rank // largest) * largest)


def missing_tools() -> str:
    """What torch.compile would look for here in vain; empty if nothing."""
    compilers = [name for name in inductor.cpp.cxx if name]  # such as CXX names
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    lacking = [] if any(map(shutil.which, compilers)) else [f"a C++ compiler ({' or '.join(compilers)})"]
    return " and ".join(lacking if header.is_file() else [*lacking, f"Python's headers ({header})"])


class Compiled:
    """A denoiser whose calls are compiled. Used on the step loop's thread alone."""

    def __init__(self, denoiser: nn.Module, layers: Mapping[str, BankLayer], options: Mapping[str, Any]) -> None:
        self._layers = layers
        self._uses_graphs = options.get("mode") == "reduce-overhead"
        self._modules: dict[str, Place] = {}
        self._banks: dict[int, _Bank] = {}
        denoiser.compile(dynamic=False, recompile_limit=_MOST_GRAPHS, **options)

    def begin_step(self) -> None:
        """Say that what the step before gave may be written over."""
        if self._uses_graphs:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]  # untyped in torch

    def drop(self) -> None:
        """Give the banks' memory back: batches made from now on have banks of their own."""
        self._banks.clear()

    def lora_rows(self, groups: Groups, rows: int) -> StaticRows | LoraRows:
        """The LoRAs of a batch of so many rows, padding included."""
        loras = [lora for _, found in groups for lora in found]
        if not loras:
            return LoraRows(self._layers, ())
        for lora in loras:
            self._modules |= {place.module: place for place in lora.layout.places if place.module not in self._modules}
        rank = _rank_bucket(max(place.rank for lora in loras for place in lora.layout.places))
        if rank not in self._banks:
            self._banks[rank] = _Bank(self._layers, rank)
        return StaticRows(self._layers, self._banks[rank], self._modules, groups, rows)


class _Bank:
    """The tensors of one rank bucket: for each module down (rows, rank, fan_in) and up (rows, rank, outputs)."""

    def __init__(self, layers: Mapping[str, BankLayer], rank: int) -> None:
        self._layers = layers
        self._rank = rank
        self._tensors: dict[str, tuple[Tensor, Tensor]] = {}
        self._slices: dict[tuple[str, int], Slice] = {}

    def tensors(self, place: Place, rows: int) -> tuple[Tensor, Tensor]:
        """A module's tensors for so many rows; of fewer rows than before they are the first of the same."""
        down, up = self._tensors.get(place.module, (None, None))
        if down is None or up is None or down.shape[0] < rows:
            like = self._layers[place.module].weight
            down = like.new_zeros(rows, self._rank, place.fan_in)
            up = like.new_zeros(rows, self._rank, place.outputs)
            self._tensors[place.module] = (down, up)
            for key in [key for key in self._slices if key[0] == place.module]:
                del self._slices[key]
        return down[:rows], up[:rows]

    def slice(self, place: Place, rows: int) -> Slice:
        """What the layer computes with: always the same for so many rows."""
        if (place.module, rows) not in self._slices:
            down, up = self.tensors(place, rows)
            self._slices[place.module, rows] = self._layers[place.module].operands(0, down, up)
        return self._slices[place.module, rows]


class StaticRows:
    """The LoRAs of one batch's rows, copied into their bank whenever the batch has its turn."""

    def __init__(
        self, layers: Mapping[str, BankLayer], bank: _Bank, modules: Mapping[str, Place], groups: Groups, rows: int
    ) -> None:
        self._layers = layers
        self._bank = bank
        self._places = tuple(modules.values())
        self._groups = [(start, tuple(loras)) for start, loras in groups]
        self._rows = rows

    def bind(self) -> None:
        """Write the rows' matrices into the bank and let the layers compute with it from now on."""
        into = {place.module: self._bank.tensors(place, self._rows) for place in self._places}
        for down, up in into.values():
            down.zero_()
            up.zero_()
        for start, loras in self._groups:
            layout, stop = loras[0].layout, start + len(loras)
            downs = layout.downs(torch.stack([one.down for one in loras]))
            for place, down, up in zip(layout.places, downs, layout.ups(weighted(loras)), strict=True):
                into[place.module][0][start:stop, : place.rank].copy_(down)
                into[place.module][1][start:stop, : place.rank].copy_(up)
        slices = {place.module: (self._bank.slice(place, self._rows),) for place in self._places}
        for name, layer in self._layers.items():
            layer.slices = slices.get(name, ())
