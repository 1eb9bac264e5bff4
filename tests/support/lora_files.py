"""Makes safetensors files, sound and unsound, and model folders, byte by byte: no library mends them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DTYPE_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "I8": 1}


def safetensors(header: Mapping[str, Any] | bytes | str, data: bytes = b"", *, length: int | None = None) -> bytes:
    """Join a header (verbatim if it is text or bytes) and data; `length` lies about the header's."""
    raw = header if isinstance(header, bytes) else (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def entries(shapes: Mapping[str, tuple[int, ...]], dtype: str = "F16") -> tuple[dict[str, Any], int]:
    """Lay tensors out one after the other; returns the header and the number of data bytes."""
    header: dict[str, Any] = {}
    position = 0
    for name, shape in shapes.items():
        size = DTYPE_BYTES[dtype]
        for dimension in shape:
            size *= dimension
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    return header, position


def lora(shapes: Mapping[str, tuple[int, ...]], dtype: str = "F16", fill: bytes = b"\x01") -> bytes:
    """Make a sound file whose data repeats `fill`."""
    header, size = entries(shapes, dtype)
    return safetensors(header, (fill * (size // len(fill) + 1))[:size])


#: The modules of the base models that are made here, by part, with the shapes of their weights.
BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
BASE_MODULES: dict[str, dict[str, tuple[int, ...]]] = {
    "unet": {
        "conv_in": (8, 4, 3, 3),
        **{f"{BLOCK}.attn1.{last}": (8, 8) for last in ("to_q", "to_k", "to_v", "to_out.0")},
        **{f"{BLOCK}.attn2.{last}": (8, 6) for last in ("to_k", "to_v")},
    },
    "text_encoder": {
        "text_model.embeddings.token_embedding": (20, 6),
        "text_model.encoder.layers.0.self_attn.q_proj": (6, 6),
    },
    "vae": {"decoder.conv_in": (8, 4, 3, 3)},
}


def peft_shapes(rank: int = 4, side: int = 8) -> dict[str, tuple[int, ...]]:
    """Shapes of one adapted module in PEFT's naming."""
    module = f"unet.{BLOCK}.attn1.to_q"
    return {f"{module}.lora_A.weight": (rank, side), f"{module}.lora_B.weight": (side, rank)}


def write_starter(root: Path, *, slug: str = "tiny", salt: bytes = b"", loras: int = 2) -> Path:
    """Write a folder as `seed` takes it; `salt` changes the contents of its weights, not their names."""
    base = root / "base"
    write_base(base, salt=salt)
    manifest = {
        "slug": slug,
        "name": "Tiny",
        "description": "For tests.",
        "family": "sd",
        "native_px": 64,
        "latent_channels": 4,
        "default_width": 64,
        "default_height": 64,
        "max_width": 512,
        "max_height": 512,
        "default_steps": 20,
        "max_steps": 100,
        "default_guidance": 7.5,
        "default_scheduler": "ddim",
        "schedulers": ["ddim", "euler"],
        "sizing": "upscale",
        "upscaler": "upscaler.safetensors",
        "license": "Apache-2.0",
    }
    (base / "imagineo.json").write_text(json.dumps(manifest))
    (base / "upscaler.safetensors").write_bytes(b"upscaler" + salt)
    folder = root / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    listed: list[dict[str, Any]] = []
    for number in range(loras):
        (folder / f"style-{number}.safetensors").write_bytes(lora(peft_shapes(rank=number + 1), fill=salt or b"\x01"))
        listed.append({"slug": f"style-{number}", "file": f"style-{number}.safetensors", "name": f"Style {number}"})
    if listed:
        listed[-1] |= {"shared": False}
    (folder / "loras.json").write_text(json.dumps(listed))
    return root


def write_base(base: Path, *, pipeline: str = "StableDiffusionPipeline", salt: bytes = b"") -> Path:
    """Write a plain diffusers folder with a few weights; `salt` changes their numbers."""
    base.mkdir(parents=True, exist_ok=True)
    (base / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    configs: dict[str, dict[str, Any]] = {
        "unet": {"sample_size": 8},
        "vae": {"block_out_channels": [1, 1, 1, 1], "latent_channels": 4},
        "text_encoder": {},
    }
    for part, config in configs.items():
        (base / part).mkdir(exist_ok=True)
        (base / part / "config.json").write_text(json.dumps(config))
        weights = {f"{module}.weight": shape for module, shape in BASE_MODULES[part].items()}
        (base / part / "model.safetensors").write_bytes(lora(weights, fill=b"\x01" + salt))
    return base
