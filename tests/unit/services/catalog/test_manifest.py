"""Manifests: what a directory says of itself, and what cannot be served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from imagineo.errors import FailedPrecondition

from services.catalog.manifest import Manifest, read_manifest
from services.catalog.seeding import read_loras, served_files
from tests.support.lora_files import write_base, write_starter


def rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_manifest_is_read_as_it_stands(tmp_path: Path):
    manifest = read_manifest(write_starter(tmp_path) / "base")
    assert (manifest.slug, manifest.family, manifest.native_px, manifest.sizing) == ("tiny", "sd", 64, "upscale")
    assert Manifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize(
    ("pipeline", "family", "part"),
    [
        ("StableDiffusionPipeline", "sd", "unet"),
        ("StableDiffusionXLPipeline", "sdxl", "unet"),
        ("StableDiffusion3Pipeline", "sd3", "transformer"),
    ],
)
def test_a_plain_directory_is_described_by_its_configs(tmp_path: Path, pipeline: str, family: str, part: str):
    base = write_base(tmp_path / "My_Model v1.5", pipeline=pipeline)
    (base / part).mkdir(exist_ok=True)
    (base / part / "config.json").write_text('{"sample_size": 96}')
    manifest = read_manifest(base, name="Mine")
    assert (manifest.family, manifest.native_px, manifest.default_width) == (family, 768, 768)
    assert (manifest.slug, manifest.name, manifest.sizing) == ("my-model-v1-5", "Mine", "direct")
    assert manifest.default_scheduler in manifest.schedulers


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"slug": "Not A Slug"}, "slug"),
        ({"name": " "}, "name"),
        ({"family": "video"}, "family"),
        ({"native_px": 0}, "native_px"),
        ({"native_px": "64"}, "native_px"),
        ({"max_width": 100_000}, "max_width"),
        ({"default_width": 1024}, "default_width"),
        ({"default_steps": 101}, "default_steps"),
        ({"default_guidance": 31}, "default_guidance"),
        ({"default_scheduler": "lcm"}, "default_scheduler"),
        ({"schedulers": []}, "schedulers"),
        ({"schedulers": ["magic"]}, "schedulers"),
        ({"upscaler": "../../etc/passwd"}, "upscaler"),
        ({"sizing": "direct"}, "upscaler"),
    ],
)
def test_an_unsound_manifest_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], why: str):
    base = write_starter(tmp_path) / "base"
    rewrite(base / "imagineo.json", **changes)
    with pytest.raises(FailedPrecondition, match=why):
        read_manifest(base)


def test_an_absent_upscaler_is_done_without(tmp_path: Path):
    base = write_starter(tmp_path) / "base"
    (base / "upscaler.safetensors").unlink()
    manifest = read_manifest(base)
    assert (manifest.sizing, manifest.upscaler) == ("upscale", "")
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_what_cannot_be_served_is_refused_with_a_sentence(tmp_path: Path):
    with pytest.raises(FailedPrecondition, match="not a directory"):
        read_manifest(tmp_path / "none")
    with pytest.raises(FailedPrecondition, match=r"no model_index\.json"):
        read_manifest(tmp_path)
    with pytest.raises(FailedPrecondition, match="'VideoPipeline' cannot be served"):
        read_manifest(write_base(tmp_path / "video", pipeline="VideoPipeline"))
    base = write_base(tmp_path / "b")
    (base / "unet" / "config.json").write_text("{}")
    with pytest.raises(FailedPrecondition, match="sample_size"):
        read_manifest(base)
    (base / "unet" / "config.json").write_text("[1")
    with pytest.raises(FailedPrecondition, match="not a JSON object"):
        read_manifest(base)
    (base / "unet" / "config.json").unlink()
    with pytest.raises(FailedPrecondition, match=r"no unet/config\.json"):
        read_manifest(base)


def test_only_the_files_that_workers_need_are_served(tmp_path: Path):
    base = write_base(tmp_path / "b")
    for name in ("v1-5.safetensors", "unet/model.fp16.safetensors", "unet/model.bin", "readme.md", ".cache/x.json"):
        (base / name).parent.mkdir(exist_ok=True)
        (base / name).write_bytes(b"x")
    assert served_files(base, read_manifest(base)) == [
        "model_index.json",
        *(
            f"{part}/{name}"
            for part in ("text_encoder", "unet", "vae")
            for name in ("config.json", "model.safetensors")
        ),
    ]


def test_weights_that_are_pickles_alone_are_refused(tmp_path: Path):
    base = write_base(tmp_path / "b")
    (base / "unet" / "model.safetensors").rename(base / "unet" / "model.bin")
    with pytest.raises(FailedPrecondition, match="no safetensors weights in: unet"):
        served_files(base, read_manifest(base))


@pytest.mark.parametrize("content", ["{", "[1]", '[{"file": "../x", "name": "x"}]', '[{"file": "x", "name": " "}]'])
def test_an_unsound_list_of_loras_is_refused(tmp_path: Path, content: str):
    path = tmp_path / "loras.json"
    path.write_text(content)
    with pytest.raises(FailedPrecondition, match="cannot be read"):
        read_loras(path)
