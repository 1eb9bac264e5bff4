"""Which module of a base model a key of a LoRA file names, and which half of its pair, in any of the namings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from imagineo.lora_names import DENOISER, ModuleNames, key_of
from torch import nn

#: Part, module and half of what a key names.
KeyPlace = tuple[str, str, str]
_PLACES_KEPT: Final = 1 << 16


class PartModules(ModuleNames):
    """The modules of one part that a LoRA may stand on."""

    def __init__(self, model: nn.Module | None) -> None:
        self.modules: dict[str, nn.Module] = {
            name: module
            for name, module in (model.named_modules() if model is not None else ())
            if isinstance(module, nn.Linear | nn.Conv2d)
        }
        self.places: dict[str, KeyPlace] = {}
        """Keys of files that were found before."""
        super().__init__(self.modules)


def located(key: str, names: Mapping[str, PartModules]) -> KeyPlace | None:
    """As `_locate`, remembered: one trainer's files name the same tensors, and matching takes turns with the steps."""
    known = next(iter(names.values())).places
    found = known.get(key) or _locate(key, names)
    if found is not None and len(known) < _PLACES_KEPT:
        known[key] = found
    return found


def _locate(key: str, names: Mapping[str, PartModules]) -> KeyPlace | None:
    """Which part, module and half a key names: half is `down`, `up` or `alpha`."""
    apart = key_of(key)
    if apart is None:
        return None
    part = next(iter(names)) if apart.part == DENOISER else apart.part
    found = names[part].find_spelled(apart.module) if part in names else None
    return None if found is None else (part, found, apart.half)
