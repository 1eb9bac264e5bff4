"""What the catalog takes at upload the worker finds when it draws: both read the names of a LoRA's tensors the same."""

from __future__ import annotations

import pytest
from imagineo import lora_names
from imagineo.errors import LoraIncompatible
from torch import nn

from services.catalog import lora_keys
from services.worker.engine import adapter_file, adapter_names

MODULES = ("transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_out.0", "text_model.encoder.fc1", "x")
SUFFIXES = (
    ".lora_A.weight",
    ".lora_B.default.weight",
    ".lora.down.weight",
    ".lora_linear_layer.up.weight",
    ".processor.to_q_lora.down.weight",
    ".lora_down.weight",
    ".lora_up.weight",
    ".alpha",
    ".A.weight",
    ".weight",
    ".diff",
)


class Base(nn.Module):
    """A denoiser or a text encoder with a module of every name."""

    def __init__(self):
        super().__init__()
        for name in (*MODULES, "transformer_blocks.0.attn"):
            place = self
            *path, leaf = name.split(".")
            for part in path:
                if not hasattr(place, part):
                    place.add_module(part, nn.Module())
                place = getattr(place, part)
            if not hasattr(place, leaf):
                place.add_module(leaf, nn.Linear(1, 1))


def names():
    prefixes = ("", "base_model.model.", *lora_names.PARTS)
    for prefix in prefixes:
        for module in MODULES:
            flat = module.replace(".", "_") if prefix.startswith("lora_") else module
            yield from (f"{prefix}{flat}{suffix}" for suffix in SUFFIXES)


@pytest.mark.parametrize("denoiser", ["unet", "transformer"])
def test_each_name_is_the_same_part_module_and_half_to_both(denoiser):
    parts = {name: adapter_names.PartModules(Base()) for name in (denoiser, "text_encoder", "text_encoder_2")}
    found = 0
    for name in names():
        key = lora_keys.key_of(name)
        place = adapter_names.located(name, parts)
        if key is None or (part := denoiser if key.part == "denoiser" else key.part) not in parts:
            assert place is None, name
            continue
        spelled = [parts[part].find(one) for one in lora_names.spellings(key.module)]
        module = next((one for one in spelled if one), None)
        assert place == (None if module is None else (part, module, key.half)), name
        found += place is not None
    assert found > 100


def test_what_is_refused_at_the_draw_is_refused_at_the_upload():
    assert set(adapter_file._UNSUPPORTED) == set(lora_keys._KINDS)
    with pytest.raises(LoraIncompatible, match="biases"):
        lora_keys.key_of("transformer.blocks.0.to_q.lora_B.bias")
