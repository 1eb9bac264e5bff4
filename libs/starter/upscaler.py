"""The x4 upscaler: Real-ESRGAN's compact network, small, trained on the same pictures.

Every tenth picture is held out. Inputs are clean pictures, pictures that went through the
autoencoder, and crops of large renderings, so that using it twice stays crisp.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from .autoencoder import decode, encode
from .dataset import has_style, pictures_of
from .parallel import Loss, Plan
from .pictures import Picture, Pixels, render, rendered, shrink
from .variations import COLORS, STYLES, recolor

SCALE = 4
FEATURES, CONVOLUTIONS = 32, 10
CROP_PX = 32
PLAN = Plan(steps=4000, learning_rate=2e-3, warmup_steps=50, decay_steps=2500, ema=0.995)


class SRVGGNetCompact(nn.Module):
    """(batch, 3, height, width) in 0..1 to (batch, 3, 4·height, 4·width), about 0..1.

    Source: Real-ESRGAN (Wang et al., 2021), `SRVGGNetCompact`; the same keys `body.N.…`.
    """

    def __init__(self, features: int = FEATURES, convolutions: int = CONVOLUTIONS) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, features, 3, padding=1), nn.PReLU(features)]
        for _ in range(convolutions):
            layers += [nn.Conv2d(features, features, 3, padding=1), nn.PReLU(features)]
        layers.append(nn.Conv2d(features, 3 * SCALE**2, 3, padding=1))
        self.body = nn.ModuleList(layers)

    def forward(self, images: Tensor) -> Tensor:
        """Adds what the body draws to the picture enlarged by repetition."""
        out = images
        for layer in self.body:
            out = layer(out)
        return functional.pixel_shuffle(out, SCALE) + functional.interpolate(images, scale_factor=SCALE)


def held_out(count: int) -> np.ndarray:
    """Which pictures the upscaler never sees: (pictures,) bool."""
    return np.asarray(np.arange(count) % 10 == 7)


def small_pairs(work: Path, pictures: list[Picture]) -> tuple[Pixels, Pixels, Pixels]:
    """Clean 64 px inputs, the same through the autoencoder, and their 256 px targets."""
    path = work / "upscaler-small.npz"
    if not path.exists():
        seen = ~held_out(len(pictures))
        big = rendered(work, pictures)[seen]
        rng = np.random.default_rng(0)
        colors = list(COLORS)
        some = rng.choice(len(big), 260, replace=False)
        extra = [recolor(big[row], colors[n % len(colors)]) for n, row in enumerate(some)]
        # Every style is seen too, so that pictures drawn with a LoRA are enlarged in kind.
        styled = [draw(big[row]) for draw in STYLES.values() for row in rng.choice(len(big), 70)]
        fluent = rendered(work, pictures, "fluent")[seen & has_style(pictures, "fluent-flat")]
        targets = np.concatenate([big, np.stack(extra + styled), fluent[::5]])
        inputs = shrink(targets)
        vae = AutoencoderTiny.from_pretrained(work / "vae")
        torch.manual_seed(0)
        latents = encode(vae, inputs)
        decoded = decode(vae, latents + 0.12 * torch.randn_like(latents))
        np.savez(path, inputs=inputs, decoded=decoded, targets=targets)
    stored = np.load(path)
    return stored["inputs"], stored["decoded"], stored["targets"]


def large_crops(work: Path, pictures: list[Picture]) -> Pixels:
    """Crops of 1024 px renderings where something is drawn: (crops, 128, 128, 3)."""
    path = work / "upscaler-large.npy"
    side = CROP_PX * SCALE
    if not path.exists():
        rng = np.random.default_rng(0)
        crops = []
        for row in np.flatnonzero(~held_out(len(pictures)))[::4]:
            big = render(pictures[row].body, 128, 1024)
            for _ in range(20):
                y, x = rng.integers(0, 1024 - side, 2)
                crop = big[y : y + side, x : x + side]
                if crop.std() > 12 and len(crops) < 3000:
                    crops.append(crop)
        np.save(path, np.stack(crops))
    return np.asarray(np.load(path))


def to_unit(pixels: Pixels) -> Tensor:
    """(batch, height, width, 3) uint8 to (batch, 3, height, width) float32 in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div(255)


@dataclass(frozen=True)
class BuildUpscaler:
    """Builds the network and its loss in a training process."""

    work: Path
    batch: int = 12

    def __call__(self) -> tuple[nn.Module, Loss]:
        """The network and the loss on random crops."""
        pictures = pictures_of(self.work)
        inputs, decoded, targets = small_pairs(self.work, pictures)
        crops = large_crops(self.work, pictures)
        model = SRVGGNetCompact()

        def loss_of(_step: int, generator: torch.Generator) -> Tensor:
            rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
            made, real = [], []
            for sort in rng.random(self.batch):
                if sort < 0.25:
                    crop = crops[rng.integers(len(crops))]
                    made.append(shrink(crop[None], CROP_PX)[0])
                    real.append(crop)
                    continue
                row = rng.integers(len(inputs))
                y, x = rng.integers(0, inputs.shape[1] - CROP_PX + 1, 2)
                source = inputs if sort < 0.65 else decoded
                made.append(source[row, y : y + CROP_PX, x : x + CROP_PX])
                place = slice(y * SCALE, (y + CROP_PX) * SCALE), slice(x * SCALE, (x + CROP_PX) * SCALE)
                real.append(targets[row][place])
            with torch.autocast("cpu", torch.bfloat16):
                drawn = model(to_unit(np.stack(made)))
            difference = drawn.float() - to_unit(np.stack(real))
            return difference.abs().mean() + 2 * difference.square().mean()

        return model, loss_of


@torch.no_grad()
def upscale(model: SRVGGNetCompact, pixels: Pixels) -> Pixels:
    """(batch, height, width, 3) to (batch, 4·height, 4·width, 3)."""
    out = torch.cat([model(part) for part in to_unit(pixels).split(4)])
    return np.ascontiguousarray(out.mul(255).round().clamp(0, 255).byte().permute(0, 2, 3, 1))


def psnr(made: Pixels, real: Pixels) -> float:
    """Mean over pictures of the peak signal-to-noise ratio in dB."""
    error = (made.astype(np.float32) - real.astype(np.float32)) ** 2
    per_picture = 10 * np.log10(255**2 / np.maximum(error.reshape(len(made), -1).mean(1), 1e-2))
    return float(per_picture.mean())


def gain_db(model: SRVGGNetCompact, targets: Pixels) -> tuple[float, float]:
    """PSNR of the upscaler and of bicubic interpolation on (pictures, 256, 256, 3)."""
    inputs = shrink(targets)
    size = targets.shape[2], targets.shape[1]
    cubic = [np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BICUBIC)) for p in inputs]
    return psnr(upscale(model, inputs), targets), psnr(np.stack(cubic), targets)
