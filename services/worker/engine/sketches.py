"""Sketches: small, cheap pictures of runs that are still denoised, made on the thread of pictures, no step waits.

A sketch shows the picture that the last step predicts: what the denoiser saw less the noise that it found there, which
needs no scheduler. A tiny autoencoder decodes it small. For a full one each pixel is a linear function of its latent,
fitted to what the autoencoder makes of a few random latents. Source of that idea: the linear approximation of Stable
Diffusion's decoder that users published in 2022 (Hugging Face forum, "Decoding latents to RGB without upscaling").
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from torch import Tensor
from torch.nn import functional

from services.worker.engine.base import Sketch
from services.worker.engine.device_thread import DeviceThread
from services.worker.engine.failures import NotFinite
from services.worker.engine.sources import Kept

if TYPE_CHECKING:
    from services.worker.engine.model import Model

#: The longest side of a sketch.
MOST_PX: Final = 256

#: The fit: patches of one value, so that the autoencoder's blur over their edges counts little.
_FIT_COUNT: Final = 2
_FIT_PATCHES: Final = 6
_PATCH_SIDE: Final = 4
_LEAST_SIGNAL: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Glance:
    """One step of one run."""

    seen: Tensor
    """(1, channels, height, width): what the denoiser took."""
    said: Tensor
    """The same shape: its guided answer."""
    timestep: Tensor
    """(1,)"""
    kept: Kept | None = None


class Sketcher:
    """Makes sketches on the thread that owns the autoencoders."""

    def __init__(self, thread: DeviceThread) -> None:
        self._thread = thread
        self._fits: dict[str, Tensor] = {}

    def make(self, model: Model, glance: Glance) -> Future[Sketch]:
        """Have a sketch made; it fails with NotFinite where the numbers ran away. From any thread."""
        return self._thread.submit(lambda: self._made(model, glance))

    @torch.inference_mode()
    def _made(self, model: Model, glance: Glance) -> Sketch:
        latents = predicted(model.pipeline.scheduler, glance)
        factor = int(model.pipeline.vae_scale_factor)
        if isinstance(model.pipeline.vae, AutoencoderTiny):
            latents = _at_most(latents, MOST_PX // factor)
            image = model.family.decoding.decode(model.pipeline, latents.to(model.dtype))[0]
        else:
            if model.base.slug not in self._fits:
                self._fits[model.base.slug] = fit(model)
            image = _projected(_at_most(latents, MOST_PX), self._fits[model.base.slug], factor)
        if image is None:
            raise NotFinite
        image.thumbnail((MOST_PX, MOST_PX))
        return Sketch(image.width, image.height, image.tobytes())


def predicted(scheduler: Any, glance: Glance) -> Tensor:
    """The latents of the picture that a step predicts, in float32.

    Sources: Ho et al. 2020 (arXiv 2006.11239), equation 15; Salimans and Ho 2022 (arXiv 2202.00512), appendix D, for a
    denoiser that answers with a velocity; for flow matching the noise's share of the line from noise to picture.
    """
    seen, said, timestep = glance.seen.float(), glance.said.float(), glance.timestep.float()
    signals = getattr(scheduler, "alphas_cumprod", None)
    if signals is None:
        clean = seen - said * (timestep / scheduler.config.num_train_timesteps).view(-1, 1, 1, 1)
    else:
        place = timestep.round().long().clamp(0, len(signals) - 1).to(signals.device)
        signal = signals[place].to(seen).clamp(min=_LEAST_SIGNAL).view(-1, 1, 1, 1)
        match scheduler.config.get("prediction_type", "epsilon"):
            case "v_prediction":
                clean = signal.sqrt() * seen - (1 - signal).sqrt() * said
            case "sample":
                clean = said
            case _:
                clean = (seen - (1 - signal).sqrt() * said) / signal.sqrt()
    return clean if glance.kept is None else glance.kept.over(clean, glance.kept.latents.float())


@torch.inference_mode()
def fit(model: Model) -> Tensor:
    """(channels + 1, 3): latents and a constant to colors of 0 to 1, by least squares. On the thread of pictures."""
    generator = torch.Generator().manual_seed(0)
    channels = int(model.pipeline.vae.config.latent_channels)
    patches = torch.randn(_FIT_COUNT, channels, _FIT_PATCHES, _FIT_PATCHES, generator=generator)
    latents = patches.repeat_interleave(_PATCH_SIDE, 2).repeat_interleave(_PATCH_SIDE, 3)
    images = model.family.decoding.decode(model.pipeline, latents.to(model.device, model.dtype))
    if any(image is None for image in images):
        raise NotFinite
    side = latents.shape[-1]
    colors = torch.cat([_pixels(image.resize((side, side), Image.Resampling.BOX)) for image in images if image])
    solved: Tensor = torch.linalg.lstsq(_terms(latents), colors).solution
    return solved


def _terms(latents: Tensor) -> Tensor:
    """(batch * height * width, channels + 1)."""
    flat = latents.movedim(1, -1).flatten(0, 2)
    return torch.cat([flat, flat.new_ones(len(flat), 1)], 1)


def _pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image, np.float32) / 255).reshape(-1, 3)


def _projected(latents: Tensor, fitted: Tensor, factor: int) -> Image.Image | None:
    height, width = latents.shape[2:]
    colors = _terms(latents.cpu()) @ fitted
    if not bool(torch.isfinite(colors).all()):
        return None
    pixels = (colors.clamp(0, 1) * 255).round().to(torch.uint8).reshape(height, width, 3)
    image = Image.fromarray(pixels.numpy())
    scale = min(factor, MOST_PX / max(height, width))
    return image.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BICUBIC)


def _at_most(latents: Tensor, side: int) -> Tensor:
    """Shrunk where the longer side is longer than `side`."""
    height, width = latents.shape[2:]
    scale = side / max(height, width)
    if scale >= 1:
        return latents
    size = (max(1, int(height * scale)), max(1, int(width * scale)))
    return functional.interpolate(latents, size=size, mode="area")
