"""Fused weights: exact to leave, equal to stock within the bounds of the engine, taken only where they pay."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch

from services.worker.engine.adapters import activate
from services.worker.engine.base import AdapterUse
from services.worker.engine.fusing import FIRST_REST, FusedWeights, Gain, sole_lora
from services.worker.engine.lora_layers import LoraRows
from tests.support.judged_engine import request_of
from tests.support.tiny_models import conv_lora_file, lora_file

# diffusers' schedulers speak an older dialect of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

KIND = (8, 8, 4)


class Always:
    """Fuses wherever it may, and counts the steps."""

    def __init__(self):
        self.steps = {True: 0, False: 0}

    def note_step(self, kind, seconds, *, is_fused):
        self.steps[is_fused] += 1

    def note_fusing(self, seconds):
        pass

    def pays(self, ahead, *, is_made):
        return True


@pytest.fixture
def judge(place, monkeypatch):
    monkeypatch.setattr(place.model.fusing, "gain", Always())
    yield place.model.fusing.gain
    place.model.fusing.drop()


@pytest.fixture(scope="module")
def loras(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loras")
    paths = [
        lora_file(folder / "kohya.safetensors", "kohya", seed=2, rank=12, alpha=5.0, text=True, strength=0.15),
        conv_lora_file(folder / "conv.safetensors", seed=4),
        lora_file(folder / "half.safetensors", "diffusers", seed=3, dtype=torch.float16, strength=0.15),
    ]
    return [
        AdapterUse(f"model_{path.stem}", hashlib.sha256(path.read_bytes()).hexdigest(), path, 0.8) for path in paths
    ]


def same(*adapters):
    """Runs that share their LoRAs and differ in all else."""
    return [
        request_of(*adapters, seed=1, guidance=1.0),
        request_of(*adapters, seed=2, scheduler="euler_ancestral", negative_prompt="blurry"),
        request_of(*adapters, seed=3, scheduler="dpmpp_2m", steps=14, width_px=128),
    ]


@pytest.mark.parametrize("which", [(0,), (1,), (2,), (0, 1, 2)])
def test_runs_that_share_their_loras_are_fused_and_each_is_the_stock_pipelines(place, judge, loras, which):
    for ending in place.draw(*same(*(loras[index] for index in which))):
        place.check(*ending)
    assert judge.steps[True] > 0


def test_a_run_with_another_lora_or_weight_or_none_ends_it_and_each_is_the_stock_pipelines(place, judge, loras):
    others = [
        request_of(replace(loras[0], weight=0.3), steps=4),
        request_of(loras[1], steps=5),
        request_of(steps=6),
    ]
    for other in others:
        for ending in place.draw(*same(loras[0]), other):
            place.check(*ending)
    assert judge.steps[True] > 0
    assert all(layer.fused is None for layer in place.model.layers.values())


def test_a_run_alone_is_never_fused(place, judge, loras):
    first, second = (place.draw(request_of(loras[0]))[0] for _ in range(2))
    assert judge.steps[True] == 0
    assert place.latents.pop(first[1]).equal(place.latents.pop(second[1]))


@torch.inference_mode()
def test_a_thousand_switches_there_and_back_change_no_bit(place, loras):
    layers, store = place.model.layers, place.model.adapters
    adapters = [store.read(use.path) for use in loras]
    active = [activate("unet", [adapter], [use]) for adapter, use in zip(adapters, loras, strict=True)]
    weights = {name: layer.weight.clone() for name, layer in layers.items()}
    fused = FusedWeights(layers)
    inputs = torch.randn(2, 4, 8, 8), torch.tensor([500.0, 20.0]), torch.randn(2, 77, 32)
    LoraRows(layers, ()).bind()

    def output():
        return place.model.pipeline.unet(*inputs, return_dict=False)[0]

    plain, first = output(), []
    for lora in active:
        fused.make(lora)
        fused.point(True)
        first.append(output())
        fused.point(False)
        LoraRows(layers, [(0, [lora, lora])]).bind()
        torch.testing.assert_close(first[-1], output(), atol=1e-5, rtol=1e-5)
        LoraRows(layers, ()).bind()
    for number in range(1000):
        fused.make(active[number % 3])
        fused.point(True)
        fused.point(False)
    for lora, expected in zip(active, first, strict=True):
        fused.make(lora)
        fused.point(True)
        assert output().equal(expected)
        fused.point(False)
        assert output().equal(plain)
    assert all(layer.weight.equal(weights[name]) for name, layer in layers.items())


def test_without_memory_for_it_runs_are_drawn_as_ever_and_it_is_not_tried_again_soon(place, judge, loras, monkeypatch):
    tries = []

    def make(lora):
        tries.append(lora)
        raise torch.OutOfMemoryError

    monkeypatch.setattr(place.model.fusing._weights, "make", make)
    rest_anew(place, monkeypatch)
    for ending in place.draw(*same(loras[0])):
        place.check(*ending)
    assert len(tries) == 1
    assert judge.steps[True] == 0


def rest_anew(place, monkeypatch):
    for name, steps in (("_rest", 0), ("_next_rest", FIRST_REST)):
        monkeypatch.setattr(place.model.fusing, name, steps)


@torch.inference_mode()
def test_after_memory_ran_out_over_it_it_is_tried_again_ever_more_rarely(place, judge, loras, monkeypatch):
    fusing, store = place.model.fusing, place.model.adapters
    rest_anew(place, monkeypatch)
    lora = activate("unet", [store.read(loras[1].path)], [loras[1]])

    def steps_until_fused():
        for step in range(8 * FIRST_REST):
            fusing.consider([lora, lora], {KIND: 9})
            if fusing.serves(lora):
                return step
        return None

    assert steps_until_fused() == 0
    for rest in (FIRST_REST, 2 * FIRST_REST):
        fusing.yield_memory()
        assert steps_until_fused() == rest
    fusing.drop()
    fusing.yield_memory()  # it ran out over something else
    assert steps_until_fused() == 0


def test_where_little_memory_is_left_it_is_not_taken(place, judge, loras, monkeypatch):
    needed = sum(
        layer.weight.nbytes
        for name, layer in place.model.layers.items()
        if name in {one.module for one in place.model.adapters.read(loras[1].path).parts["unet"].layout.places}
    )
    monkeypatch.setattr(place.model.fusing, "_spare_bytes", lambda: 4 * needed - 4)
    for ending in place.draw(*same(loras[1])):
        place.check(*ending)
    assert judge.steps[True] == 0
    monkeypatch.setattr(place.model.fusing, "_spare_bytes", lambda: 4 * needed)
    place.draw(*same(loras[1]))
    assert judge.steps[True] > 0


def noted(*, plain_s, fused_s, fusing_s=0.1, kind=KIND):
    gain = Gain()
    gain.note_fusing(fusing_s)
    for _ in range(5):
        gain.note_step(kind, plain_s, is_fused=False)
        gain.note_step(kind, fused_s, is_fused=True)
    return gain


def test_it_is_taken_where_it_saves_more_than_it_takes():
    gain = noted(plain_s=1.0, fused_s=0.9, fusing_s=0.5)
    assert gain.pays({KIND: 6}, is_made=False)
    assert not gain.pays({KIND: 4}, is_made=False)
    assert gain.pays({KIND: 4}, is_made=True)


def test_it_is_not_taken_where_it_gains_nothing():
    gain = noted(plain_s=1.0, fused_s=1.01)
    assert not gain.pays({KIND: 100}, is_made=False)
    assert not gain.pays({KIND: 100}, is_made=True)


def test_what_is_not_measured_yet_is_tried_where_it_lasts():
    gain = Gain()
    assert not gain.pays({KIND: 50}, is_made=False)
    for _ in range(3):
        gain.note_step(KIND, 1.0, is_fused=False)
    assert gain.pays({KIND: 50}, is_made=False)
    assert not gain.pays({KIND: 2}, is_made=False)
    assert gain.pays({KIND: 2}, is_made=True)


def test_several_sizes_are_weighed_together():
    gain = noted(plain_s=1.0, fused_s=0.9, fusing_s=0.0)
    large = (16, 16, 2)
    for _ in range(3):
        gain.note_step(large, 2.0, is_fused=False)
        gain.note_step(large, 2.4, is_fused=True)
    assert gain.pays({KIND: 50, large: 10}, is_made=False)
    assert not gain.pays({KIND: 20, large: 10}, is_made=False)


def test_loras_are_the_same_by_file_and_weight(place, loras):
    store = place.model.adapters
    adapters = [store.read(use.path) for use in loras[:2]]

    def lora(*weights):
        uses = [replace(use, weight=weight) for use, weight in zip(loras, weights, strict=False)]
        return activate("unet", adapters[: len(weights)], uses)

    assert sole_lora([lora(0.5), lora(0.5, 0.0)]) is not None
    assert sole_lora([lora(0.5), lora(0.6)]) is None
    assert sole_lora([lora(0.5, 0.2), lora(0.5)]) is None
    assert sole_lora([lora(0.5), None]) is None
    assert sole_lora([]) is None
