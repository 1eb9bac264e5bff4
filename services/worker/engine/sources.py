"""Runs that start from a picture: image-to-image, and inpainting by a mask, as the stock pipelines do them.

The picture is cut to the aspect of the size that is drawn and resized to it by Lanczos, so for a base model that draws
near its native size and enlarges, what is finer than that is drawn anew. The strength is the share of the steps that is
made, from the end of the schedule, rounded as the family does. Where that is none the picture is given back.
A mask keeps what is black at each step: there the picture, as noisy as the step leaves the rest, takes its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from torch import Tensor
from torch.nn import functional

from services.worker.engine.base import SourceImage
from services.worker.engine.own_scheduler import OwnScheduler
from services.worker.engine.sizing import Size, crop_box
from services.worker.engine.upscaler import fitted

#: Grey from which a mask's pixel means that the picture is drawn anew there.
_ANEW = 128


class Distribution(Protocol):
    """What an autoencoder makes of a picture."""

    def sample(self, generator: torch.Generator) -> Tensor:
        """Latents, unscaled."""


@dataclass(frozen=True, slots=True)
class Certain:
    """Latents of an autoencoder that leaves nothing to chance, as the tiny ones."""

    latents: Tensor

    def sample(self, generator: torch.Generator) -> Tensor:  # noqa: ARG002 - nothing is drawn from it, as by the stock
        """The latents."""
        return self.latents


def distribution_of(answer: Any) -> Distribution:
    """What an autoencoder answered, whichever kind it is."""
    return answer.latent_dist if hasattr(answer, "latent_dist") else Certain(answer.latents)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A source on the device."""

    distribution: Distribution
    scaled: Callable[[Tensor], Tensor]
    """Latents as large as the denoiser takes them."""
    mask: Tensor | None
    """(1, 1, height, width) of the latents: 1 where it is drawn anew, 0 where it is kept."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a run with a mask keeps of its source."""

    latents: Tensor
    noise: Tensor
    mask: Tensor

    def over(self, drawn: Tensor, origin: Tensor) -> Tensor:
        """What was drawn where the mask says so, elsewhere the source."""
        return (1 - self.mask) * origin + self.mask * drawn


def untouched(source: SourceImage, asked: Size) -> Image.Image:
    """The source at the size asked."""
    return fitted(_image(source), asked)


def pixels(source: SourceImage, size: Size) -> Tensor:
    """(1, 3, height, width) float32 from -1 to 1, at the size that is drawn."""
    image = fitted(_image(source), size)
    rows = torch.from_numpy(np.array(image, np.float32)[None] / 255)
    return rows.permute(0, 3, 1, 2) * 2 - 1


def mask(source: SourceImage, size: Size, latent_shape: tuple[int, ...]) -> Tensor | None:
    """The mask at the size of the latents; None where there is none."""
    if source.mask is None:
        return None
    image = Image.frombytes("L", (source.width_px, source.height_px), source.mask)
    if Size(*image.size) != size:
        box = crop_box(Size(*image.size), size)
        image = image.resize((size.width_px, size.height_px), Image.Resampling.NEAREST, box=box)
    rows = torch.from_numpy(np.array(image) >= _ANEW).float()
    return functional.interpolate(rows[None, None], size=tuple(latent_shape[2:]))


def start(
    encoded: Encoded, source: SourceImage, scheduler: OwnScheduler, generator: torch.Generator, like: Any
) -> tuple[Tensor, Kept | None]:
    """The latents that a run starts from, and what it keeps; draws from the generator as the stock pipelines do.

    `like` is (shape, device, dtype) of the latents.
    """
    shape, device, dtype = like
    latents = encoded.scaled(encoded.distribution.sample(generator=generator))
    latents = latents.to(device=device, dtype=dtype)
    noise = randn_tensor(shape, generator=generator, device=device, dtype=dtype)
    if encoded.mask is None:
        return scheduler.noised(latents, noise, 0), None
    # The stock pipeline encodes the masked picture too, which a UNet of four channels then has no use for.
    randn_tensor(shape, generator=generator, device=device, dtype=dtype)
    begun = noise * scheduler.start_scale if source.strength == 1 else scheduler.noised(latents, noise, 0)
    return begun, Kept(latents, noise, encoded.mask.to(device=device, dtype=dtype))


def _image(source: SourceImage) -> Image.Image:
    return Image.frombytes("RGB", (source.width_px, source.height_px), source.rgb)
