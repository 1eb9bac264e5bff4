"""What every framework serves: the stock pipeline with all LoRAs loaded, for a batch of requests.

A stock pipeline draws at once what agrees in LoRA, weight, guidance, steps and size: a batch is drawn group by group.
"""

from __future__ import annotations

import base64
import collections
import io
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline

#: The most requests that a framework puts into one batch, and how long it waits for more.
BATCH = 16
WAIT_S = 0.05
FOLDER = "IMAGINEO_BENCH_FOLDER"
THREADS = "IMAGINEO_BENCH_THREADS"


class Stock:
    """The pipeline of one process."""

    def __init__(self) -> None:
        torch.set_num_threads(int(os.environ[THREADS]))
        folder = Path(os.environ[FOLDER])
        with warnings.catch_warnings(action="ignore"):
            self._pipeline = StableDiffusionPipeline.from_pretrained(
                folder / "base", local_files_only=True, dtype=torch.float32
            )
            for path in sorted((folder / "loras").glob("*.safetensors")):
                self._pipeline.load_lora_weights(str(path), adapter_name=path.stem)
        self._pipeline.set_progress_bar_config(disable=True)

    def draw(self, requests: list[dict[str, Any]]) -> list[str]:
        """PNG files in base64, in the order of the requests."""
        groups = collections.defaultdict(list)
        for index, one in enumerate(requests):
            groups[one["lora"], one["weight"], one["guidance"], one["steps"], one["side_px"]].append(index)
        pictures = [""] * len(requests)
        for (lora, weight, guidance, steps, side_px), indexes in groups.items():
            self._pipeline.set_adapters(lora, weight)
            images = self._pipeline(
                [requests[index]["prompt"] for index in indexes],
                guidance_scale=guidance,
                num_inference_steps=steps,
                width=side_px,
                height=side_px,
                generator=[torch.Generator("cpu").manual_seed(requests[index]["seed"]) for index in indexes],
            ).images
            for index, image in zip(indexes, images, strict=True):
                buffer = io.BytesIO()
                image.save(buffer, "PNG")
                pictures[index] = base64.b64encode(buffer.getvalue()).decode()
        return pictures
