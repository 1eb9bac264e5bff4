"""What the names of a LoRA's tensors say of the file: its naming, its targets, and whether its kind is served.

Names are taken apart by `imagineo.lora_names`, as the worker does. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

from imagineo import lora_names
from imagineo.errors import LoraIncompatible
from imagineo.lora_names import Key

Naming = Literal["diffusers", "peft", "kohya"]

#: The kinds of adapters that are not served, by what names their tensors.
_KINDS: Final = {
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "lora_mid": "LoCon with a core matrix",
    "oft_": "OFT",
    "lora_B.bias": "LoRA with biases",
}
_KOHYA_TARGET: Final = re.compile(
    r"(?:to_[qkv]|to_out_0|[qkv]_proj|out_proj|proj_(?:in|out|mlp)|ff_net_0_proj|ff_net_2|fc[12]"
    r"|conv\d?|conv_shortcut|time_emb_proj|linear\d?)$"
)


def key_of(name: str) -> Key | None:
    """Take a name apart; None where it is no part of a LoRA.

    Raises:
        LoraIncompatible: if it belongs to a kind of adapter that is not served.
    """
    for word, kind in _KINDS.items():
        if word in name:
            raise misfit(f"it is a {kind} (its tensor '{name[:100]}'), a kind that is not served; plain LoRA is")
    return lora_names.key_of(name)


def naming_of(names: Iterable[str]) -> Naming:
    """Which of the namings a file mostly follows."""
    counts: dict[Naming, int] = {"kohya": 0, "peft": 0, "diffusers": 0}
    for name in names:
        if name.startswith("lora_"):
            counts["kohya"] += 1
        else:
            counts["peft" if ".lora_A." in name or ".lora_B." in name else "diffusers"] += 1
    return max(counts, key=lambda naming: counts[naming])


def target_of(module: str) -> str:
    """The last part of a module's name, such as `to_k` or `to_out.0`."""
    if "." not in module:
        match = _KOHYA_TARGET.search(module)
        return match[0] if match else module
    head, _, last = module.rpartition(".")
    return f"{head.rpartition('.')[2]}.{last}" if last.isdecimal() else last


def misfit(why: str) -> LoraIncompatible:
    """The refusal of a sound file that is no LoRA of ours, or of another base model."""
    return LoraIncompatible(f"The LoRA file is refused: {why}.", metadata={"param": "file"})
