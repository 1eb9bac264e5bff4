"""The oracle of the engine: the stock pipeline, alone with one request, LoRAs by `load_lora_weights`."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    DiffusionPipeline,
    FluxImg2ImgPipeline,
    FluxPipeline,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from services.worker.engine import schedulers


class Stock:
    """Draws requests one by one and remembers what it drew."""

    def __init__(self, directory: Path) -> None:
        torch.set_num_threads(1)  # more starve each other where cores are shared
        with warnings.catch_warnings(action="ignore"):
            index = json.loads((directory / "model_index.json").read_text())
            without = {name: None for name, part in index.items() if part == [None, None]}
            self._pipeline = DiffusionPipeline.from_pretrained(
                directory, local_files_only=True, dtype=torch.float32, **without
            )
        self._pipeline.set_progress_bar_config(disable=True)
        self._config = self._pipeline.scheduler.config
        self._drawn = {}
        self._steps = {}

    def draw(self, request):
        """The final latents and the pixels (height, width, 3) of a request."""
        key = replace(request, run_id="")
        if key not in self._drawn:
            with warnings.catch_warnings(action="ignore"):
                self._drawn[key], self._steps[key] = self._draw(request)
        return self._drawn[key]

    def steps_of(self, request):
        """The timesteps of the steps that the pipeline made for a request."""
        self.draw(request)
        return self._steps[replace(request, run_id="")]

    def load(self, uses):
        """Load LoRAs as the documentation says and set their weights."""
        for index, use in enumerate(uses):
            with safe_open(use.path, "pt") as file:
                has_settings = bool((file.metadata() or {}).get("lora_adapter_metadata"))
            # Otherwise in the base model's dtype: stock layers of half precision round every activation.
            source = str(use.path)
            if not has_settings:
                source = {name: tensor.float() for name, tensor in load_file(use.path).items()}
            self._pipeline.load_lora_weights(source, adapter_name=f"a{index}")
        if uses:
            self._pipeline.set_adapters([f"a{index}" for index in range(len(uses))], [use.weight for use in uses])

    def _draw(self, request):
        pipeline = self._pipeline
        classes = {**schedulers.CLASSES, **schedulers.FLOW_CLASSES}
        pipeline.scheduler = classes[request.scheduler].from_config(self._config)
        latents, timesteps = [], []

        def note(_pipeline, _step, timestep, values):
            latents.append(values["latents"])
            timesteps.append(float(timestep))
            return {}

        try:
            self.load(request.adapters)
            image = _of_kind(pipeline, request)(
                request.positive_prompt,
                **_steering(pipeline, request),
                num_inference_steps=request.steps,
                generator=torch.Generator("cpu").manual_seed(request.seed),
                callback_on_step_end=note,
                **_start(request),
            ).images[0]
        finally:
            if request.adapters:
                pipeline.unload_lora_weights()
        last = latents[-1].clone()
        if isinstance(pipeline, FluxPipeline):
            last = pipeline._unpack_latents(last, request.height_px, request.width_px, pipeline.vae_scale_factor)
        return (last, np.asarray(image).astype(int)), timesteps


def _steering(pipeline, request):
    """How the family is asked for guidance; no negative prompt is none, not the empty text."""
    negative = request.negative_prompt or None
    if isinstance(pipeline, FluxPipeline) and negative and request.guidance > 1:
        return {"negative_prompt": negative, "true_cfg_scale": request.guidance, "guidance_scale": 1.0}
    return {"negative_prompt": negative, "guidance_scale": request.guidance}


def _of_kind(pipeline, request):
    """The stock pipeline that draws such requests, of the same parts."""
    if request.source is None:
        return pipeline
    flows = {FluxPipeline: FluxImg2ImgPipeline, StableDiffusion3Pipeline: StableDiffusion3Img2ImgPipeline}
    if type(pipeline) in flows:
        made = flows[type(pipeline)](**pipeline.components)
    elif isinstance(pipeline, StableDiffusionXLPipeline):
        kinds = (StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline)
        made = kinds[request.source.mask is not None](**pipeline.components, add_watermarker=False)
    else:
        kinds = (StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline)
        made = kinds[request.source.mask is not None](**pipeline.components, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    return made


def _start(request):
    """What a request starts from, as the stock pipeline of its kind takes it; a source has the size that is drawn."""
    size = {"width": request.width_px, "height": request.height_px}
    source = request.source
    if source is None:
        return size
    image = Image.frombytes("RGB", (source.width_px, source.height_px), source.rgb)
    if source.mask is None:
        # The pipelines of flows resize to their native size where they are not told.
        return {"image": image, "strength": source.strength, **(size if request.scheduler.startswith("flow") else {})}
    mask = Image.frombytes("L", image.size, source.mask)
    return {"image": image, "mask_image": mask, "strength": source.strength, **size}
