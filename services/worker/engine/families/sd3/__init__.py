"""Stable Diffusion 3: two CLIP text encoders and mostly T5, a transformer of flow matching, a KL autoencoder."""

from __future__ import annotations

from typing import Final

from diffusers import StableDiffusion3Pipeline

from services.worker.engine import schedulers
from services.worker.engine.families.port import Family
from services.worker.engine.families.sd3 import decoding, denoising, latents, text_encoding

SD3: Final = Family(
    pipeline_class=StableDiffusion3Pipeline,
    pipeline_arguments={},
    denoiser="transformer",
    text_encoders=("text_encoder", "text_encoder_2"),
    schedulers=schedulers.FLOW_CLASSES,
    grid_px=16,
    text_encoding=text_encoding,
    latents=latents,
    denoising=denoising,
    decoding=decoding,
)
