"""Stable Diffusion XL: two CLIP text encoders, a UNet that also takes pooled text and sizes, a KL autoencoder."""

from __future__ import annotations

from typing import Final

from diffusers import StableDiffusionXLPipeline

from services.worker.engine import schedulers
from services.worker.engine.families.port import Family
from services.worker.engine.families.sdxl import decoding, denoising, latents, text_encoding
from services.worker.engine.families.sdxl.lora_naming import rename_lora

SDXL: Final = Family(
    pipeline_class=StableDiffusionXLPipeline,
    pipeline_arguments={"add_watermarker": False},
    denoiser="unet",
    text_encoders=("text_encoder", "text_encoder_2"),
    schedulers=schedulers.CLASSES,
    grid_px=8,
    text_encoding=text_encoding,
    latents=latents,
    denoising=denoising,
    decoding=decoding,
    rename_lora=rename_lora,
    float32_parts=("vae",),
    takes_masks=True,
)
