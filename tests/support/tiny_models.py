"""A tiny Stable Diffusion of the real classes with random weights, an upscaler and LoRA files in every naming.

Deterministic, made in about a second: 64 px pictures, 8 x 8 latents, a vocabulary of letters.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

MANIFEST = {
    "slug": "tiny",
    "name": "Tiny",
    "description": "Random weights of the real classes, for tests.",
    "family": "sd",
    "native_px": 64,
    "latent_channels": 4,
    "default_width": 64,
    "default_height": 64,
    "max_width": 1024,
    "max_height": 1024,
    "default_steps": 4,
    "max_steps": 50,
    "default_guidance": 5.0,
    "default_scheduler": "ddim",
    "schedulers": ["ddim", "euler", "euler_ancestral", "dpmpp_2m", "lcm"],
    "sizing": "upscale",
    "upscaler": "upscaler.safetensors",
    "license": "Apache-2.0",
}


def tiny_base(directory: Path) -> Path:
    """Write the base model as a diffusers directory with its `imagineo.json`."""
    state = torch.random.get_rng_state()
    torch.manual_seed(7)
    words = tokenizer()
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=64,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(words),
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=77,
                bos_token_id=words.bos_token_id,
                eos_token_id=words.eos_token_id,
                pad_token_id=words.pad_token_id,
            )
        ),
        tokenizer=words,
        unet=UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(16, 32),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=32,
            attention_head_dim=8,
            norm_num_groups=8,
        ),
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(directory)
    tiny_upscaler(directory / "upscaler.safetensors")
    (directory / "imagineo.json").write_text(json.dumps(MANIFEST, indent=2))
    torch.random.set_rng_state(state)
    return directory


def tiny_upscaler(path: Path, *, features: int = 8, hidden: int = 2, factor: int = 4) -> Path:
    """Write an upscaler with Real-ESRGAN's keys."""
    draw = torch.Generator().manual_seed(3)
    shapes = [(features, 3), *[(features, features)] * hidden, (3 * factor**2, features)]
    weights = {}
    for index, (outputs, inputs) in enumerate(shapes):
        weights[f"body.{2 * index}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=draw) * 0.05
        weights[f"body.{2 * index}.bias"] = torch.zeros(outputs)
        if index < len(shapes) - 1:
            weights[f"body.{2 * index + 1}.weight"] = torch.full((features,), 0.2)
    save_file(weights, path)
    return path


UNET_MODULES = {
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": (16, 16),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k": (32, 16),
    "mid_block.attentions.0.transformer_blocks.0.attn1.to_v": (32, 32),
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0": (32, 32),
}
TEXT_MODULES = {
    "encoder.layers.0.self_attn.q_proj": (32, 32),
    "encoder.layers.0.self_attn.out_proj": (32, 32),
    "encoder.layers.1.mlp.fc1": (32, 64),
}


def lora_file(
    path: Path,
    naming: str = "peft",
    *,
    seed: int = 1,
    rank: int = 4,
    alpha: float | None = None,
    text: bool = False,
    dtype: torch.dtype = torch.float32,
    strength: float = 0.5,
) -> Path:
    """Write a LoRA for the tiny base in `peft`, `diffusers`, `diffusers-old` or `kohya` naming.

    The same seed gives the same matrices in every naming; kohya alone carries the alpha.
    """
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    parts = [("unet", UNET_MODULES)] + ([("text_encoder", TEXT_MODULES)] if text else [])
    for part, modules in parts:
        for module, (inputs, outputs) in modules.items():
            down = (torch.randn(rank, inputs, generator=draw) * strength).to(dtype)
            up = (torch.randn(outputs, rank, generator=draw) * strength).to(dtype)
            down_key, up_key, alpha_key = _keys(naming, part, module)
            tensors[down_key], tensors[up_key] = down, up
            if alpha is not None and alpha_key:
                tensors[alpha_key] = torch.tensor(alpha)
    save_file(tensors, path)
    return path


#: Modules beyond attention that a LoRA may have: (fan in, outputs, side of the kernel).
CONVOLUTIONS = {
    "conv_in": (4, 16, 3),
    "conv_out": (16, 4, 3),
    "down_blocks.0.downsamplers.0.conv": (16, 16, 3),
    "mid_block.resnets.0.conv1": (32, 32, 3),
    "down_blocks.0.attentions.0.proj_in": (16, 16, 1),
    "mid_block.resnets.0.time_emb_proj": (64, 32, 0),
    "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj": (32, 256, 0),
}


def conv_lora_file(path: Path, *, seed: int = 1, rank: int = 4, settings: dict | None = None) -> Path:
    """Write a LoRA of convolutions and a few linear layers; `settings` are the ones that peft trained it with."""
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    for module, (inputs, outputs, side) in CONVOLUTIONS.items():
        kernel = (side, side) if side else ()
        ones = (1, 1) if side else ()
        stem = f"unet.{module}"
        tensors[f"{stem}.lora_A.weight"] = torch.randn(rank, inputs, *kernel, generator=draw) * 0.1
        tensors[f"{stem}.lora_B.weight"] = torch.randn(outputs, rank, *ones, generator=draw) * 0.1
    metadata = {"lora_adapter_metadata": json.dumps(settings)} if settings else None
    save_file(tensors, path, metadata)
    return path


def _keys(naming: str, part: str, module: str) -> tuple[str, str, str]:
    text = part == "text_encoder"
    if naming == "peft":
        stem = f"{part}.{'text_model.' if text else ''}{module}"
        return f"{stem}.lora_A.weight", f"{stem}.lora_B.weight", ""
    if naming == "diffusers":
        stem = f"{part}.{'text_model.' if text else ''}{module}.{'lora_linear_layer' if text else 'lora'}"
        return f"{stem}.down.weight", f"{stem}.up.weight", ""
    if naming == "diffusers-old":
        head, _, leaf = module.removesuffix(".0").rpartition(".")
        stem = f"{part}.{head}.processor.{leaf}_lora"
        return f"{stem}.down.weight", f"{stem}.up.weight", ""
    flat = ("lora_te_text_model_" if text else "lora_unet_") + module.replace(".", "_")
    return f"{flat}.lora_down.weight", f"{flat}.lora_up.weight", f"{flat}.alpha"


def tokenizer() -> CLIPTokenizer:
    """A vocabulary of letters."""
    letters = [chr(code) for code in range(33, 127)]
    pieces = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: row for row, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)
