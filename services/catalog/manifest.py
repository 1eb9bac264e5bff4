"""What a base model's directory says of itself: its `imagineo.json`, or what can be told from plain diffusers files.

It reads small JSON files and decides whether the directory can be served; storing the files is `seeding.py`'s affair.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from imagineo.errors import FailedPrecondition
from imagineo.v1 import model_pb2 as pb

log = logging.getLogger(__name__)

MANIFEST_FILE: Final = "imagineo.json"

Family = Literal["sd", "sdxl", "sd3", "flux"]

# The engine's names. What flows (sd3, flux) is integrated by ones of its own.
_DIFFUSION_SCHEDULERS: Final = (
    *("euler", "euler_ancestral", "ddim", "dpmpp_2m", "lcm"),
    *("ddpm", "deis", "dpm2", "dpm2_ancestral", "dpmpp_2s", "heun", "pndm", "tcd", "unipc"),
)
_FLOW_SCHEDULERS: Final = ("flow_euler", "flow_heun")
SCHEDULERS: Final[dict[Family, tuple[str, ...]]] = {
    "sd": _DIFFUSION_SCHEDULERS,
    "sdxl": _DIFFUSION_SCHEDULERS,
    "sd3": _FLOW_SCHEDULERS,
    "flux": _FLOW_SCHEDULERS,
}
#: Those that a directory may be drawn with unless it asks otherwise, by the class that it names.
_OWN_SCHEDULERS: Final = {
    "DDIMScheduler": "ddim",
    "DPMSolverMultistepScheduler": "dpmpp_2m",
    "EulerAncestralDiscreteScheduler": "euler_ancestral",
    "EulerDiscreteScheduler": "euler",
    "LCMScheduler": "lcm",
}
_FAMILIES: Final[dict[str, Family]] = {
    "StableDiffusionPipeline": "sd",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusion3Pipeline": "sd3",
    "FluxPipeline": "flux",
}
_STEPS_AND_GUIDANCE: Final[dict[Family, tuple[int, float]]] = {
    "sd": (25, 7.5),
    "sdxl": (30, 7.0),
    "sd3": (28, 7.0),
    "flux": (28, 3.5),
}
#: Of those that were distilled to draw in a few steps: without guidance, or with guidance as an input.
_FEW_STEPS_AND_NO_GUIDANCE: Final = (4, 1.0)
_FEW_STEPS_AND_GUIDANCE: Final = (6, 8.0)
_FLUX_NATIVE_PX: Final = 1024  # its transformer's config names no sample size
_DENOISER: Final[dict[Family, str]] = {"sd": "unet", "sdxl": "unet", "sd3": "transformer", "flux": "transformer"}
#: Parts that judge pictures or read them, which workers do without.
NEVER_SERVED: Final = frozenset({"safety_checker", "feature_extractor", "image_encoder"})
_SLUG: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?")
_SIDE_MAX_PX: Final = 4096
_STEPS_MAX: Final = 100
_JSON_MAX_BYTES: Final = 1 << 20
_PROMPT_MAX_CHARACTERS: Final = 500


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of a base model but its id, files and times; the keys are those of `imagineo.json`."""

    slug: str
    name: str
    description: str = ""
    family: Family
    native_px: int
    latent_channels: int = 4
    default_width: int
    default_height: int
    max_width: int
    max_height: int
    default_steps: int
    max_steps: int = _STEPS_MAX
    default_guidance: float
    default_scheduler: str
    schedulers: tuple[str, ...]
    sizing: Literal["upscale", "direct"] = "direct"
    upscaler: str = ""
    license: str = ""
    sample_prompt: str = "a red apple"
    """What the sample picture of a LoRA shows, besides its trigger words."""

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read a manifest.

        Raises:
            FailedPrecondition: if it lacks something or contradicts itself; the message says what.
        """
        try:
            manifest = msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise FailedPrecondition(f"The manifest {MANIFEST_FILE} cannot be read: {problem}.") from problem
        _require_sound(manifest)
        return manifest

    def to_json(self) -> str:
        """Write the manifest."""
        return msgspec.json.encode(self).decode()

    def message(self) -> pb.BaseModel:
        """The manifest as the protocol carries it."""
        return pb.BaseModel(
            slug=self.slug,
            name=self.name,
            description=self.description,
            family=self.family,
            native_px=self.native_px,
            default_width=self.default_width,
            default_height=self.default_height,
            max_width=self.max_width,
            max_height=self.max_height,
            default_steps=self.default_steps,
            max_steps=self.max_steps,
            default_guidance=self.default_guidance,
            schedulers=self.schedulers,
            default_scheduler=self.default_scheduler,
            sizing=pb.SIZING_UPSCALE if self.sizing == "upscale" else pb.SIZING_DIRECT,
            upscaler=self.upscaler,
            license=self.license,
            sample_prompt=self.sample_prompt,
        )


def read_manifest(directory: Path, **overrides: str) -> Manifest:
    """Read or derive the manifest of a base model's directory; `overrides` (slug, name, …) win where not empty.

    Raises:
        FailedPrecondition: if the directory cannot be served; the message says why.
    """
    if not directory.is_dir():
        raise FailedPrecondition(f"'{directory}' is not a directory.")
    index = _read_json(directory / "model_index.json")
    if index is None:
        raise FailedPrecondition(
            f"'{directory}' is not a diffusers directory: it has no model_index.json. "
            "A single-file checkpoint must be converted first."
        )
    own = _read_json(directory / MANIFEST_FILE)
    told = own if own is not None else _derive(directory, index)
    manifest = Manifest.from_json(
        msgspec.json.encode({**told, **{key: text for key, text in overrides.items() if text}})
    )
    if manifest.upscaler and not (directory / manifest.upscaler).is_file():
        log.warning(
            "the upscaler %s of %s is not there: pictures are resized plainly", manifest.upscaler, manifest.slug
        )
        return msgspec.structs.replace(manifest, upscaler="")
    return manifest


def read_parts(directory: Path) -> frozenset[str]:
    """The folders that a directory's pipeline is made of; empty where its index lists none."""
    index = _read_json(directory / "model_index.json") or {}
    listed = {name for name, part in index.items() if isinstance(part, list) and part[:1] not in ([], [None])}
    return frozenset(listed - NEVER_SERVED)


