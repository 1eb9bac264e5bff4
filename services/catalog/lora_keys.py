"""What the names of a LoRA's tensors say: which part of a base model, which module, which of its matrices. Pure.

It reads the namings as the worker does: `diffusers` (`unet.….lora.down.weight`, the older `….processor.to_q_lora…`),
`peft` (`unet.….lora_A.weight`, `base_model.model.….lora_A.weight`), `kohya` (`lora_unet_…lora_down.weight`, `.alpha`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from imagineo.errors import LoraIncompatible

Naming = Literal["diffusers", "peft", "kohya"]
Half = Literal["down", "up", "alpha"]

_FACTOR: Final = re.compile(
    r"(?P<module>.+?)(?:\.|_)(?:lora_linear_layer\.|lora\.|lora_)?"
    r"(?P<half>lora_A|lora_B|A|B|down|up)(?:\.default)?\.weight"
)
_ALPHA_SUFFIX: Final = ".alpha"
_HALVES: Final[dict[str, Half]] = {"lora_A": "down", "A": "down", "down": "down", "lora_B": "up", "B": "up", "up": "up"}
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
_PARTS: Final = {
    "unet.": "denoiser",
    "transformer.": "denoiser",
    "lora_unet_": "denoiser",
    "lora_transformer_": "denoiser",
    "text_encoder.": "text_encoder",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
    "lora_te2_": "text_encoder_2",
    "text_encoder_3.": "text_encoder_3",
    "lora_te3_": "text_encoder_3",
}
_KOHYA_TARGET: Final = re.compile(
    r"(?:to_[qkv]|to_out_0|[qkv]_proj|out_proj|proj_(?:in|out|mlp)|ff_net_0_proj|ff_net_2|fc[12]"
    r"|conv\d?|conv_shortcut|time_emb_proj|linear\d?)$"
)


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
    """Take a name apart; None where it is no part of a LoRA.

    Raises:
        LoraIncompatible: if it belongs to a kind of adapter that is not served.
    """
    for word, kind in _KINDS.items():
        if word in name:
            raise misfit(f"it is a {kind} (its tensor '{name[:100]}'), a kind that is not served; plain LoRA is")
    if name.endswith(_ALPHA_SUFFIX):
        return Key(*_placed(name.removesuffix(_ALPHA_SUFFIX)), "alpha")
    match = _FACTOR.fullmatch(name)
    return Key(*_placed(match["module"]), _HALVES[match["half"]]) if match else None


def naming_of(names: Iterable[str]) -> Naming:
    """Which of the namings a file mostly follows."""
    counts: dict[Naming, int] = {"kohya": 0, "peft": 0, "diffusers": 0}
    for name in names:
        if name.startswith("lora_"):
            counts["kohya"] += 1
        else:
            counts["peft" if ".lora_A." in name or ".lora_B." in name else "diffusers"] += 1
    return max(counts, key=lambda naming: counts[naming])


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


def _placed(stem: str) -> tuple[str, str]:
    stem = stem.removeprefix("base_model.model.")
    for prefix, part in _PARTS.items():
        if stem.startswith(prefix):
            return part, stem.removeprefix(prefix)
    return ("text_encoder" if stem.startswith("text_model.") else "denoiser"), stem
