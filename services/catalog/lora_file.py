"""Judges a LoRA's file against its base model, before anything loads it: format, names, shapes, and every number.

The format is `safetensors_header.py`'s, the names and shapes are `lora_keys.py`'s and `lora_match.py`'s.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from services.catalog.base_modules import BaseModules
from services.catalog.lora_keys import Naming, misfit, naming_of
from services.catalog.lora_match import Match, match
from services.catalog.safetensors_header import ELEMENT_BYTES, BadLoraFile, Header, Tensor, read_header, refuse

#: The most bytes of a file; the settings of catalog and gateway may say less.
FILE_MAX_BYTES: Final = 512 << 20

_CHUNK_BYTES: Final = 4 << 20  # a multiple of every element's size
_ALPHA_MAX: Final = 65_504.0
#: What peft trained with, as diffusers writes it down: a JSON object of dotted names.
_SETTINGS_KEY: Final = "lora_adapter_metadata"
_PATTERNS_MAX_COUNT: Final = 1_000
#: peft takes these names as regular expressions; ones that repeat nothing cost nothing.
_PATTERN: Final = re.compile(r"\^?(?:[A-Za-z0-9_-]|\\?\.){1,300}")

# The bytes that hold the sign and the top of the exponent of a number that is finite and reasonable. For F16 they tell
# exactly; for BF16 and F32 they also leave out magnitudes from 1.7e38 on, which no adapter holds.
_FINE_HIGH_BYTES: Final = {
    "F16": bytes(byte for byte in range(256) if byte & 0x7C != 0x7C),
    "BF16": bytes(byte for byte in range(256) if byte & 0x7F != 0x7F),
    "F32": bytes(byte for byte in range(256) if byte & 0x7F != 0x7F),
}

__all__ = ["FILE_MAX_BYTES", "BadLoraFile", "LoraFacts", "inspect"]


@dataclass(frozen=True, slots=True)
class LoraFacts:
    """What the file holds, and what of it reaches the base model."""

    naming: Naming
    family: str
    """What it seems to be made for; empty where nothing tells."""
    ranks: tuple[int, ...]
    """Of its modules, each once, ascending."""
    alphas: tuple[float, ...]
    """Of its modules, each once, ascending; empty where the file tells none."""
    target_modules: tuple[str, ...]
    """The last parts of the adapted modules' names, sorted, such as `to_k`."""
    matched_keys: int
    ignored_keys: int

    @property
    def rank(self) -> int:
        """The largest rank of its modules."""
        return self.ranks[-1]


def inspect(path: Path, base: BaseModules, *, limit_bytes: int = FILE_MAX_BYTES) -> LoraFacts:
    """Judge a file; reads all of it in chunks, so call it in a thread.

    Raises:
        BadLoraFile: if the file breaks the format or a limit, or holds NaN or infinity.
        LoraIncompatible: if it is sound but not a LoRA of the base model.
    """
    size_bytes = path.stat().st_size
    if size_bytes > limit_bytes:
        refuse(f"it is larger than {limit_bytes} bytes")
    with path.open("rb") as file:
        header = read_header(file, size_bytes)
        trained = _trained_alphas(header.metadata)
        found = match(header.tensors, base)
        _require_finite(file, header.tensors)
        return LoraFacts(
            naming=naming_of(tensor.name for tensor in header.tensors),
            family=found.family,
            ranks=found.ranks,
            alphas=tuple(sorted({*trained, *_alphas(file, header, found)})),
            target_modules=found.target_modules,
            matched_keys=found.matched_keys,
            ignored_keys=found.ignored_keys,
        )


def _require_finite(file: IO[bytes], tensors: Sequence[Tensor]) -> None:
    for tensor in tensors:
        step = ELEMENT_BYTES[tensor.dtype]
        for chunk in _chunks(file, tensor.end - tensor.begin):
            if chunk[step - 1 :: step].translate(None, _FINE_HIGH_BYTES[tensor.dtype]):
                refuse(f"'{tensor.name}' holds NaN, infinity or an absurd number")


def _chunks(file: IO[bytes], count: int) -> Iterator[bytes]:
    while count:
        chunk = file.read(min(count, _CHUNK_BYTES))
        if not chunk:
            refuse("it was cut short while it was read")
        count -= len(chunk)
        yield chunk


def _alphas(file: IO[bytes], header: Header, found: Match) -> Iterator[float]:
    for tensor in found.alphas:
        file.seek(header.data_begin + tensor.begin)
        alpha = _number(tensor.dtype, file.read(tensor.end - tensor.begin))
        if abs(alpha) > _ALPHA_MAX:
            raise misfit(f"the alpha {alpha:g} of '{tensor.name}' is beyond {_ALPHA_MAX:g}")
        yield alpha


def _number(dtype: str, raw: bytes) -> float:
    if dtype == "BF16":  # the upper half of an F32
        dtype, raw = "F32", b"\0\0" + raw
    number: float = struct.unpack("<e" if dtype == "F16" else "<f", raw)[0]
    return number


def _trained_alphas(metadata: Mapping[str, str]) -> set[float]:
    """The alphas that the file's own settings tell; of the rest of them only what makes it no plain LoRA counts."""
    written = metadata.get(_SETTINGS_KEY)
    if written is None:
        return set()
    try:
        settings: Any = json.loads(written)
    except (ValueError, RecursionError) as problem:
        raise BadLoraFile(f"its metadata '{_SETTINGS_KEY}' are not sound JSON") from problem
    if not isinstance(settings, dict):
        refuse(f"its metadata '{_SETTINGS_KEY}' are not a JSON object")
    alphas: set[float] = set()
    for name, value in settings.items():
        last = name.rpartition(".")[2]
        if last == "alpha_pattern":
            alphas |= _pattern_alphas(name, value)
        if last == "use_dora" and value:
            raise misfit("it is a DoRA, a kind that is not served; plain LoRA is")
        if last == "lora_alpha":
            alphas.add(_alpha(name, value))
    return alphas


def _pattern_alphas(name: str, patterns: Any) -> set[float]:
    if patterns is None:
        return set()
    if (
        not isinstance(patterns, dict)
        or len(patterns) > _PATTERNS_MAX_COUNT
        or not all(map(_PATTERN.fullmatch, patterns))
    ):
        refuse(f"its metadata '{name[:100]}' are not at most {_PATTERNS_MAX_COUNT} alphas by module names")
    return {_alpha(name, value) for value in patterns.values()}


def _alpha(name: str, value: Any) -> float:
    if type(value) not in {int, float} or not abs(value) <= _ALPHA_MAX:
        refuse(f"its metadata '{name[:100]}' hold what is no number up to {_ALPHA_MAX:g}")
    return float(value)
