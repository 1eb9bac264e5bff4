"""First names of modules, against the conversions of the stock library that workers use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.models.transformers import FluxTransformer2DModel
from imagineo.errors import LoraIncompatible
from safetensors.torch import save_file
from torch import nn

from services.catalog import lora_file
from services.catalog.base_modules import BaseModules
from services.catalog.original_names import original_shapes


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(module.weight.shape)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    with torch.device("meta"):
        return UNet2DConditionModel(
            block_out_channels=(8, 16, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=2,
            norm_num_groups=4,
            attention_head_dim=(2, 4, 4),
            cross_attention_dim=12,
            use_linear_projection=True,
            transformer_layers_per_block=(1, 1, 2),
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=28,
        )


@pytest.fixture(scope="module")
def transformer() -> FluxTransformer2DModel:
    with torch.device("meta"):
        return FluxTransformer2DModel(
            in_channels=4,
            num_layers=2,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=12,
            pooled_projection_dim=8,
            axes_dims_rope=(2, 2, 4),
        )


def kohya(name: str, shape: tuple[int, ...], rank: int = 4) -> dict[str, torch.Tensor]:
    ones = (1,) * (len(shape) - 2)
    return {
        f"lora_unet_{name}.lora_down.weight": torch.ones(rank, *shape[1:]),
        f"lora_unet_{name}.lora_up.weight": torch.ones(shape[0], rank, *ones),
        f"lora_unet_{name}.alpha": torch.tensor(2.0),
    }


def test_each_first_name_of_the_xls_unet_is_converted_to_a_module_of_that_shape(unet: UNet2DConditionModel):
    shapes = shapes_of(unet)
    names = original_shapes(shapes)
    assert len(names) == sum(name.startswith(("down_blocks", "mid_block", "up_blocks")) for name in shapes)
    tensors = {key: tensor for name, shape in names.items() for key, tensor in kohya(name, shape).items()}
    converted, _ = StableDiffusionXLPipeline.lora_state_dict(tensors, unet_config=unet.config)
    found = {}
    for key, tensor in converted.items():
        if ".up." in key:
            module = key.removeprefix("unet.").replace(".processor.", ".")
            for left in ("_lora.up.weight", ".lora.up.weight"):
                module = module.removesuffix(left)
            module = module.removesuffix(".0").replace("attn1.to_out", "attn1.to_out.0")
            found[module.replace("attn2.to_out", "attn2.to_out.0")] = tensor.shape[0]
    blocks = {name: shape for name, shape in shapes.items() if name.startswith(("down_", "mid_", "up_"))}
    assert {name.removesuffix(".0") for name in blocks} == {name.removesuffix(".0") for name in found}
    for name, shape in blocks.items():
        assert found.get(name, found.get(name.removesuffix(".0"))) == shape[0]


def test_each_first_name_of_flux_is_converted_to_modules_of_that_shape(transformer: FluxTransformer2DModel):
    shapes = shapes_of(transformer)
    names = original_shapes(shapes)
    # The conversion knows the widths of the published model alone where a single block joins unequal ones.
    equal = {name: shape for name, shape in names.items() if not name.endswith("linear1")}
    assert len(names) - len(equal) == 1
    tensors = {key: tensor for name, shape in equal.items() for key, tensor in kohya(name, shape).items()}
    converted = FluxPipeline.lora_state_dict(tensors)
    found = {
        key.removeprefix("transformer.").removesuffix(".lora_B.weight"): tensor.shape[0]
        for key, tensor in converted.items()
        if "lora_B" in key
    }
    assert found == {name: shapes[name][0] for name in found}
    single = {"attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"}
    joined = {f"single_transformer_blocks.0.{module}" for module in single}
    assert {name for name in shapes if "transformer_blocks." in name} - joined == set(found)
    assert names["single_blocks_0_linear1"] == (sum(shapes[name][0] for name in joined), 16)


def test_a_file_of_first_names_is_held_against_the_base_model(unet: UNet2DConditionModel, tmp_path: Path):
    base = BaseModules("XL", {"denoiser": shapes_of(unet)})
    path = tmp_path / "a.safetensors"
    save_file(kohya("input_blocks_4_1_transformer_blocks_0_attn2_to_k", (16, 12)), path)
    assert lora_file.inspect(path, base).matched_keys == 3
    save_file(kohya("input_blocks_4_1_transformer_blocks_0_attn2_to_k", (16, 13)), path)
    with pytest.raises(LoraIncompatible, match="takes"):
        lora_file.inspect(path, base)
    save_file(kohya("input_blocks_9_1_transformer_blocks_0_attn2_to_k", (16, 12)), path)
    with pytest.raises(LoraIncompatible, match=r"nothing|none"):
        lora_file.inspect(path, base)


def test_a_unet_of_stable_diffusion_1_has_no_first_names_in_use():
    assert original_shapes({"down_blocks.0.resnets.0.conv1": (8, 8, 3, 3)}) == {}
