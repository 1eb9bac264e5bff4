"""What the modules of a base model are called in its first release, as trainers name them in LoRA files. Pure.

Stable Diffusion XL numbers the blocks of its UNet through; Flux joins projections that diffusers holds apart. Workers
bring both to the names of diffusers; here they are held against the base model's shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

Shape = tuple[int, ...]

_OF_RESNET: Final = {
    "conv1": "in_layers_2",
    "conv2": "out_layers_3",
    "time_emb_proj": "emb_layers_1",
    "conv_shortcut": "skip_connection",
}
_BLOCK: Final = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_MIDDLE: Final = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")
#: Only Stable Diffusion XL's UNet has it.
_XL_MARK: Final = "add_embedding.linear_1"
_JOINED: Final = {
    "transformer_blocks": {
        "img_attn_qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
        "img_attn_proj": ("attn.to_out.0",),
        "img_mlp_0": ("ff.net.0.proj",),
        "img_mlp_2": ("ff.net.2",),
        "img_mod_lin": ("norm1.linear",),
        "txt_attn_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
        "txt_attn_proj": ("attn.to_add_out",),
        "txt_mlp_0": ("ff_context.net.0.proj",),
        "txt_mlp_2": ("ff_context.net.2",),
        "txt_mod_lin": ("norm1_context.linear",),
    },
    "single_transformer_blocks": {
        "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
        "linear2": ("proj_out",),
        "modulation_lin": ("norm.linear",),
    },
}


def original_shapes(denoiser: Mapping[str, Shape]) -> dict[str, Shape]:
    """The denoiser's weights by their first names in kohya's spelling; none where those are not in use."""
    if any(name.startswith("single_transformer_blocks.") for name in denoiser):
        return dict(_of_flux(denoiser))
    if _XL_MARK in denoiser:
        return dict(_of_xl(denoiser))
    return {}


def _of_flux(denoiser: Mapping[str, Shape]) -> Iterator[tuple[str, Shape]]:
    for blocks, joined in _JOINED.items():
        numbers = {int(name.split(".")[1]) for name in denoiser if name.startswith(f"{blocks}.")}
        first_name = "double_blocks" if blocks == "transformer_blocks" else "single_blocks"
        for number in numbers:
            for original, modules in joined.items():
                shapes = [denoiser.get(f"{blocks}.{number}.{module}") for module in modules]
                known = [shape for shape in shapes if shape is not None]
                if len(known) == len(shapes):
                    outputs = sum(shape[0] for shape in known)
                    yield f"{first_name}_{number}_{original}", (outputs, *known[0][1:])


def _of_xl(denoiser: Mapping[str, Shape]) -> Iterator[tuple[str, Shape]]:
    layers = len({name.split(".")[3] for name in denoiser if name.startswith("down_blocks.0.resnets.")})
    with_attention = {name.split(".")[1] for name in denoiser if re.match(r"up_blocks\.\d+\.attentions\.", name)}
    for name, shape in denoiser.items():
        if (middle := _MIDDLE.fullmatch(name)) is not None:
            place = 1 if middle[1] == "attentions" else 2 * int(middle[2])
            yield f"middle_block_{place}_{_inner(middle[1], middle[3])}", shape
        elif (found := _BLOCK.fullmatch(name)) is not None:
            half, block, kind, layer, inner = found[1], int(found[2]), found[3], int(found[4]), found[5]
            if kind == "downsamplers":
                yield f"input_blocks_{(block + 1) * (layers + 1)}_0_op", shape
            elif kind == "upsamplers":
                inside = 2 if found[2] in with_attention else 1
                yield f"output_blocks_{block * (layers + 1) + layers}_{inside}_{inner}", shape
            else:
                start = 1 if half == "down" else 0
                blocks = "input_blocks" if half == "down" else "output_blocks"
                inside = 1 if kind == "attentions" else 0
                number = start + block * (layers + 1) + layer
                yield f"{blocks}_{number}_{inside}_{_inner(kind, inner)}", shape


def _inner(kind: str, inner: str) -> str:
    return _OF_RESNET.get(inner, inner) if kind == "resnets" else inner.replace(".", "_")
