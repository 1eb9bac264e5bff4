"""A file in any naming, for the denoiser and for the text encoder, adds what peft's own layers add, in both."""

from __future__ import annotations

import copy
import json
import warnings

import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file

from services.worker.engine.adapter_memory import AdapterMemory
from services.worker.engine.adapters import AdapterStore
from tests.support.tiny_models import tiny_base

TARGETS = {
    "unet": ["to_q", "to_k", "to_out.0", "proj_in", "conv1", "downsamplers.0.conv"],
    "text_encoder": ["q_proj", "out_proj", "fc1"],
}
RANKS = {"unet": {"to_q": 2, "conv1": 9}, "text_encoder": {"fc1": 12}}
ALPHAS = {"unet": {"to_k": 9, "conv1": 2}, "text_encoder": {"q_proj": 1}}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    with warnings.catch_warnings(action="ignore"):
        directory = tiny_base(tmp_path_factory.mktemp("tiny"))
        return StableDiffusionPipeline.from_pretrained(directory, safety_checker=None, local_files_only=True)


@pytest.fixture(scope="module")
def store(pipeline):
    parts = {"unet": pipeline.unet, "text_encoder": pipeline.text_encoder}
    return AdapterStore(parts, memory=AdapterMemory(torch.device("cpu"), 1 << 20), dtype=torch.float32)


def trained(pipeline, settings_of):
    """The layers that peft made, by part and module, every matrix drawn at random."""
    draw = torch.Generator().manual_seed(1)
    made, configs = {}, {}
    for part, targets in TARGETS.items():
        model = copy.deepcopy(getattr(pipeline, part))
        configs[part] = LoraConfig(r=4, target_modules=targets, **settings_of(part))
        inject_adapter_in_model(configs[part], model)
        made[part] = {name: one for name, one in model.named_modules() if isinstance(one, LoraLayer)}
        for layer in made[part].values():
            for half in (layer.lora_A, layer.lora_B):
                half["default"].weight.data.normal_(generator=draw)
    return made, configs


def deltas_of(part):
    layout = part.layout
    downs, ups = layout.downs(part.down[None]), layout.ups(part.up[None])
    return {place.module: ups[i][0].T @ downs[i][0] for i, place in enumerate(layout.places)}


def assert_same(adapter, made):
    for part, layers in made.items():
        ours = deltas_of(adapter.parts[part])
        assert len(ours) == len(layers)
        for name, layer in layers.items():
            delta = layer.get_delta_weight("default").flatten(1)
            torch.testing.assert_close(ours[name], delta, atol=1e-5, rtol=1e-5, msg=f"{part} {name}")
    assert adapter.ignored_keys == 0


def matrices(layer):
    return layer.lora_A["default"].weight.data.clone(), layer.lora_B["default"].weight.data.clone()


def test_diffusers_naming(pipeline, store, tmp_path):
    made, _ = trained(pipeline, lambda _: {"lora_alpha": 4})
    tensors = {}
    for part, layers in made.items():
        half = "lora" if part == "unet" else "lora_linear_layer"
        for name, layer in layers.items():
            down, up = matrices(layer)
            tensors[f"{part}.{name}.{half}.down.weight"], tensors[f"{part}.{name}.{half}.up.weight"] = down, up
    save_file(tensors, tmp_path / "l.safetensors")
    assert_same(store.read(tmp_path / "l.safetensors"), made)


def test_kohyas_naming_with_alphas_and_a_rank_for_each_module(pipeline, store, tmp_path):
    made, _ = trained(
        pipeline, lambda part: {"lora_alpha": 3, "rank_pattern": RANKS[part], "alpha_pattern": ALPHAS[part]}
    )
    tensors = {}
    for part, prefix in {"unet": "lora_unet", "text_encoder": "lora_te"}.items():
        for name, layer in made[part].items():
            stem = f"{prefix}_{name.replace('.', '_')}"
            tensors[f"{stem}.lora_down.weight"], tensors[f"{stem}.lora_up.weight"] = matrices(layer)
            tensors[f"{stem}.alpha"] = torch.tensor(float(layer.lora_alpha["default"]))
    save_file(tensors, tmp_path / "l.safetensors")
    assert_same(store.read(tmp_path / "l.safetensors"), made)


@pytest.mark.parametrize("stabilized", [False, True])
def test_pefts_naming_with_patterns_of_ranks_and_alphas(pipeline, store, tmp_path, stabilized):
    made, configs = trained(
        pipeline,
        lambda part: {
            "lora_alpha": 5,
            "use_rslora": stabilized,
            "rank_pattern": RANKS[part],
            "alpha_pattern": ALPHAS[part],
        },
    )
    tensors, settings = {}, {}
    for part, layers in made.items():
        for name, layer in layers.items():
            tensors[f"{part}.{name}.lora_A.weight"], tensors[f"{part}.{name}.lora_B.weight"] = matrices(layer)
        known = configs[part].to_dict().items()
        settings |= {f"{part}.{key}": value for key, value in known if not isinstance(value, set)}
    save_file(tensors, tmp_path / "l.safetensors", {"lora_adapter_metadata": json.dumps(settings, default=str)})
    assert_same(store.read(tmp_path / "l.safetensors"), made)
