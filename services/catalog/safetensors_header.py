"""Reads the header of a safetensors file before anything loads it: an own parser that allocates little, trusts nothing.

Source: the format is that of safetensors' README; the limits are narrower than the library's on purpose.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, Final, NoReturn

from imagineo.errors import InvalidFile

#: The library's own limit is 100,000,000 bytes; the largest adapters known need a fifth of this.
HEADER_MAX_BYTES: Final = 1 << 20
TENSORS_MAX_COUNT: Final = 5_000
ELEMENT_BYTES: Final = {"F16": 2, "BF16": 2, "F32": 4}

_LENGTH_BYTES: Final = 8
_DIMENSIONS_MAX_COUNT: Final = 8
_NUMBER_MAX: Final = 1 << 40
_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]{1,300}")


class BadLoraFile(InvalidFile):
    """The file is not a safetensors file that this platform takes."""

    def __init__(self, why: str, **_: object) -> None:
        super().__init__(f"The LoRA file is refused: {why}.", metadata={"param": "file"})


@dataclass(frozen=True, slots=True)
class Tensor:
    """One entry of the header; `begin` and `end` are offsets into the data after it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the data."""

    tensors: tuple[Tensor, ...]
    """In the order of their bytes, which are all there is: no hole, no overlap, nothing after the last."""
    metadata: Mapping[str, str]
    data_begin: int
    """Where the data begin in the file."""


def read_header(file: IO[bytes], size_bytes: int) -> Header:
    """Parse the header of a file of `size_bytes`, and leave the file at its data.

    Raises:
        BadLoraFile: if anything in it is out of order.
    """
    prefix = file.read(_LENGTH_BYTES)
    if len(prefix) < _LENGTH_BYTES:
        refuse("it is too short to be a safetensors file")
    length = int.from_bytes(prefix, "little")
    if length > HEADER_MAX_BYTES:
        refuse(_strange(prefix))
    raw = file.read(length)
    if len(raw) < length:
        refuse("it ends inside its header")
    entries, metadata = _parse(raw)
    data_begin = _LENGTH_BYTES + length
    return Header(_tensors(entries, size_bytes - data_begin), metadata, data_begin)


def refuse(why: str) -> NoReturn:
    """Refuse the file.

    Raises:
        BadLoraFile: always.
    """
    raise BadLoraFile(why)


def _strange(prefix: bytes) -> str:
    if prefix.startswith((b"PK", b"\x80")):
        return "it is a pickle or a zip archive, not a safetensors file"
    return "its header claims more than 1 MiB, or it is not a safetensors file at all"


def _parse(raw: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    if not raw.startswith(b"{"):
        refuse("its header is not a JSON object")
    try:
        entries = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as problem:
        raise BadLoraFile(f"its header is not sound JSON ({str(problem)[:80]})") from problem
    if not isinstance(entries, dict):
        refuse("its header is not a JSON object")
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        refuse("its metadata are not texts")
    return entries, metadata


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a key appears twice")
    return entries


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _tensors(entries: dict[str, Any], data_bytes: int) -> tuple[Tensor, ...]:
    if not 1 <= len(entries) <= TENSORS_MAX_COUNT:
        refuse(f"it has {len(entries)} tensors; 1 to {TENSORS_MAX_COUNT} are taken")
    tensors = sorted((_tensor(name, entry) for name, entry in entries.items()), key=lambda tensor: tensor.begin)
    position = 0
    for tensor in tensors:
        if tensor.begin != position:
            refuse(f"'{tensor.name}' overlaps another tensor or leaves a hole")
        position = tensor.end
    if position != data_bytes:
        refuse(f"its tensors need {position} bytes, but {data_bytes} follow the header")
    return tuple(tensors)


def _tensor(name: str, entry: Any) -> Tensor:
    if _NAME.fullmatch(name) is None:
        refuse("a tensor's name has characters other than letters, digits, '_', '-' and '.', or is too long")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        refuse(f"the entry of '{name}' is not dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ELEMENT_BYTES:
        refuse(f"'{name}' is not of F16, BF16 or F32")
    if not _are_whole(shape, least=1) or len(shape) > _DIMENSIONS_MAX_COUNT:
        refuse(f"the shape of '{name}' is not up to {_DIMENSIONS_MAX_COUNT} whole numbers from 1 on")
    if not _are_whole(offsets, least=0) or len(offsets) != 2:
        refuse(f"the data_offsets of '{name}' are not two whole numbers")
    size_bytes = ELEMENT_BYTES[dtype]
    for dimension in shape:
        size_bytes *= dimension
    begin, end = offsets
    if end - begin != size_bytes:
        refuse(f"the data_offsets of '{name}' do not span its shape")
    return Tensor(name=name, dtype=dtype, shape=tuple(shape), begin=begin, end=end)


def _are_whole(numbers: Any, *, least: int) -> bool:
    return isinstance(numbers, list) and all(
        type(number) is int and least <= number <= _NUMBER_MAX for number in numbers
    )
