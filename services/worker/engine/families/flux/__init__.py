"""Flux: T5 for the text, CLIP for its pooled form, a transformer of flow matching over packed latents, an autoencoder.

Guidance is an input of the transformer. A negative prompt asks for guidance by a second pass in its place, as the stock
pipeline's `true_cfg_scale` does with an embedded guidance of 1.
"""

from __future__ import annotations

from typing import Final

from diffusers import FluxPipeline

from services.worker.engine import schedulers
from services.worker.engine.families.flux import decoding, denoising, latents, text_encoding
from services.worker.engine.families.flux.lora_naming import rename_lora
from services.worker.engine.families.port import Family

FLUX: Final = Family(
    pipeline_class=FluxPipeline,
    pipeline_arguments={},
    denoiser="transformer",
    text_encoders=("text_encoder",),
    schedulers=schedulers.FLOW_CLASSES,
    grid_px=16,
    text_encoding=text_encoding,
    latents=latents,
    denoising=denoising,
    decoding=decoding,
    rename_lora=rename_lora,
)
