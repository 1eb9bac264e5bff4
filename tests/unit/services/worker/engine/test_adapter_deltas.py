"""What a LoRA file adds to each layer is what peft's own layers add, in every naming and with every setting."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file

from services.worker.engine.adapter_memory import AdapterMemory
from services.worker.engine.adapters import AdapterStore
from services.worker.engine.failures import AdapterIncompatible
from services.worker.engine.lora_layers import RANK_BUCKETS
from tests.support.tiny_models import lora_file, tiny_base

TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "ff.net.0.proj", "conv1", "downsamplers.0.conv", "conv_in"]
SETTINGS = {
    "plain": {},
    "alpha": {"lora_alpha": 3},
    "rank pattern": {"rank_pattern": {"to_q": 2, "mid_block.attentions.0.transformer_blocks.0.attn1.to_k": 12}},
    "alpha pattern": {"lora_alpha": 4, "alpha_pattern": {"to_v": 9, "conv1": 2}},
    "rank-stabilised": {"lora_alpha": 4, "use_rslora": True},
    "all": {"lora_alpha": 5, "use_rslora": True, "rank_pattern": {"to_k": 9}, "alpha_pattern": {"to_k": 2}},
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    with warnings.catch_warnings(action="ignore"):
        return tiny_base(tmp_path_factory.mktemp("tiny"))


def pipeline(directory):
    with warnings.catch_warnings(action="ignore"):
        return StableDiffusionPipeline.from_pretrained(directory, safety_checker=None, local_files_only=True)


@pytest.fixture
def store(directory):
    parts = pipeline(directory)
    modules = {"unet": parts.unet, "text_encoder": parts.text_encoder}
    return AdapterStore(modules, memory=AdapterMemory(torch.device("cpu"), 1 << 20), dtype=torch.float32)


def trained(directory, settings):
    """A UNet with peft's layers, every matrix drawn at random."""
    unet = pipeline(directory).unet
    config = LoraConfig(r=4, target_modules=TARGETS, **{"lora_alpha": 4, **settings})
    inject_adapter_in_model(config, unet)
    draw = torch.Generator().manual_seed(1)
    for name, weight in unet.named_parameters():
        if "lora_" in name:
            weight.data.normal_(generator=draw)
    return unet, config


def test_a_layout_is_shared_by_files_that_have_it_and_gone_with_the_last(store, tmp_path):
    paths = [lora_file(tmp_path / f"{name}.safetensors", seed=index, rank=4) for index, name in enumerate("ab")]
    adapters = [store.read(path) for path in paths]
    first, second = (adapter.parts["unet"].layout for adapter in adapters)
    assert first is second
    assert list(store._layouts.values()) == [first]
    del adapters, first, second
    assert not store._layouts


def deltas_of_peft(unet):
    return {
        name: module.get_delta_weight("default")
        for name, module in unet.named_modules()
        if isinstance(module, LoraLayer)
    }


def deltas_of(part):
    """Delta weights (outputs, inputs) by module."""
    layout = part.layout
    downs, ups = layout.downs(part.down[None]), layout.ups(part.up[None])
    return {place.module: ups[i][0].T @ downs[i][0] for i, place in enumerate(layout.places)}


def assert_same(ours, peft):
    assert ours.keys() == peft.keys()
    for name, delta in peft.items():
        torch.testing.assert_close(ours[name], delta.flatten(1), atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_file_with_its_settings_adds_what_peft_adds(directory, store, tmp_path, settings):
    unet, config = trained(directory, settings)
    tensors = {f"unet.{key}": tensor for key, tensor in get_peft_model_state_dict(unet).items()}
    written = {f"unet.{key}": value for key, value in config.to_dict().items() if not isinstance(value, set)}
    save_file(tensors, tmp_path / "l.safetensors", {"lora_adapter_metadata": json.dumps(written, default=str)})
    adapter = store.read(tmp_path / "l.safetensors")
    assert_same(deltas_of(adapter.parts["unet"]), deltas_of_peft(unet))
    assert (adapter.matched_keys, adapter.ignored_keys) == (len(tensors), 0)


@pytest.mark.parametrize("settings", [SETTINGS["plain"], SETTINGS["rank pattern"], SETTINGS["alpha pattern"]])
def test_kohyas_naming_with_alphas_adds_what_peft_adds(directory, store, tmp_path, settings):
    unet, _ = trained(directory, settings)
    tensors = {}
    for name, module in unet.named_modules():
        if isinstance(module, LoraLayer):
            stem = "lora_unet_" + name.replace(".", "_")
            tensors[f"{stem}.lora_down.weight"] = module.lora_A["default"].weight.data.clone()
            tensors[f"{stem}.lora_up.weight"] = module.lora_B["default"].weight.data.clone()
            tensors[f"{stem}.alpha"] = torch.tensor(float(module.lora_alpha["default"]))
    save_file(tensors, tmp_path / "l.safetensors")
    assert_same(deltas_of(store.read(tmp_path / "l.safetensors").parts["unet"]), deltas_of_peft(unet))


def test_without_an_alpha_the_matrices_are_taken_as_they_are(directory, store, tmp_path):
    unet, _ = trained(directory, {"lora_alpha": 4})
    tensors = {f"unet.{key}": tensor for key, tensor in get_peft_model_state_dict(unet).items()}
    save_file(tensors, tmp_path / "l.safetensors")
    assert_same(deltas_of(store.read(tmp_path / "l.safetensors").parts["unet"]), deltas_of_peft(unet))


MODULE = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"


def pair(rank=4, value=1.0, inputs=32):
    return {
        f"{MODULE}.lora_A.weight": torch.full((rank, inputs), value),
        f"{MODULE}.lora_B.weight": torch.full((32, rank), value),
    }


BAD = {
    "dora": pair() | {f"{MODULE}.lora_magnitude_vector": torch.ones(32)},
    "kohya's dora": pair() | {f"{MODULE}.dora_scale": torch.ones(32)},
    "loha": {"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q.hada_w1_a": torch.ones(32, 4)},
    "lokr": {"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q.lokr_w1": torch.ones(4, 4)},
    "oft": {"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q.oft_blocks": torch.ones(4, 4)},
    "a rank beyond the largest": pair(RANK_BUCKETS[-1] + 1),
    "nan": pair(value=float("nan")),
    "inf": pair(value=float("inf")),
    "another base's width": pair(inputs=48),
    "another base's layers": {key.replace("mid_block", "joint_blocks"): tensor for key, tensor in pair().items()},
    "whole numbers": {key: tensor.to(torch.int8) for key, tensor in pair().items()},
    "half a pair": dict(list(pair().items())[:1]),
    "nothing": {},
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_not_a_lora_of_this_base_is_refused(store, tmp_path, kind):
    save_file(BAD[kind], tmp_path / "bad.safetensors")
    with pytest.raises(AdapterIncompatible):
        store.read(tmp_path / "bad.safetensors")


def test_the_largest_rank_is_taken(store, tmp_path):
    save_file(pair(RANK_BUCKETS[-1], 0.1), tmp_path / "l.safetensors")
    (delta,) = deltas_of(store.read(tmp_path / "l.safetensors").parts["unet"]).values()
    torch.testing.assert_close(delta, torch.full((32, 32), RANK_BUCKETS[-1] * 0.01), atol=1e-4, rtol=1e-4)
