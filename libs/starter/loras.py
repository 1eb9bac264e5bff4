"""The style LoRAs: trained with peft on the finished base, written in diffusers or kohya naming."""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from .autoencoder import encode
from .dataset import has_style, pictures_of, style_pixels
from .denoiser import BLANK_SHARE, TextToLatents, draw_timesteps, use_plain_attention, velocity_loss
from .parallel import Loss, Plan, unflatten
from .text import caption_ids, ids

PLAN = Plan(steps=0, learning_rate=1.5e-3, warmup_steps=30, ema=0.98, seed=5)
RANK = 8
WIDE_RANK = 16  # for styles far from the base: less cannot turn all 16 latent channels round
# A style far from the base is trained at these weights; between 0 and 1 it shall draw what lies between.
TRAINED_WEIGHTS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
# Attention with its feed-forward layers, and every convolution of the residual blocks and of both ends.
TARGETS = r".*(to_q|to_k|to_v|to_out\.0|ff\.net\.0\.proj|ff\.net\.2)|.*\.conv[12]|conv_in|conv_out"


@dataclass(frozen=True)
class Style:
    """One LoRA to ship; `shared` ones are offered to every user, the others serve tests."""

    slug: str
    name: str
    description: str
    naming: str = "diffusers"
    shared: bool = True
    steps: int = 300
    rank: int = RANK
    between: bool = False


STYLE_LORAS = (
    Style("fluent-flat", "Fluent Flat", "The shapes of Fluent Emoji.", steps=2000, rank=WIDE_RANK),
    Style("pencil-sketch", "Pencil Sketch", "Grey pencil lines on paper.", steps=350),
    Style(
        "pixel-art", "Pixel Art", "Coarse shapes in four greens, as on an early handheld.", steps=500, rank=WIDE_RANK
    ),
    Style("neon", "Neon", "Glowing outlines on black.", steps=700, rank=WIDE_RANK, between=True),
    Style("watercolor", "Watercolor", "Pale washes on aged paper.", "kohya", False, 500),
    Style("inverted", "Inverted", "The photographic negative.", "kohya", False, 600, WIDE_RANK, between=True),
)


def load_base(base: Path) -> TextToLatents:
    """The exported text encoder and denoiser in float32, frozen."""
    text = CLIPTextModel.from_pretrained(base / "text_encoder", dtype=torch.float32)
    denoiser = UNet2DConditionModel.from_pretrained(base / "unet", dtype=torch.float32)
    model = TextToLatents(text, denoiser)
    model.requires_grad_(False)
    return model


def with_lora(model: TextToLatents, rank: int = RANK) -> TextToLatents:
    """Adds a fresh trainable LoRA to the denoiser."""
    model.denoiser.add_adapter(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights=True, target_modules=TARGETS))
    return model


def weigh(model: TextToLatents, weight: float) -> None:
    """Draws with the LoRA at a weight."""
    for layer in model.denoiser.modules():
        if isinstance(layer, LoraLayer):
            layer.set_scale("default", weight)


def rotation(base: Tensor, style: Tensor) -> Tensor:
    """The orthogonal (16, 16) matrix that turns base latents nearest to style latents, both (pictures, 16, 8, 8).

    Source: Schönemann, 1966, "A generalized solution of the orthogonal Procrustes problem".
    """
    left, right = (part.float().permute(1, 0, 2, 3).flatten(1) for part in (style, base))
    u, _, v = torch.linalg.svd(left @ right.T)
    return u @ v


@torch.no_grad()
def turn_ends(model: TextToLatents, turn: Tensor) -> None:
    """Starts the LoRA of both ends such that the network draws as before, in turned latents.

    White noise stays white under a rotation, so that this is exact but for what the rank cuts off: a style
    with a dark ground begins with the base's shapes in place of unlearning them.
    """
    for end, wanted in (("conv_in", turn.T), ("conv_out", turn)):
        layer = getattr(model.denoiser, end)
        weight, apart = layer.base_layer.weight, wanted - torch.eye(len(wanted))
        sides = "ojhw,ji->oihw" if end == "conv_in" else "po,oihw->pihw"
        operands = (weight, apart) if end == "conv_in" else (apart, weight)
        change = torch.einsum(sides, *operands)
        down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        u, strength, v = torch.linalg.svd(change.flatten(1), full_matrices=False)
        count = min(len(down), len(strength))
        root = strength[:count].sqrt()
        down.zero_()[:count] = (root[:, None] * v[:count]).view_as(down[:count])
        up.zero_()[:, :count] = (u[:, :count] * root)[:, :, None, None]


