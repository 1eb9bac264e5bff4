"""The autoencoder: 64x64 pixels to 8x8 latents of 16 channels, a stock `AutoencoderTiny`.

It learns without sampling; small noise on the latents makes the decoder forgiving, and a penalty
holds every channel near mean 0 and deviation 1. `settle` then folds what is left into the
encoder's last and the decoder's first convolution, so that `scaling_factor` is 1.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn
from torch.nn import functional

from .dataset import base_pixels, has_style, pictures_of, style_pixels
from .parallel import Loss, Plan, averaged
from .pictures import Pixels
from .variations import STYLES

CHANNELS = 16
PLAN = Plan(steps=6500, learning_rate=1.5e-3, warmup_steps=100, decay_steps=2000, ema=0.995)


def new_autoencoder() -> AutoencoderTiny:
    """An untrained autoencoder of about a million parameters."""
    return AutoencoderTiny(
        encoder_block_out_channels=(32,) * 4,
        decoder_block_out_channels=(48,) * 4,
        num_encoder_blocks=(0, 1, 2, 2),
        num_decoder_blocks=(4, 4, 2, 1),
        latent_channels=CHANNELS,
        scaling_factor=1.0,
    )


def to_input(pixels: Pixels | np.ndarray) -> Tensor:
    """(batch, height, width, 3) uint8 to (batch, 3, height, width) float32 in -1..1."""
    tensor = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
    return tensor.float().div(127.5).sub(1)


def to_pixels(images: Tensor) -> Pixels:
    """The inverse of `to_input`, clipped."""
    scaled = images.float().add(1).mul(127.5).round().clamp(0, 255).byte()
    return np.ascontiguousarray(scaled.permute(0, 2, 3, 1).numpy())


def training_pixels(work: Path) -> Pixels:
    """Every variation and style the decoder must draw: (images, 64, 64, 3)."""
    pictures = pictures_of(work)
    base = base_pixels(work, pictures)
    parts = [base.reshape(-1, *base.shape[2:])]
    parts += [style_pixels(work, pictures, s)[has_style(pictures, s)] for s in ("fluent-flat", *STYLES)]
    return np.concatenate(parts)


def image_loss(made: Tensor, real: Tensor) -> Tensor:
    """Squared and absolute error, also of the 4-fold average, which keeps colour: a scalar."""
    difference = made.float() - real
    coarse = functional.avg_pool2d(difference, 4)
    return difference.square().mean() * 2 + difference.abs().mean() * 0.25 + coarse.square().mean()


@dataclass(frozen=True)
class BuildAutoencoder:
    """Builds the model and its loss in a training process."""

    work: Path
    batch: int = 8

    def __call__(self) -> tuple[nn.Module, Loss]:
        """The autoencoder and the loss of reconstructing a random batch."""
        model = new_autoencoder().to(memory_format=torch.channels_last)
        pixels = training_pixels(self.work)

        def loss_of(_step: int, generator: torch.Generator) -> Tensor:
            rows = torch.randint(len(pixels), (self.batch,), generator=generator)
            real = to_input(pixels[rows.numpy()]).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                latents = model.encode(real).latents.float()
                noise = torch.randn(latents.shape, generator=generator)
                made = model.decode(latents + 0.05 * noise).sample
            mean, variance = latents.mean((0, 2, 3)), latents.var((0, 2, 3))
            spread = mean.square().mean() + (variance - 1).square().mean()
            return image_loss(made, real) + 0.01 * spread

        return model, loss_of


@torch.no_grad()
def encode(model: AutoencoderTiny, pixels: Pixels, batch: int = 64) -> Tensor:
    """(images, 64, 64, 3) to latents (images, 16, 8, 8), float32, scaled."""
    starts = range(0, len(pixels), batch)
    return torch.cat([model.encode(to_input(pixels[n : n + batch])).latents.float() for n in starts])


@torch.no_grad()
def decode(model: AutoencoderTiny, latents: Tensor, batch: int = 64) -> Pixels:
    """Latents (images, 16, 8, 8) to (images, 64, 64, 3)."""
    parts = [to_pixels(model.decode(part).sample) for part in latents.split(batch)]
    return np.concatenate(parts)


@torch.no_grad()
def settle(model: AutoencoderTiny, latents: Tensor) -> None:
    """Rescales both sides of the latents so that each channel has mean 0 and deviation 1.

    Exact but for the decoder's soft clamp at ±3, which the decoder's later training absorbs.
    """
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    out, back = model.encoder.layers[-1], model.decoder.layers[0]
    out.weight /= deviation[:, None, None, None]
    out.bias.copy_((out.bias - mean) / deviation)
    back.bias += back.weight.sum((2, 3)) @ mean
    back.weight *= deviation[None, :, None, None]


def make_latents(work: Path) -> None:
    """Settles the trained autoencoder into `work`/vae, and encodes with it."""
    pictures = pictures_of(work)
    base = base_pixels(work, pictures)
    model = averaged(new_autoencoder(), work / "autoencoder.pt")
    settle(model, encode(model, base[::4, ::3].reshape(-1, *base.shape[2:])))
    model.save_pretrained(work / "vae")
    encode_all(work)


def encode_all(work: Path) -> None:
    """Writes latents.pt: (pictures, variations, 16, 8, 8), float16, mean 0 and deviation 1."""
    base = base_pixels(work, pictures_of(work))
    model = AutoencoderTiny.from_pretrained(work / "vae", dtype=torch.float32)
    latents = encode(model, base.reshape(-1, *base.shape[2:])).half()
    torch.save(latents.reshape(*base.shape[:2], *latents.shape[1:]), work / "latents.pt")