def _derive(directory: Path, index: dict[str, Any]) -> dict[str, Any]:
    pipeline = str(index.get("_class_name", ""))
    family = _FAMILIES.get(pipeline)
    if family is None:
        served = ", ".join(_FAMILIES)
        raise FailedPrecondition(f"The pipeline class '{pipeline}' cannot be served. Served are {served}.")
    vae = _config_of(directory, "vae")
    denoiser = _config_of(directory, _DENOISER[family])
    native_px = _native_px(family, denoiser, vae)
    steps, guidance = _steps_and_guidance(family, denoiser)
    schedulers = _schedulers(directory, family)
    side_px = min(native_px * 2, _SIDE_MAX_PX, *_places_px(denoiser, vae))
    return {
        "slug": _slug_of(directory.name),
        "name": directory.name,
        "family": family,
        "native_px": native_px,
        "latent_channels": int(vae.get("latent_channels", 4)),
        "default_width": native_px,
        "default_height": native_px,
        "max_width": side_px,
        "max_height": side_px,
        "default_steps": steps,
        "default_guidance": guidance,
        "default_scheduler": schedulers[0],
        "schedulers": schedulers,
    }


def _steps_and_guidance(family: Family, denoiser: dict[str, Any]) -> tuple[int, float]:
    if family == "flux" and denoiser.get("guidance_embeds") is False:
        return _FEW_STEPS_AND_NO_GUIDANCE
    if denoiser.get("time_cond_proj_dim") is not None:
        return _FEW_STEPS_AND_GUIDANCE
    return _STEPS_AND_GUIDANCE[family]


def _schedulers(directory: Path, family: Family) -> tuple[str, ...]:
    """The names that the base model can be drawn with, the one that it is meant for first."""
    config = _read_json(directory / "scheduler" / "scheduler_config.json") or {}
    known = SCHEDULERS[family]
    if family == "flux" or config.get("use_dynamic_shifting"):
        return known[:1]  # the other does not know the shift by the picture's size
    own = _OWN_SCHEDULERS.get(str(config.get("_class_name", "")))
    return (own, *(name for name in known if name != own)) if own in known else known


