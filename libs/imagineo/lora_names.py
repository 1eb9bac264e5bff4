"""How LoRA files name a base model's modules: read once, for the catalog that checks files and the worker that draws.

The namings are `diffusers` (`unet.….lora.down.weight`, the older `….processor.to_q_lora…`), `peft`
(`unet.….lora_A.weight`, `base_model.model.….lora_A.weight`) and `kohya` (`lora_unet_…lora_down.weight`, `.alpha`).
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

Half = Literal["down", "up", "alpha"]

#: The part of a base model that is its UNet or its transformer.
DENOISER: Final = "denoiser"
#: Parts by how their modules' names begin.
PARTS: Final = {
    "unet.": DENOISER,
    "transformer.": DENOISER,
    "lora_unet_": DENOISER,
    "lora_transformer_": DENOISER,
    "text_encoder.": "text_encoder",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
    "lora_te2_": "text_encoder_2",
    "text_encoder_3.": "text_encoder_3",
    "lora_te3_": "text_encoder_3",
}
_FACTOR: Final = re.compile(
    r"(?P<module>.+?)(?:\.|_)(?:lora_linear_layer\.|lora\.|lora_)?"
    r"(?P<half>lora_A|lora_B|A|B|down|up)(?:\.default)?\.weight"
)
_ALPHA_SUFFIX: Final = ".alpha"
_HALVES: Final[dict[str, Half]] = {"lora_A": "down", "A": "down", "down": "down", "lora_B": "up", "B": "up", "up": "up"}


@dataclass(frozen=True, slots=True)
class Key:
    """One tensor's name, taken apart."""

    part: str
    module: str
    """As the file spells it, without the prefix of its part."""
    half: Half

    @property
    def flat(self) -> str:
        """The module in kohya's spelling."""
        return self.module.replace(".", "_")


def key_of(name: str) -> Key | None:
    """Take a tensor's name apart; None where it is no part of a LoRA."""
    if name.endswith(_ALPHA_SUFFIX):
        return Key(*_placed(name.removesuffix(_ALPHA_SUFFIX)), "alpha")
    match = _FACTOR.fullmatch(name)
    return Key(*_placed(match["module"]), _HALVES[match["half"]]) if match else None


def spellings(module: str) -> list[str]:
    """The module's name as written, and as the older attention processors spell it."""
    old = module.replace(".processor.", ".")
    return [
        module,
        old,
        re.sub(r"\.to_(q|k|v)$", r".\1_proj", old),  # the older naming of text encoders
        re.sub(r"\.to_out$", ".out_proj", old),
        re.sub(r"\.to_out$", ".to_out.0", old),
    ]


class ModuleNames:
    """The modules of one part of a base model, found by their name or by kohya's spelling of it."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._flat = {name.replace(".", "_"): name for name in names}

    def find(self, name: str) -> str | None:
        """The module's name as the base model has it."""
        # Text encoders carry or drop the outer `text_model`, by the version that wrote the file.
        for candidate in (name, name.removeprefix("text_model."), f"text_model.{name}"):
            if candidate in self._names:
                return candidate
        flat = name.replace(".", "_")
        for candidate in (flat, flat.removeprefix("text_model_"), f"text_model_{flat}"):
            if candidate in self._flat:
                return self._flat[candidate]
        return None

    def find_spelled(self, module: str) -> str | None:
        """The first of a module's spellings that the base model has."""
        return next((found for one in spellings(module) if (found := self.find(one))), None)


def _placed(stem: str) -> tuple[str, str]:
    stem = stem.removeprefix("base_model.model.")
    for prefix, part in PARTS.items():
        if stem.startswith(prefix):
            return part, stem.removeprefix(prefix)
    return ("text_encoder" if stem.startswith("text_model.") else DENOISER), stem
