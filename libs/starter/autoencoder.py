"""The autoencoder: 64×64 pixels to 8×8 latents of 16 channels, a stock `AutoencoderKL`.

It is trained without sampling; small noise on the latents makes the decoder forgiving. At the
end the per-channel normalisation is folded into its 1×1 convolutions, so that latents have mean
0 and deviation 1 and `scaling_factor` is 1.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from .dataset import base_pixels, has_style, pictures_of, style_pixels
from .parallel import Loss, Plan
from .pictures import Pixels
from .variations import STYLES

CHANNELS = 16
PLAN = Plan(steps=8000, learning_rate=2e-3, warmup_steps=60, decay_steps=2500, ema=0.995)


def new_autoencoder() -> AutoencoderKL:
    """An untrained autoencoder of about 3 million parameters."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 96, 256),
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=1.0,
        mid_block_add_attention=False,
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
    for style in ("fluent-flat", *STYLES):
        parts.append(style_pixels(work, pictures, style)[has_style(pictures, style)])
    return np.concatenate(parts)


def image_loss(made: Tensor, real: Tensor) -> Tensor:
    """Squared and absolute error, also of the 4-fold average, which keeps colour: a scalar."""
    difference = made.float() - real
    coarse = F.avg_pool2d(difference, 4)
    return difference.square().mean() * 2 + difference.abs().mean() * 0.25 + coarse.square().mean()


@dataclass(frozen=True)
class BuildAutoencoder:
    """Builds the model and its loss in a training process."""

    work: Path
    batch: int = 8

    def __call__(self) -> tuple[nn.Module, Loss]:
        model = new_autoencoder().to(memory_format=torch.channels_last)
        pixels = training_pixels(self.work)

        def loss_of(step: int, rank: int, generator: torch.Generator) -> Tensor:
            rows = torch.randint(len(pixels), (self.batch,), generator=generator)
            real = to_input(pixels[rows.numpy()]).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                latents = model.encode(real).latent_dist.mean.float()
                noise = torch.randn(latents.shape, generator=generator)
                made = model.decode(latents + 0.05 * noise).sample
            return image_loss(made, real) + 1e-3 * (latents.square().mean((0, 2, 3)) - 1).square().mean()

        return model, loss_of


@torch.no_grad()
def encode(model: AutoencoderKL, pixels: Pixels, batch: int = 64) -> Tensor:
    """(images, 64, 64, 3) to latents (images, 16, 8, 8), float32, scaled."""
    parts = []
    for start in range(0, len(pixels), batch):
        parts.append(model.encode(to_input(pixels[start : start + batch])).latent_dist.mean.float())
    return torch.cat(parts)


@torch.no_grad()
def decode(model: AutoencoderKL, latents: Tensor, batch: int = 64) -> Pixels:
    """Latents (images, 16, 8, 8) to (images, 64, 64, 3)."""
    parts = [to_pixels(model.decode(part).sample) for part in latents.split(batch)]
    return np.concatenate(parts)


@torch.no_grad()
def fold_normalisation(model: AutoencoderKL, latents: Tensor) -> None:
    """Rescales the 1×1 convolutions so that each latent channel has mean 0 and deviation 1."""
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    assert model.quant_conv is not None and model.post_quant_conv is not None
    out, back = model.quant_conv, model.post_quant_conv
    assert out.bias is not None and back.bias is not None
    out.weight[:CHANNELS] /= deviation[:, None, None, None]
    out.bias[:CHANNELS] = (out.bias[:CHANNELS] - mean) / deviation
    back.bias += back.weight[:, :, 0, 0] @ mean
    back.weight *= deviation[None, :, None, None]