def _places_px(denoiser: dict[str, Any], vae: dict[str, Any]) -> list[int]:
    """The longest side that a transformer's table of places reaches, where it has one."""
    places, patch = denoiser.get("pos_embed_max_size"), denoiser.get("patch_size")
    if type(places) is not int or type(patch) is not int:
        return []
    return [places * patch * _vae_scale(vae)]


def _native_px(family: Family, denoiser: dict[str, Any], vae: dict[str, Any]) -> int:
    if family == "flux":
        return _FLUX_NATIVE_PX
    sample_size = denoiser.get("sample_size")
    if type(sample_size) is not int or sample_size < 1:
        raise FailedPrecondition(
            "The denoiser's config.json names no whole sample_size, so the native size is unknown."
        )
    return sample_size * _vae_scale(vae)


def _vae_scale(vae: dict[str, Any]) -> int:
    channels = vae.get("block_out_channels", vae.get("encoder_block_out_channels"))
    if not isinstance(channels, list) or not 1 <= len(channels) <= 8:
        raise FailedPrecondition("The VAE's config.json names no block_out_channels, so its scale is unknown.")
    return int(2 ** (len(channels) - 1))


def _config_of(directory: Path, part: str) -> dict[str, Any]:
    config = _read_json(directory / part / "config.json")
    if config is None:
        raise FailedPrecondition(f"The directory has no {part}/config.json, which its pipeline needs.")
    return config


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    if path.stat().st_size > _JSON_MAX_BYTES:
        raise FailedPrecondition(f"'{path.name}' is larger than {_JSON_MAX_BYTES} bytes.")
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise FailedPrecondition(f"'{path.parent.name}/{path.name}' is not a JSON object: {problem}.") from problem


def _slug_of(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48].strip("-")


def _require_sound(manifest: Manifest) -> None:
    if _SLUG.fullmatch(manifest.slug) is None:
        raise FailedPrecondition(
            f"The slug '{manifest.slug[:64]}' is not 1 to 48 lower-case letters, digits and inner dashes."
        )
    known = SCHEDULERS[manifest.family]
    scale = 8
    limits = {
        "name must not be empty": bool(manifest.name.strip()),
        f"native_px must be from {scale} to {_SIDE_MAX_PX}": scale <= manifest.native_px <= _SIDE_MAX_PX,
        f"max_width must be from {scale} to {_SIDE_MAX_PX}": scale <= manifest.max_width <= _SIDE_MAX_PX,
        f"max_height must be from {scale} to {_SIDE_MAX_PX}": scale <= manifest.max_height <= _SIDE_MAX_PX,
        "default_width must be from 8 to max_width": scale <= manifest.default_width <= manifest.max_width,
        "default_height must be from 8 to max_height": scale <= manifest.default_height <= manifest.max_height,
        "latent_channels must be from 1 to 64": 1 <= manifest.latent_channels <= 64,
        f"sample_prompt must have 1 to {_PROMPT_MAX_CHARACTERS} characters": bool(manifest.sample_prompt.strip())
        and len(manifest.sample_prompt) <= _PROMPT_MAX_CHARACTERS,
        f"max_steps must be from 1 to {_STEPS_MAX}": 1 <= manifest.max_steps <= _STEPS_MAX,
        "default_steps must be from 1 to max_steps": 1 <= manifest.default_steps <= manifest.max_steps,
        "default_guidance must be from 0 to 30": 0 <= manifest.default_guidance <= 30,
        f"schedulers must be some of {', '.join(known)}": bool(manifest.schedulers)
        and set(manifest.schedulers) <= set(known),
        "default_scheduler must be one of schedulers": manifest.default_scheduler in manifest.schedulers,
        "upscaler must be empty or, where sizing is upscale, a path inside the directory": not manifest.upscaler
        or (manifest.sizing == "upscale" and _is_inside(manifest.upscaler)),
    }
    broken = [rule for rule, holds in limits.items() if not holds]
    if broken:
        raise FailedPrecondition(f"The manifest of '{manifest.slug}' is not sound: {'; '.join(broken)}.")


def _is_inside(path: str) -> bool:
    return bool(path) and not path.startswith("/") and ".." not in path.split("/")
