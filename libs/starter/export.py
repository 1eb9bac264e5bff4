"""Writes the trained parts in the layout the platform serves: `weights/base` and `weights/loras`.

Every folder or file is written beside its place and renamed into it, so that a reader finds
either the former version or the new one, whole.
"""

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from .autoencoder import CHANNELS
from .dataset import pictures_of
from .denoiser import TextToLatents, new_denoiser, new_scheduler
from .loras import STYLE_LORAS
from .parallel import averaged
from .pictures import TRAINED_PX
from .text import new_text_encoder, tokenizer_of
from .upscaler import SRVGGNetCompact

WEIGHTS = Path(__file__).parent / "weights"

MANIFEST = {
    "slug": "starter",
    "name": "Imagineo Starter",
    "description": "Small embedded model: draws things, animals, food, places and faces as icons.",
    "family": "sd",
    "native_px": TRAINED_PX,
    "latent_channels": CHANNELS,
    "default_width": 256,
    "default_height": 256,
    "max_width": 2048,
    "max_height": 2048,
    "default_steps": 20,
    "max_steps": 100,
    "default_guidance": 3.0,
    "default_scheduler": "ddim",
    "schedulers": ["ddim", "euler", "euler_ancestral", "dpmpp_2m", "lcm"],
    "sizing": "upscale",
    "upscaler": "upscaler.safetensors",
    "license": "Apache-2.0 (trained on Noto Emoji, Apache-2.0; styles on Fluent Emoji, MIT)",
}


def replace_folder(fresh: Path, home: Path) -> None:
    """Puts a finished folder into its place."""
    former = home.with_name(f".{home.name}.former")
    shutil.rmtree(former, ignore_errors=True)
    if home.exists():
        home.rename(former)
    fresh.rename(home)
    shutil.rmtree(former, ignore_errors=True)


def export_base(work: Path, weights: Path = WEIGHTS) -> Path:
    """Writes `weights`/base from the checkpoints: the diffusers folder, manifest and upscaler."""
    tokenizer = tokenizer_of(work, pictures_of(work))
    model = TextToLatents(new_text_encoder(tokenizer), new_denoiser())
    averaged(model, work / "denoiser.pt")
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderTiny.from_pretrained(work / "vae").half(),
        text_encoder=model.text_encoder.half(),
        tokenizer=tokenizer,
        unet=model.denoiser.half(),
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    fresh = weights / ".base.fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    pipeline.vae.register_to_config(_name_or_path="")  # it was the work folder's
    pipeline.save_pretrained(fresh)
    (fresh / "imagineo.json").write_text(json.dumps(MANIFEST, indent=2, ensure_ascii=False) + "\n")
    if (work / "upscaler.pt").exists():
        upscaler = averaged(SRVGGNetCompact(), work / "upscaler.pt").half()
        save_file(upscaler.state_dict(), fresh / "upscaler.safetensors")
    replace_folder(fresh, weights / "base")
    return weights / "base"


def write_lora_list(weights: Path = WEIGHTS) -> None:
    """Writes `weights`/loras/loras.json for the LoRAs that are there."""
    folder = weights / "loras"
    entries = [
        {
            "slug": style.slug,
            "file": f"{style.slug}.safetensors",
            "name": style.name,
            "description": style.description,
            "trigger_words": [],
            "naming": style.naming,
            "shared": style.shared,
        }
        for style in STYLE_LORAS
        if (folder / f"{style.slug}.safetensors").exists()
    ]
    fresh = folder / "loras.json.part"
    fresh.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n")
    fresh.replace(folder / "loras.json")


def shipped_bytes(weights: Path = WEIGHTS) -> int:
    """The size of everything shipped."""
    return sum(path.stat().st_size for path in weights.rglob("*") if path.is_file())


def load_upscaler(base: Path) -> SRVGGNetCompact:
    """The shipped upscaler in float32."""
    model = SRVGGNetCompact()
    model.load_state_dict({k: v.float() for k, v in load_file(base / "upscaler.safetensors").items()})
    return model.eval()


def load_pipeline(base: Path) -> StableDiffusionPipeline:
    """The shipped pipeline in float32, silent."""
    pipeline = StableDiffusionPipeline.from_pretrained(base, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