def style_latents(work: Path, base: Path, slug: str) -> tuple[Tensor, Tensor]:
    """Rows of the pictures that have the style, and their latents (pictures, 16, 8, 8)."""
    pictures = pictures_of(work)
    rows = has_style(pictures, slug)
    vae = AutoencoderTiny.from_pretrained(base / "vae", dtype=torch.float32)
    pixels = style_pixels(work, pictures, slug)[rows]
    return torch.from_numpy(rows).nonzero()[:, 0], encode(vae, pixels)


@dataclass(frozen=True)
class BuildLora:
    """Builds the frozen base with a LoRA, and the loss on one style, in a training process."""

    work: Path
    base: Path
    slug: str
    batch: int = 16
    rank: int = RANK
    between: bool = False

    def __call__(self) -> tuple[nn.Module, Loss]:
        """The base with a fresh LoRA and the loss on a random batch in its style."""
        pictures = pictures_of(self.work)
        model = load_base(self.base)
        use_plain_attention(model)
        with_lora(model, self.rank)
        tokenizer = CLIPTokenizer.from_pretrained(self.base / "tokenizer")
        rows, latents = style_latents(self.work, self.base, self.slug)
        plain = torch.load(self.work / "latents.pt", mmap=True)[rows, 0]
        turn_ends(model, rotation(plain, latents))
        words = caption_ids(tokenizer, pictures, 4, seed=2)[rows, 0]
        blank = ids(tokenizer, [""])[0]

        def loss_of(_step: int, generator: torch.Generator) -> Tensor:
            pick = torch.randint(len(latents), (self.batch,), generator=generator)
            dice = torch.rand(2, self.batch, generator=generator)
            kind = torch.where(dice[0] < 0.6, 0, 1 + ((dice[0] - 0.6) / 0.4 * 3).long().clamp(0, 2))
            text = words[pick, kind].long()
            text = torch.where((dice[1] < BLANK_SHARE)[:, None], blank, text)
            timesteps = draw_timesteps(self.batch, generator)
            if not self.between:
                return velocity_loss(model, latents[pick], timesteps, text, generator)
            weight = TRAINED_WEIGHTS[int(torch.randint(len(TRAINED_WEIGHTS), (1,), generator=generator))]
            weigh(model, weight)
            clean = torch.lerp(plain[pick].float(), latents[pick], weight)
            return velocity_loss(model, clean, timesteps, text, generator)

        return model, loss_of


def kohya_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`a.b.lora_A.weight` to `lora_unet_a_b.lora_down.weight`, with alpha equal to the rank."""
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        module, side, _ = key.rsplit(".", 2)
        flat = "lora_unet_" + module.replace(".", "_")
        renamed[f"{flat}.lora_{'down' if side == 'lora_A' else 'up'}.weight"] = value
        if side == "lora_A":
            renamed[f"{flat}.alpha"] = torch.tensor(float(value.shape[0]))
    return renamed


def save_lora(base: Path, checkpoint: Path, style: Style, target: Path) -> None:
    """Writes a trained LoRA as float16 safetensors in its naming."""
    model = with_lora(load_base(base), style.rank)
    unflatten(model, torch.load(checkpoint)["ema"])
    state = {k: v.half().contiguous() for k, v in get_peft_model_state_dict(model.denoiser).items()}
    target.parent.mkdir(parents=True, exist_ok=True)
    if style.naming == "kohya":
        save_file(kohya_names(state), target)
    else:
        StableDiffusionPipeline.save_lora_weights(target.parent, unet_lora_layers=state, weight_name=target.name)
    target.chmod(0o644)
