"""The places that compiled steps copy LoRAs into: their memory goes back where memory ran out."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import nn

from services.worker.engine.compiling import Compiled
from services.worker.engine.lora_layers import Layout, LoraRows, Place, RowLora, install

PLACE = Place("0", 8, 4, 4)


@pytest.fixture
def denoiser(monkeypatch):
    """One linear layer, uncompiled."""
    monkeypatch.setattr(nn.Module, "compile", lambda *_, **__: None)
    return nn.Sequential(nn.Linear(4, 4)).requires_grad_(False)


def rows_of(seed, count):
    draw = torch.Generator().manual_seed(seed)
    down, up = (torch.randn(PLACE.rank * 4, generator=draw) for _ in range(2))
    return [(0, [RowLora(Layout((PLACE,)), down, up, 0.5)] * count)]


def test_banks_are_freed_and_what_is_computed_after_is_the_same(denoiser):
    layers = install(denoiser)
    compiled = Compiled(denoiser, layers, {})
    inputs = torch.randn(4, 1, 4)

    def computed(seed):
        rows = compiled.lora_rows(rows_of(seed, 4), 4)
        rows.bind()
        return denoiser(inputs)

    before = [computed(seed) for seed in (1, 2)]
    bank = weakref.ref(layers["0"].slices[0].up)
    LoraRows(layers, ()).bind()
    assert bank() is not None
    compiled.drop()
    assert bank() is None
    assert all(computed(seed).equal(one) for seed, one in zip((1, 2), before, strict=True))
