"""Tiny base models of every family with random weights: the real classes of all parts, tokenizers of letters.

Deterministic; 64 px pictures, 8 x 8 latents. LoRA files are written for a loaded pipeline, in every naming.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from tests.support.tiny_models import tokenizer

WIDTH = 32


def tiny_family(kind: str, directory: Path) -> Path:
    """Write a base model as a plain diffusers directory."""
    state = torch.random.get_rng_state()
    torch.manual_seed(11)
    pipeline = MAKERS[kind]()
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(directory)
    if hasattr(pipeline, "unet"):
        # As the published ones say; the stock pipeline for masks would else change it for PNDM.
        path = directory / "scheduler" / "scheduler_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"skip_prk_steps": True}))
    torch.random.set_rng_state(state)
    return directory


def _sd2() -> StableDiffusionPipeline:
    words = tokenizer()
    return StableDiffusionPipeline(
        vae=_autoencoder(),
        text_encoder=CLIPTextModel(_clip_config(words, hidden_act="gelu")),
        tokenizer=words,
        unet=UNet2DConditionModel(
            **_UNET | {"block_out_channels": (16, 32), "attention_head_dim": (2, 4), "cross_attention_dim": WIDTH}
        ),
        scheduler=DDIMScheduler(**_NOISE | {"prediction_type": "v_prediction"}),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl() -> StableDiffusionXLPipeline:
    words = tokenizer()
    return StableDiffusionXLPipeline(
        vae=_autoencoder(),
        text_encoder=CLIPTextModel(_clip_config(words)),
        text_encoder_2=CLIPTextModelWithProjection(_clip_config(words, hidden_act="gelu", projection_dim=24)),
        tokenizer=words,
        tokenizer_2=words,
        unet=UNet2DConditionModel(
            **_UNET,
            block_out_channels=(16, 32),
            attention_head_dim=(2, 4),
            cross_attention_dim=2 * WIDTH,
            transformer_layers_per_block=(1, 2),
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 24,
        ),
        scheduler=DDIMScheduler(**_NOISE),
        add_watermarker=False,
    )


def _sd3(*, t5: bool = True) -> StableDiffusion3Pipeline:
    words = tokenizer()
    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=2 * WIDTH,
            caption_projection_dim=32,
            pooled_projection_dim=2 * WIDTH,
            out_channels=4,
            pos_embed_max_size=16,
            dual_attention_layers=(0,) if t5 else (),
            qk_norm="rms_norm" if t5 else None,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_flow_autoencoder(),
        text_encoder=CLIPTextModelWithProjection(_clip_config(words, projection_dim=WIDTH)),
        tokenizer=words,
        text_encoder_2=CLIPTextModelWithProjection(_clip_config(words, hidden_act="gelu", projection_dim=WIDTH)),
        tokenizer_2=words,
        text_encoder_3=_t5(2 * WIDTH) if t5 else None,
        tokenizer_3=_t5_tokenizer() if t5 else None,
    )


def _flux(*, guidance: bool = True) -> FluxPipeline:
    words = tokenizer()
    dynamic = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "shift": 3.0}
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**dynamic if guidance else {}),
        vae=_flow_autoencoder(),
        text_encoder=CLIPTextModel(_clip_config(words)),
        tokenizer=words,
        text_encoder_2=_t5(WIDTH),
        tokenizer_2=_t5_tokenizer(),
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=2,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=guidance,
            axes_dims_rope=(4, 4, 8),
        ),
    )


MAKERS = {
    "sd2": _sd2,
    "sdxl": _sdxl,
    "sd3": _sd3,
    "sd3 without t5": lambda: _sd3(t5=False),
    "flux": _flux,
    "flux schnell": lambda: _flux(guidance=False),
}
FAMILIES = {kind: {"sd2": "sd"}.get(kind, kind.split()[0]) for kind in MAKERS}

_NOISE = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "steps_offset": 1,
    "clip_sample": False,
}
_UNET = {
    "sample_size": 8,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "use_linear_projection": True,
}


def _autoencoder(**changes) -> AutoencoderKL:
    chosen = {
        "block_out_channels": (8, 8, 8, 8),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "latent_channels": 4,
        "norm_num_groups": 4,
        "sample_size": 64,
    }
    return AutoencoderKL(**chosen | changes)


def _flow_autoencoder() -> AutoencoderKL:
    return _autoencoder(scaling_factor=1.5, shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False)


def _clip_config(words, **changes) -> CLIPTextConfig:
    chosen = {
        "vocab_size": len(words),
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 77,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    return CLIPTextConfig(**chosen | changes)


def _t5(width: int) -> T5EncoderModel:
    config = T5Config(vocab_size=128, d_model=width, d_ff=48, d_kv=8, num_heads=4, num_layers=1)
    return T5EncoderModel(config)


def _t5_tokenizer() -> T5Tokenizer:
    letters = [(chr(code), -1.0) for code in range(33, 127)]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0), *letters]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


#: Stock tells kohya's naming of text encoders by the `out_proj` in it, and drops the rest where there is none.
_TEXT_MODULES = (
    "encoder.layers.0.self_attn.q_proj",
    "encoder.layers.0.self_attn.out_proj",
    "encoder.layers.1.mlp.fc1",
)
#: What LoRAs change, by part of the pipeline, with kohya's and the first release's names where they differ.
MODULES = {
    "sd": {
        "unet": (
            "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
            "mid_block.attentions.0.transformer_blocks.0.attn2.to_k",
            "mid_block.attentions.0.proj_in",
        ),
        "text_encoder": _TEXT_MODULES,
    },
    "sdxl": {
        "unet": (
            "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
            "down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_v",
            "mid_block.attentions.0.transformer_blocks.0.attn2.to_k",
            "up_blocks.0.attentions.1.transformer_blocks.0.ff.net.0.proj",
        ),
        "text_encoder": _TEXT_MODULES,
        "text_encoder_2": _TEXT_MODULES,
    },
    "sd3": {
        "transformer": (
            "transformer_blocks.0.attn.to_q",
            "transformer_blocks.0.attn.add_k_proj",
            "transformer_blocks.0.attn.to_out.0",
            "transformer_blocks.1.ff.net.0.proj",
            "transformer_blocks.0.norm1.linear",
        ),
        "text_encoder": _TEXT_MODULES,
        "text_encoder_2": _TEXT_MODULES,
    },
    "flux": {
        "transformer": (
            "transformer_blocks.0.attn.to_q",
            "transformer_blocks.1.attn.add_v_proj",
            "transformer_blocks.1.attn.to_add_out",
            "transformer_blocks.0.ff.net.2",
            "single_transformer_blocks.0.proj_mlp",
            "single_transformer_blocks.0.proj_out",
            "x_embedder",
        ),
        "text_encoder": _TEXT_MODULES,
    },
}
FLUX_KOHYA = {
    "double_blocks_0_img_attn_qkv": (32, 96),
    "double_blocks_1_txt_attn_proj": (32, 32),
    "double_blocks_1_txt_mlp_0": (32, 128),
    "single_blocks_0_linear2": (160, 32),
}


def family_lora(
    path: Path,
    pipeline,
    family: str,
    naming: str = "peft",
    *,
    seed: int = 1,
    rank: int = 4,
    alpha: float | None = None,
    text: bool = True,
    strength: float = 0.15,
) -> Path:
    """Write a LoRA for a pipeline in `peft`, `diffusers`, `kohya` or the family's `first` naming."""
    draw = torch.Generator().manual_seed(seed)
    tensors = {}

    def add(names: tuple[str, str, str], inputs: int, outputs: int) -> None:
        tensors[names[0]] = torch.randn(rank, inputs, generator=draw) * strength
        tensors[names[1]] = torch.randn(outputs, rank, generator=draw) * strength
        if alpha is not None and names[2]:
            tensors[names[2]] = torch.tensor(alpha)

    if naming == "first" and family == "flux":
        for module, (inputs, outputs) in FLUX_KOHYA.items():
            stem = f"lora_unet_{module}"
            add((f"{stem}.lora_down.weight", f"{stem}.lora_up.weight", f"{stem}.alpha"), inputs, outputs)
    else:
        for part, modules in MODULES[family].items():
            if part.startswith("text") and not text:
                continue
            for module in modules:
                outputs, inputs = _weight(getattr(pipeline, part), module).shape
                add(_keys(naming, part, module), inputs, outputs)
    save_file(tensors, path)
    return path


def _weight(model, module: str):
    known = dict(model.named_modules())
    return (known.get(module) or known[f"text_model.{module}"]).weight


def _keys(naming: str, part: str, module: str) -> tuple[str, str, str]:
    inner = f"text_model.{module}" if part.startswith("text") else module
    if naming == "peft":
        return f"{part}.{inner}.lora_A.weight", f"{part}.{inner}.lora_B.weight", ""
    if naming == "diffusers":
        half = "lora_linear_layer" if part.startswith("text") else "lora"
        return f"{part}.{inner}.{half}.down.weight", f"{part}.{inner}.{half}.up.weight", ""
    if naming == "first":
        for now, first in _FIRST_NAMES.items():
            inner = inner.replace(now, first)
    prefix = {"text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}.get(part, "lora_unet")
    stem = f"{prefix}_{inner.replace('.', '_')}"
    return f"{stem}.lora_down.weight", f"{stem}.lora_up.weight", f"{stem}.alpha"


#: Blocks of a UNet of one layer a block, by the names of the first release.
_FIRST_NAMES = {
    "down_blocks.1.attentions.0": "input_blocks_3_1",
    "mid_block.attentions.0": "middle_block_1",
    "up_blocks.0.attentions.1": "output_blocks_1_1",
}
