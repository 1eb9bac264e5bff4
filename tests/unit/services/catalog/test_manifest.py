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


DENOISERS = {
    "StableDiffusionPipeline": ("unet", {"sample_size": 64}),
    "StableDiffusionXLPipeline": ("unet", {"sample_size": 128}),
    "StableDiffusion3Pipeline": ("transformer", {"sample_size": 128, "pos_embed_max_size": 192, "patch_size": 2}),
    "FluxPipeline": ("transformer", {"guidance_embeds": True}),
}


def write_plain(base: Path, pipeline: str, scheduler: dict[str, Any] | None = None, **changes: Any) -> Path:
    """Write a diffusers directory as it is published, with the denoiser's usual configuration but for `changes`."""
    write_base(base, pipeline=pipeline)
    part, config = DENOISERS[pipeline]
    (base / part).mkdir(exist_ok=True)
    (base / part / "config.json").write_text(json.dumps(config | changes))
    (base / "scheduler").mkdir()
    (base / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler or {}))
    return base


@pytest.mark.parametrize(
    ("pipeline", "family", "side_px", "most_px", "steps", "guidance", "scheduler"),
    [
        ("StableDiffusionPipeline", "sd", 512, 1024, 25, 7.5, "euler"),
        ("StableDiffusionXLPipeline", "sdxl", 1024, 2048, 30, 7.0, "euler"),
        ("StableDiffusion3Pipeline", "sd3", 1024, 2048, 28, 7.0, "flow_euler"),
        ("FluxPipeline", "flux", 1024, 2048, 28, 3.5, "flow_euler"),
    ],
)
def test_each_family_has_its_own_defaults_and_is_drawn_at_the_size_asked(
    tmp_path: Path, pipeline: str, family: str, side_px: int, most_px: int, steps: int, guidance: float, scheduler: str
):
    manifest = read_manifest(write_plain(tmp_path / "m", pipeline))
    assert (manifest.family, manifest.sizing) == (family, "direct")
    assert manifest.native_px == manifest.default_width == manifest.default_height == side_px
    assert manifest.max_width == manifest.max_height == most_px
    assert (manifest.default_steps, manifest.default_guidance) == (steps, guidance)
    assert manifest.default_scheduler == manifest.schedulers[0] == scheduler


def test_a_model_distilled_to_few_steps_is_drawn_in_few(tmp_path: Path):
    schnell = read_manifest(write_plain(tmp_path / "a", "FluxPipeline", guidance_embeds=False))
    assert (schnell.default_steps, schnell.default_guidance) == (4, 1.0)
    consistent = {"_class_name": "LCMScheduler"}
    lcm = read_manifest(write_plain(tmp_path / "b", "StableDiffusionXLPipeline", consistent, time_cond_proj_dim=256))
    assert (lcm.default_steps, lcm.default_guidance, lcm.default_scheduler) == (6, 8.0, "lcm")


@pytest.mark.parametrize(
    ("pipeline", "config", "first"),
    [
        ("StableDiffusionPipeline", {"_class_name": "DDIMScheduler"}, "ddim"),
        ("StableDiffusionPipeline", {"_class_name": "PNDMScheduler"}, "euler"),
        ("StableDiffusionXLPipeline", {"_class_name": "DPMSolverMultistepScheduler"}, "dpmpp_2m"),
        ("StableDiffusion3Pipeline", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "flow_euler"),
    ],
)
def test_the_default_scheduler_is_the_directorys_own_where_it_is_a_usual_one(
    tmp_path: Path, pipeline: str, config: dict[str, Any], first: str
):
    manifest = read_manifest(write_plain(tmp_path / "m", pipeline, config))
    assert manifest.default_scheduler == manifest.schedulers[0] == first
    assert len(set(manifest.schedulers)) == len(manifest.schedulers)


def test_a_schedule_that_shifts_by_size_has_the_scheduler_alone_that_knows_it(tmp_path: Path):
    shifting = {"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True}
    assert read_manifest(write_plain(tmp_path / "a", "StableDiffusion3Pipeline", shifting)).schedulers == (
        "flow_euler",
    )
    assert read_manifest(write_plain(tmp_path / "b", "FluxPipeline", shifting)).schedulers == ("flow_euler",)
    plain = read_manifest(write_plain(tmp_path / "c", "StableDiffusion3Pipeline"))
    assert plain.schedulers == ("flow_euler", "flow_heun")


def test_no_side_is_longer_than_the_transformers_table_of_places(tmp_path: Path):
    manifest = read_manifest(write_plain(tmp_path / "m", "StableDiffusion3Pipeline", pos_embed_max_size=96))
    assert manifest.max_width == 96 * 2 * 8


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


def write_parts(base: Path, *parts: str) -> Path:
    """Write an index that lists these parts, and weights for each."""
    listed = {part: ["diffusers", "Class"] for part in parts}
    index = {"_class_name": "StableDiffusionPipeline", "image_encoder": [None, None], **listed}
    (write_base(base) / "model_index.json").write_text(json.dumps(index))
    for part in parts:
        (base / part).mkdir(exist_ok=True)
        (base / part / "config.json").write_text('{"sample_size": 8, "block_out_channels": [1]}')
        (base / part / "model.safetensors").write_bytes(b"x")
    return base


def test_folders_that_are_no_part_of_the_pipeline_are_left_out(tmp_path: Path):
    base = write_parts(tmp_path / "b", "text_encoder", "unet", "vae", "safety_checker")
    for name in ("text_encoders/t5xxl.safetensors", "onnx/config.json"):
        (base / name).parent.mkdir()
        (base / name).write_bytes(b"x")
    folders = {name.partition("/")[0] for name in served_files(base, read_manifest(base)) if "/" in name}
    assert folders == {"text_encoder", "unet", "vae"}


def test_a_part_that_the_pipeline_needs_and_has_no_weights_is_told(tmp_path: Path):
    base = write_parts(tmp_path / "b", "text_encoder", "text_encoder_2", "unet", "vae")
    (base / "text_encoder_2" / "model.safetensors").unlink()
    with pytest.raises(FailedPrecondition, match="no safetensors weights in: text_encoder_2"):
        served_files(base, read_manifest(base))


def test_of_two_precisions_the_plain_one_is_served_however_many_files_it_has(tmp_path: Path):
    base = write_parts(tmp_path / "b", "text_encoder", "unet", "vae")
    (base / "text_encoder" / "model.safetensors").rename(base / "text_encoder" / "model-00001-of-00001.safetensors")
    for name in (
        "text_encoder/model.safetensors.index.json",
        "text_encoder/model.safetensors.index.fp16.json",
        "text_encoder/model.fp16-00001-of-00001.safetensors",
    ):
        (base / name).write_bytes(b"x")
    (base / "vae" / "model.safetensors").rename(base / "vae" / "model.fp16.safetensors")
    served = served_files(base, read_manifest(base))
    assert [name for name in served if "fp16" in name] == ["vae/model.fp16.safetensors"]
    assert "text_encoder/model.safetensors.index.json" in served


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
