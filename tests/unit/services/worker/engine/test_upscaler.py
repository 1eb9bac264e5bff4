from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops
from safetensors.torch import load_file, save_file

from services.worker.engine import upscaler as module
from services.worker.engine.failures import BaseModelBroken
from services.worker.engine.sizing import Size
from tests.support.tiny_models import tiny_upscaler

CPU = torch.device("cpu")


@pytest.fixture
def upscaler(tmp_path):
    return module.load_upscaler(tiny_upscaler(tmp_path / "u.safetensors"), CPU)


def noise(width=70, height=50):
    return Image.effect_noise((width, height), 60).convert("RGB")


def enlarged(image, scale, upscaler):
    enlargement = module.Enlargement(image, scale, upscaler, CPU)
    while enlargement.step < enlargement.steps:
        enlargement.advance()
    return enlargement.image()


def brought_to(asked, image, upscaler):
    enlargement = module.enlargement_to(asked, image, upscaler, CPU)
    while enlargement is not None and enlargement.step < enlargement.steps:
        enlargement.advance()
    return module.fitted(image if enlargement is None else enlargement.image(), asked)


def farthest(one, other):
    return max(high for _, high in ImageChops.difference(one, other).getextrema())


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_tiles_leave_no_seam(tmp_path, monkeypatch, factor, scale):
    upscaler = module.load_upscaler(tiny_upscaler(tmp_path / "u.safetensors", factor=factor), CPU)
    image = noise()
    whole = enlarged(image, scale, upscaler)
    monkeypatch.setattr(module, "TILE_PX", 16)
    tiled = enlarged(image, scale, upscaler)
    assert tiled.size == (70 * scale, 50 * scale)
    assert farthest(whole, tiled) <= 1


def test_twice_is_four_times_averaged_in_squares(upscaler):
    image = noise()
    large = upscaler(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255).clamp(0, 1)
    squares = large.view(3, 100, 2, 140, 2).mean((2, 4)).mul(255).round().byte().permute(1, 2, 0)
    assert farthest(enlarged(image, 2, upscaler), Image.fromarray(squares.numpy())) <= 1


def test_memory_is_bounded_by_a_tile(upscaler, monkeypatch):
    seen = []
    inner = upscaler.forward
    monkeypatch.setattr(upscaler, "forward", lambda picture: (seen.append(picture.shape), inner(picture))[1])
    large = enlarged(noise(1024, 1024), 4, upscaler)
    assert large.size == (4096, 4096)
    most = module.TILE_PX + 2 * upscaler.reach_px
    assert len(seen) == 64
    assert max(max(shape[2:]) for shape in seen) == most


def test_the_factor_follows_from_the_weights(tmp_path):
    twice = module.load_upscaler(tiny_upscaler(tmp_path / "u.safetensors", factor=2, hidden=3), CPU)
    assert twice.factor == 2
    assert twice(torch.rand(1, 3, 8, 8)).shape == (1, 3, 16, 16)


def test_a_published_file_is_read_without_unpickling_objects(tmp_path):
    tensors = load_file(tiny_upscaler(tmp_path / "u.safetensors"))
    torch.save({"params": tensors}, tmp_path / "realesr-tiny.pth")
    published = module.load_upscaler(tmp_path / "realesr-tiny.pth", CPU)
    assert published.factor == 4
    torch.save({"params": Path("x")}, tmp_path / "objects.pth")
    with pytest.raises(BaseModelBroken):
        module.load_upscaler(tmp_path / "objects.pth", CPU)


def test_zero_weights_repeat_the_pixels(upscaler):
    for weight in upscaler.parameters():
        weight.zero_()
    image = Image.effect_noise((16, 16), 60).convert("RGB")
    large = brought_to(Size(64, 64), image, upscaler)
    assert large.tobytes() == image.resize((64, 64), Image.Resampling.NEAREST).tobytes()


@pytest.mark.parametrize("asked", [(64, 64), (200, 136), (1000, 24), (24, 16)])
def test_any_size_is_reached_exactly(upscaler, asked):
    image = Image.effect_noise((64, 48), 60).convert("RGB")
    assert brought_to(Size(*asked), image, upscaler).size == asked


def test_without_an_upscaler_the_picture_is_resized():
    image = Image.effect_noise((64, 64), 60).convert("RGB")
    assert brought_to(Size(128, 96), image, None).size == (128, 96)


def test_a_file_that_is_no_upscaler_is_refused(tmp_path):
    path = tmp_path / "u.safetensors"
    path.write_bytes(b"no")
    with pytest.raises(BaseModelBroken):
        module.load_upscaler(path, CPU)


def test_another_architecture_names_the_extra_that_reads_it(tmp_path):
    if importlib.util.find_spec("spandrel"):
        pytest.skip("the extra is installed")
    file = tmp_path / "rrdb.safetensors"
    save_file({"model.0.weight": torch.zeros(64, 3, 3, 3)}, file)
    with pytest.raises(BaseModelBroken, match="extra 'upscalers'"):
        module.load_upscaler(file, CPU)
