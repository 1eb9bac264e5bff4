"""What a run may bring that is wrong: its outcome is typed, its mate is drawn as stock, nothing of it is left."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from services.worker.engine import memory
from services.worker.engine.base import AdapterUse, BaseModelFiles, StopSignal
from services.worker.engine.failures import AdapterIncompatible, AdapterMissing, BaseModelBroken, NotFinite, OutOfMemory
from services.worker.engine.lora_layers import RANK_BUCKETS
from tests.support.judged_engine import request_of
from tests.support.tiny_models import lora_file

# diffusers' schedulers speak an older dialect of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

MODULE = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
DOWN, UP = f"unet.{MODULE}.lora_A.weight", f"unet.{MODULE}.lora_B.weight"
KOHYA = f"lora_unet_{MODULE.replace('.', '_')}"


def pair(rank=4, value=0.1, inputs=32):
    return {DOWN: torch.full((rank, inputs), value), UP: torch.full((32, rank), value)}


def kohya(alpha):
    down, up = pair().values()
    return {f"{KOHYA}.lora_down.weight": down, f"{KOHYA}.lora_up.weight": up, f"{KOHYA}.alpha": alpha}


LORAS = {
    "of another base, with other layers": {key.replace("mid_block", "joint_block"): one for key, one in pair().items()},
    "of another base, with other widths": pair(inputs=48),
    "with no key that is a LoRA's": {"unet.conv_in.weight": torch.ones(4, 4)},
    "with NaN": pair(value=float("nan")),
    "with Inf": pair(value=float("inf")),
    "with NaN in one of two dtypes": pair() | {UP: torch.full((32, 4), float("nan"), dtype=torch.bfloat16)},
    "with an alpha of NaN": kohya(torch.tensor(float("nan"))),
    "with an alpha of Inf": kohya(torch.tensor(float("inf"))),
    "with two alphas for a layer": kohya(torch.ones(2)),
    "with a single number for a matrix": pair() | {DOWN: torch.tensor(1.0)},
    "of rank 0": {DOWN: torch.zeros(0, 32), UP: torch.zeros(32, 0)},
    "of a rank beyond the largest bucket": pair(rank=RANK_BUCKETS[-1] + 1),
    "that is a DoRA": pair() | {f"unet.{MODULE}.lora_magnitude_vector": torch.ones(32)},
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Collections of garbage would take most of the time here."""
    monkeypatch.setattr(memory, "free", lambda _: None)


@pytest.fixture(scope="module")
def mate(tmp_path_factory):
    """A run with a sound LoRA."""
    return request_of(use_of(lora_file(tmp_path_factory.mktemp("loras") / "l.safetensors", strength=0.15)), steps=4)


def use_of(path):
    return AdapterUse(f"model_{path.stem}", hashlib.sha256(path.read_bytes()).hexdigest(), path, 0.8)


def endings(place, mate, *requests):
    """How these end beside a mate that must be drawn as stock; nothing may be left of them in the bank."""
    ((request, stop, result),) = place.draw(mate)
    place.check(request, stop, result)
    before = place.engine.adapter_figures

    async def one(asked, signal):
        return await place.engine.draw(asked, stop=signal, on_progress=lambda _: None)

    async def all_at_once():
        signal = StopSignal()
        drawing = [one(mate, signal), *(one(asked, StopSignal()) for asked in requests)]
        return signal, await asyncio.gather(*drawing, return_exceptions=True)

    signal, (drawn, *others) = asyncio.run(all_at_once())
    place.check(mate, signal, drawn)
    assert place.model.adapters.held_sha256s == frozenset()
    assert place.engine.adapter_figures.device_bytes <= before.device_bytes
    assert place.engine.adapter_figures.host_bytes == 0
    assert place.engine.warm_sha256s <= {use.sha256 for use in mate.adapters}
    assert not place.engine.is_broken
    return others


@pytest.mark.parametrize("kind", LORAS)
def test_a_lora(place, mate, tmp_path, kind):
    save_file(LORAS[kind], tmp_path / "bad.safetensors")
    (ending,) = endings(place, mate, request_of(use_of(tmp_path / "bad.safetensors")))
    assert isinstance(ending, AdapterIncompatible), ending
    assert "LoRA" in ending.message


@pytest.mark.parametrize("setting", [float("nan"), float("inf"), "much", None, [1]])
def test_a_lora_whose_settings_tell_no_alpha(place, mate, tmp_path, setting):
    settings = {"unet.r": 4, "unet.lora_alpha": setting}
    save_file(pair(), tmp_path / "bad.safetensors", {"lora_adapter_metadata": json.dumps(settings)})
    (ending,) = endings(place, mate, request_of(use_of(tmp_path / "bad.safetensors")))
    assert isinstance(ending, AdapterIncompatible), ending


def test_a_lora_whose_file_is_gone(place, mate, tmp_path):
    gone = AdapterUse("model_gone", "0" * 64, tmp_path / "gone.safetensors", 1.0)
    assert [type(one) for one in endings(place, mate, request_of(gone))] == [AdapterMissing]


def test_a_sound_lora_beside_a_bad_one_is_not_kept_from_others(place, mate, tmp_path):
    save_file(LORAS["with NaN"], tmp_path / "bad.safetensors")
    both = request_of(*mate.adapters, use_of(tmp_path / "bad.safetensors"))
    assert [type(one) for one in endings(place, mate, both)] == [AdapterIncompatible]


def test_numbers_that_run_away(place, mate):
    assert [type(one) for one in endings(place, mate, request_of(guidance=1e38, steps=4))] == [NotFinite]


def test_a_size_beyond_memory(place, mate):
    beyond = request_of(width_px=1 << 26, height_px=1 << 26)
    assert [type(one) for one in endings(place, mate, beyond)] == [OutOfMemory]


def test_a_base_model_that_is_corrupt_beside_one_that_draws(place, mate, tmp_path):
    folder = shutil.copytree(place.model.base.directory, tmp_path / "base")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])

    async def both():
        signal = StopSignal()
        return (
            signal,
            await asyncio.gather(
                place.engine.draw(mate, stop=signal, on_progress=lambda _: None),
                place.engine.open(BaseModelFiles("corrupt", folder, "sd", 64)),
                return_exceptions=True,
            ),
        )

    signal, (drawn, problem) = asyncio.run(both())
    place.check(mate, signal, drawn)
    assert isinstance(problem, BaseModelBroken)
    assert list(place.engine._models) == ["tiny"]
