"""Stable Diffusion 1 and 2: one CLIP text encoder, a UNet, a KL autoencoder."""

from __future__ import annotations

from typing import Final

from diffusers import StableDiffusionPipeline

from services.worker.engine import schedulers
from services.worker.engine.families.port import Family
from services.worker.engine.families.sd import decoding, denoising, latents, text_encoding

SD: Final = Family(
    pipeline_class=StableDiffusionPipeline,
    pipeline_arguments={"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False},
    denoiser="unet",
    text_encoders=("text_encoder",),
    schedulers=schedulers.CLASSES,
    grid_px=8,
    text_encoding=text_encoding,
    latents=latents,
    denoising=denoising,
    decoding=decoding,
    takes_masks=True,
)
