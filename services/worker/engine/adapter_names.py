"""Which module of a base model a key of a LoRA file names, and which half of its pair, in any of the namings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from torch import nn

_SUFFIX: Final = re.compile(
    r"(?P<module>.+?)(?:\.|_)(?:lora_linear_layer\.|lora\.|lora_)?"
    r"(?P<half>lora_A|lora_B|A|B|down|up)(?:\.default)?\.weight"
)
#: Parts by how their modules' names begin, as the catalog knows them when it checks an upload; "": the denoiser.
_PARTS: Final = {
    "unet.": "",
    "transformer.": "",
    "lora_unet_": "",
    "lora_transformer_": "",
    "text_encoder.": "text_encoder",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
    "lora_te2_": "text_encoder_2",
    "text_encoder_3.": "text_encoder_3",
    "lora_te3_": "text_encoder_3",
}
#: Part, module and half of what a key names.
KeyPlace = tuple[str, str, str]
_PLACES_KEPT: Final = 1 << 16


class ModuleNames:
    """The modules of one part of a base model, found by their name or by kohya's spelling of it."""

    def __init__(self, model: nn.Module | None) -> None:
        self.modules: dict[str, nn.Module] = {}
        self.places: dict[str, KeyPlace] = {}
        """Keys of files that were found before."""
        for name, module in model.named_modules() if model is not None else ():
            if isinstance(module, nn.Linear | nn.Conv2d):
                self.modules[name] = module
        self._flat = {name.replace(".", "_"): name for name in self.modules}

    def find(self, name: str) -> str | None:
        """The module's name as the base model has it."""
        # Text encoders carry or drop the outer `text_model`, by the version that wrote the file.
        for candidate in (name, name.removeprefix("text_model."), f"text_model.{name}"):
            if candidate in self.modules:
                return candidate
        flat = name.replace(".", "_")
        for candidate in (flat, flat.removeprefix("text_model_"), f"text_model_{flat}"):
            if candidate in self._flat:
                return self._flat[candidate]
        return None


def located(key: str, names: Mapping[str, ModuleNames]) -> KeyPlace | None:
    """As `_locate`, remembered: one trainer's files name the same tensors, and matching takes turns with the steps."""
    known = next(iter(names.values())).places
    found = known.get(key) or _locate(key, names)
    if found is not None and len(known) < _PLACES_KEPT:
        known[key] = found
    return found


def _locate(key: str, names: Mapping[str, ModuleNames]) -> KeyPlace | None:
    """Which part, module and half a key names: half is `down`, `up` or `alpha`."""
    if key.endswith(".alpha"):
        stem, half = key.removesuffix(".alpha"), "alpha"
    else:
        match = _SUFFIX.fullmatch(key)
        if match is None:
            return None
        stem = match["module"]
        half = "down" if match["half"] in {"lora_A", "A", "down"} else "up"
    part, module = _part(stem, next(iter(names)))
    if part not in names:
        return None
    for candidate in _spellings(module):
        found = names[part].find(candidate)
        if found is not None:
            return part, found, half
    return None


def _part(stem: str, denoiser: str) -> tuple[str, str]:
    """The part that a key names, and the rest of it; the denoiser where it names none."""
    stem = stem.removeprefix("base_model.model.")
    for prefix, part in _PARTS.items():
        if stem.startswith(prefix):
            return part or denoiser, stem.removeprefix(prefix)
    return ("text_encoder" if stem.startswith("text_model.") else denoiser), stem


def _spellings(module: str) -> list[str]:
    """The module's name as written, and as the older attention processors spell it."""
    old = module.replace(".processor.", ".")
    renamed = [
        re.sub(r"\.to_(q|k|v)$", r".\1_proj", old),  # the older naming of text encoders
        re.sub(r"\.to_out$", ".out_proj", old),
        re.sub(r"\.to_out$", ".to_out.0", old),
    ]
    return [module, old, *renamed]
