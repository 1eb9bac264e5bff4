"""The shipped weights: the stock pipeline loads them as they lie, draws, and takes the LoRAs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from libs.starter.export import MANIFEST, WEIGHTS, load_pipeline, load_upscaler, shipped_bytes

BASE, LORAS = WEIGHTS / "base", WEIGHTS / "loras"
LISTED = json.loads((LORAS / "loras.json").read_text())


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return load_pipeline(BASE)


def draw(pipeline: Any, prompt: str) -> np.ndarray:
    images = pipeline(
        prompt,
        num_inference_steps=4,
        guidance_scale=7.5,
        width=64,
        height=64,
        generator=torch.Generator().manual_seed(1),
        output_type="np",
    ).images
    return np.asarray(images[0])


def test_the_manifest_is_the_written_one() -> None:
    assert json.loads((BASE / "imagineo.json").read_text()) == MANIFEST


def test_everything_shipped_stays_small() -> None:
    assert shipped_bytes() <= 64_000_000


@pytest.mark.parametrize("prompt", ["red apple", "quarterly report", ""])
def test_any_prompt_gives_a_picture(pipeline: Any, prompt: str) -> None:
    picture = draw(pipeline, prompt)
    assert picture.shape == (64, 64, 3)
    assert np.isfinite(picture).all()


@pytest.mark.parametrize("entry", LISTED, ids=[entry["slug"] for entry in LISTED])
def test_a_lora_at_zero_is_the_base_and_at_one_is_not(pipeline: Any, entry: Any) -> None:
    pipeline.load_lora_weights(LORAS / entry["file"], adapter_name="style")
    try:
        drawn = {}
        for weight in (0.0, 1.0):
            pipeline.set_adapters(["style"], [weight])
            drawn[weight] = draw(pipeline, "red apple")
    finally:
        pipeline.unload_lora_weights()
    # Drawn last: on some processors the first load of a LoRA changes the last bits of whatever is drawn after it.
    base = draw(pipeline, "red apple")
    assert np.array_equal(drawn[0.0], base)
    assert np.abs(drawn[1.0] - base).mean() > 0.005


def test_lora_files_keep_to_their_naming() -> None:
    for entry in LISTED:
        with safe_open(Path(LORAS / entry["file"]), "pt") as file:
            start = "lora_unet_" if entry["naming"] == "kohya" else "unet."
            assert all(key.startswith(start) for key in file.keys())  # noqa: SIM118


def test_the_upscaler_makes_four_times_the_side() -> None:
    with torch.no_grad():
        assert load_upscaler(BASE)(torch.rand(1, 3, 16, 24)).shape == (1, 3, 64, 96)
