from __future__ import annotations

import pytest
import torch
from PIL import Image

from services.worker.engine import upscaler as module
from services.worker.engine.base import BaseModelBroken
from services.worker.engine.sizing import Size
from tests.support.tiny_models import tiny_upscaler

CPU = torch.device("cpu")


@pytest.fixture
def upscaler(tmp_path):
    return module.load_upscaler(tiny_upscaler(tmp_path / "u.safetensors"), CPU)


def test_tiles_give_the_same_as_one_piece(upscaler, monkeypatch):
    picture = torch.rand(1, 3, 50, 70, generator=torch.Generator().manual_seed(1))
    whole = upscaler(picture).clamp(0, 1)
    monkeypatch.setattr(module, "TILE_PX", 16)
    torch.testing.assert_close(module.enlarge(upscaler, picture), whole, atol=1e-6, rtol=0)


def test_the_factor_follows_from_the_weights(tmp_path):
    twice = module.load_upscaler(tiny_upscaler(tmp_path / "u.safetensors", factor=2, hidden=3), CPU)
    assert twice.factor == 2
    assert module.enlarge(twice, torch.rand(1, 3, 8, 8)).shape == (1, 3, 16, 16)


def test_zero_weights_repeat_the_pixels(upscaler):
    for weight in upscaler.parameters():
        weight.zero_()
    image = Image.effect_noise((16, 16), 60).convert("RGB")
    large = module.to_asked_size(image, Size(64, 64), upscaler, CPU)
    assert large.tobytes() == image.resize((64, 64), Image.Resampling.NEAREST).tobytes()


@pytest.mark.parametrize("asked", [(64, 64), (200, 136), (1000, 24), (24, 16)])
def test_any_size_is_reached_exactly(upscaler, asked):
    image = Image.effect_noise((64, 48), 60).convert("RGB")
    assert module.to_asked_size(image, Size(*asked), upscaler, CPU).size == asked


def test_without_an_upscaler_the_picture_is_resized():
    image = Image.effect_noise((64, 64), 60).convert("RGB")
    assert module.to_asked_size(image, Size(128, 96), None, CPU).size == (128, 96)


def test_a_file_that_is_no_upscaler_is_refused(tmp_path):
    path = tmp_path / "u.safetensors"
    path.write_bytes(b"no")
    with pytest.raises(BaseModelBroken):
        module.load_upscaler(path, CPU)
