"""The denoiser: a stock `UNet2DConditionModel` trained jointly with the text encoder from scratch.

Velocity prediction with zero signal at the last timestep: there the network must draw from the
words alone, which is what makes a name find its picture. Timesteps are drawn more often near it.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextModel

from .autoencoder import CHANNELS
from .dataset import colorable, pictures_of
from .parallel import Loss, Plan
from .text import WIDTH, caption_ids, ids, new_text_encoder, tokenizer_of
from .variations import COLORS, PLACED, VARIATIONS

PLAN = Plan(
    steps=7_200,
    learning_rate=8e-4,
    warmup_steps=300,
    decay_steps=1_200,
    ema=0.998,
)
BLANK_SHARE = 0.1
SNR_CAP = 5.0
SENTENCES = 8


def new_scheduler() -> DDIMScheduler:
    """The noise schedule of training, as the pipeline ships it."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


ALPHAS: Tensor = new_scheduler().alphas_cumprod


def new_denoiser() -> UNet2DConditionModel:
    """An untrained network for (batch, 16, 8, 8) latents and (batch, 32, 192) text states."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=(96, 192, 256),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=(3, 6, 8),
        norm_num_groups=16,
        use_linear_projection=True,
    )


class TextToLatents(nn.Module):
    """Text encoder and denoiser as one module, so that they train together."""

    def __init__(self, text_encoder: CLIPTextModel, denoiser: UNet2DConditionModel) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.denoiser = denoiser

    def forward(self, noisy: Tensor, timesteps: Tensor, words: Tensor) -> Tensor:
        """(batch, 16, 8, 8), (batch,), (batch, 32) ids to the velocity (batch, 16, 8, 8)."""
        states = self.text_encoder(words).last_hidden_state
        return self.denoiser(noisy, timesteps, encoder_hidden_states=states).sample


def use_plain_attention(model: TextToLatents) -> None:
    """Attention as matrix products: on a CPU the fused kernel's backward is many times slower."""
    model.text_encoder.set_attn_implementation("eager")
    model.denoiser.set_attn_processor(AttnProcessor())


def draw_timesteps(batch: int, generator: torch.Generator) -> Tensor:
    """(batch,) int64 in 0..999; three in ten come from the noisiest sixth."""
    late = torch.rand(2, batch, generator=generator)
    return (torch.where(late[0] < 0.3, 0.85 + 0.15 * late[1], late[1]) * 1000).long()


def velocity_loss(
    model: nn.Module, clean: Tensor, timesteps: Tensor, text: Tensor, generator: torch.Generator
) -> Tensor:
    """Squared error of the velocity, capped where little noise is left: a scalar.

    The weight is min(SNR + 1, 5) / (SNR + 1): as min-SNR, but it also trains the last timestep,
    whose SNR is 0. clean: (batch, 16, 8, 8); text: (batch, 32) ids.
    Source: Hang et al., 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy".
    """
    noise = torch.randn(clean.shape, generator=generator)
    signal = ALPHAS[timesteps].view(-1, 1, 1, 1)
    noisy = signal.sqrt() * clean + (1 - signal).sqrt() * noise
    velocity = signal.sqrt() * noise - (1 - signal).sqrt() * clean
    with torch.autocast("cpu", torch.bfloat16):
        guess = model(noisy, timesteps, text)
    ratio = 1 / (1 - signal).clamp(min=1e-4)  # SNR + 1
    weight = ratio.clamp(max=SNR_CAP) / ratio
    return ((guess.float() - velocity).square() * weight).mean()


@dataclass(frozen=True)
class BuildDenoiser:
    """Builds both networks and the loss in a training process."""

    work: Path
    batch: int = 32

    def __call__(self) -> tuple[nn.Module, Loss]:
        """Both networks and the loss on a random batch of captioned latents."""
        pictures = pictures_of(self.work)
        tokenizer = tokenizer_of(self.work, pictures)
        model = TextToLatents(new_text_encoder(tokenizer), new_denoiser())
        use_plain_attention(model)
        latents = torch.load(self.work / "latents.pt")  # (pictures, variations, 16, 8, 8) float16
        words = caption_ids(tokenizer, pictures, SENTENCES, seed=1)
        blank = ids(tokenizer, [""])[0]
        allowed = torch.from_numpy(colorable(pictures))
        plain = len(VARIATIONS) - len(COLORS) - len(PLACED)
        first_color = plain

        def loss_of(step: int, generator: torch.Generator) -> Tensor:
            progress = min(1.0, step / 4000)
            rows = torch.randint(len(pictures), (self.batch,), generator=generator)
            dice = torch.rand(6, self.batch, generator=generator)
            # The first steps see mostly plain pictures with plain names; then the mix widens.
            plain_share = 0.85 - 0.35 * progress
            colored = (dice[0] - plain_share) / (1 - plain_share) < 0.72
            color = (dice[1] * len(COLORS)).long()
            placed = first_color + len(COLORS) + (dice[1] * len(PLACED)).long()
            jitter = torch.where(dice[1] < 0.85, 0, 1 + (dice[1] > 0.925).long())
            variation = torch.where(colored, first_color + color, placed)
            variation = torch.where(dice[0] < plain_share, jitter, variation)
            variation = torch.where((dice[0] >= plain_share) & colored & ~allowed[rows, color], 0, variation)
            bare = dice[2] < 0.75 - 0.35 * progress
            kind = torch.where(bare, 0, 1 + (dice[3] * (SENTENCES - 1)).long())
            text = words[rows, variation, kind].long()
            text = torch.where((dice[4] < BLANK_SHARE)[:, None], blank, text)
            clean = latents[rows, variation].float()
            timesteps = draw_timesteps(self.batch, generator)
            return velocity_loss(model, clean, timesteps, text, generator)

        return model, loss_of
