"""Judges a LoRA's safetensors file before anything loads it: an own parser that allocates little and trusts nothing.

It tells the key naming, the rank and the modules; it says nothing of whether a base model has those modules.
Source: the format is that of safetensors' README; the limits are narrower than the library's on purpose.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Literal, NoReturn

from imagineo.errors import InvalidParameter, LoraIncompatible

FILE_MAX_BYTES: Final = 512 << 20
HEADER_MAX_BYTES: Final = 1 << 20
TENSORS_MAX_COUNT: Final = 5_000
RANK_MAX: Final = 256

_LENGTH_BYTES: Final = 8
_DIMENSIONS_MAX_COUNT: Final = 8
_METADATA_MAX_CHARACTERS: Final = 65_536
_CHUNK_BYTES: Final = 4 << 20  # a multiple of every element's size
_ELEMENT_BYTES: Final = {"F16": 2, "BF16": 2, "F32": 4}
_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]{1,300}")
_FACTOR: Final = re.compile(
    r"(?P<module>.+?)[._]lora[._](?:linear_layer\.)?(?P<side>A|B|down|up)(?:\.[A-Za-z0-9_]+)?\.weight"
)
_ALPHA: Final = re.compile(r"(?P<module>.+)\.alpha")
_KOHYA_TARGET: Final = re.compile(
    r"(?:to_[qkv]|to_out_0|[qkv]_proj|out_proj|proj_(?:in|out|mlp)|ff_net_0_proj|ff_net_2|fc[12]"
    r"|conv\d?|conv_shortcut|time_emb_proj|linear\d?)$"
)

# The bytes that hold the sign and the top of the exponent of a number that is finite and reasonable. For F16 they tell
# exactly; for BF16 and F32 they also leave out magnitudes from 1.7e38 on, which no adapter holds.
_FINE_HIGH_BYTES: Final = {
    "F16": bytes(byte for byte in range(256) if byte & 0x7C != 0x7C),
    "BF16": bytes(byte for byte in range(256) if byte & 0x7F != 0x7F),
    "F32": bytes(byte for byte in range(256) if byte & 0x7F != 0x7F),
}

Naming = Literal["diffusers", "peft", "kohya"]
_KOHYA_START: Final = "lora_"
_STARTS: Final = (
    *("base_model.model.", "unet.", "transformer.", "text_encoder.", "text_encoder_2."),
    *("down_blocks.", "mid_block.", "up_blocks."),
)


class BadLoraFile(InvalidParameter):
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
class LoraFacts:
    """What the file holds."""

    naming: Naming
    rank: int
    """The largest rank of its modules."""
    target_modules: tuple[str, ...]
    """The last parts of the adapted modules' names, sorted, such as `to_k`."""
    modules_count: int


def inspect(path: Path) -> LoraFacts:
    """Judge a file; reads all of it in chunks, so call it in a thread.

    Raises:
        BadLoraFile: if the file breaks the format or a limit, or holds NaN or infinity.
        LoraIncompatible: if it is sound but not a LoRA of a naming known here.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        tensors = read_header(file, size_bytes)
        facts = understand(tensors)
        _require_finite(file, tensors)
    return facts


def read_header(file: IO[bytes], size_bytes: int) -> list[Tensor]:
    """Parse the header and leave the file at its data; the tensors are in the order of their bytes.

    Raises:
        BadLoraFile: if anything in it is out of order.
    """
    if size_bytes > FILE_MAX_BYTES:
        _refuse(f"it is larger than {FILE_MAX_BYTES >> 20} MiB")
    prefix = file.read(_LENGTH_BYTES)
    if len(prefix) < _LENGTH_BYTES:
        _refuse("it is too short to be a safetensors file")
    length = int.from_bytes(prefix, "little")
    if length > HEADER_MAX_BYTES:
        _refuse("its header claims more than 1 MiB, or it is not a safetensors file at all")
    raw = file.read(length)
    if len(raw) < length:
        _refuse("it ends inside its header")
    return _tensors(_parse(raw), size_bytes - _LENGTH_BYTES - length)


def understand(tensors: list[Tensor]) -> LoraFacts:
    """Tell what kind of LoRA the tensors are.

    Raises:
        LoraIncompatible: if they are none, or halves are missing, or the ranks make no sense.
    """
    factors: dict[str, dict[str, Tensor]] = {}
    alphas: set[str] = set()
    for tensor in tensors:
        if match := _FACTOR.fullmatch(tensor.name):
            side = "down" if match["side"] in {"A", "down"} else "up"
            if side in factors.setdefault(match["module"], {}):
                _misfit(f"the module '{match['module']}' has two '{side}' matrices")
            factors[match["module"]][side] = tensor
        elif match := _ALPHA.fullmatch(tensor.name):
            if tensor.end - tensor.begin != _ELEMENT_BYTES[tensor.dtype]:
                _misfit(f"'{tensor.name}' is not one number")
            alphas.add(match["module"])
        else:
            _misfit(f"'{tensor.name}' is no part of a LoRA (DoRA, LoHa, LoKr and full weights are not served)")
    if not factors:
        _misfit("it holds no LoRA matrices")
    if stray := alphas - factors.keys():
        _misfit(f"the alpha of '{min(stray)}' belongs to no matrices")
    ranks = [_rank(module, pair) for module, pair in factors.items()]
    naming = _naming(factors)
    targets = sorted({_target(module, naming) for module in factors})
    return LoraFacts(naming=naming, rank=max(ranks), target_modules=tuple(targets), modules_count=len(factors))


def _parse(raw: bytes) -> dict[str, Any]:
    if not raw.startswith(b"{"):
        _refuse("its header is not a JSON object")
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as problem:
        raise BadLoraFile(f"its header is not sound JSON ({str(problem)[:80]})") from problem
    if not isinstance(header, dict):
        _refuse("its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        _refuse("its metadata are not texts")
    if sum(len(key) + len(value) for key, value in metadata.items()) > _METADATA_MAX_CHARACTERS:
        _refuse(f"its metadata are longer than {_METADATA_MAX_CHARACTERS} characters")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a key appears twice")
    return entries


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _tensors(header: dict[str, Any], data_bytes: int) -> list[Tensor]:
    if not 1 <= len(header) <= TENSORS_MAX_COUNT:
        _refuse(f"it has {len(header)} tensors; 1 to {TENSORS_MAX_COUNT} are taken")
    tensors = sorted((_tensor(name, entry) for name, entry in header.items()), key=lambda tensor: tensor.begin)
    position = 0
    for tensor in tensors:
        if tensor.begin != position:
            _refuse(f"'{tensor.name}' overlaps another tensor or leaves a hole")
        position = tensor.end
    if position != data_bytes:
        _refuse(f"its tensors need {position} bytes, but {data_bytes} follow the header")
    return tensors


def _tensor(name: str, entry: Any) -> Tensor:
    if _NAME.fullmatch(name) is None:
        _refuse("a tensor's name has characters other than letters, digits, '_', '-' and '.', or is too long")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        _refuse(f"the entry of '{name}' is not dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _ELEMENT_BYTES:
        _refuse(f"'{name}' is not of F16, BF16 or F32")
    if not _are_whole(shape, least=1) or len(shape) > _DIMENSIONS_MAX_COUNT:
        _refuse(f"the shape of '{name}' is not up to {_DIMENSIONS_MAX_COUNT} whole numbers from 1 on")
    if not _are_whole(offsets, least=0) or len(offsets) != 2:
        _refuse(f"the data_offsets of '{name}' are not two whole numbers")
    size_bytes = _ELEMENT_BYTES[dtype]
    for dimension in shape:
        size_bytes *= dimension
    begin, end = offsets
    if end - begin != size_bytes:
        _refuse(f"the data_offsets of '{name}' do not span its shape")
    return Tensor(name=name, dtype=dtype, shape=tuple(shape), begin=begin, end=end)


def _are_whole(numbers: Any, *, least: int) -> bool:
    return isinstance(numbers, list) and all(
        type(number) is int and least <= number <= FILE_MAX_BYTES for number in numbers
    )


def _require_finite(file: IO[bytes], tensors: list[Tensor]) -> None:
    for tensor in tensors:
        step = _ELEMENT_BYTES[tensor.dtype]
        for chunk in _chunks(file, tensor.end - tensor.begin):
            if chunk[step - 1 :: step].translate(None, _FINE_HIGH_BYTES[tensor.dtype]):
                _refuse(f"'{tensor.name}' holds NaN, infinity or an absurd number")


def _chunks(file: IO[bytes], count: int) -> Iterator[bytes]:
    while count:
        chunk = file.read(min(count, _CHUNK_BYTES))
        if not chunk:
            _refuse("it was cut short while it was read")
        count -= len(chunk)
        yield chunk


def _rank(module: str, pair: dict[str, Tensor]) -> int:
    if pair.keys() != {"down", "up"}:
        _misfit(f"the module '{module}' lacks one of its two matrices")
    down, up = pair["down"].shape, pair["up"].shape
    if len(down) not in {2, 4} or len(up) != len(down) or down[0] != up[1]:
        _misfit(f"the two matrices of '{module}' do not fit together")
    if down[0] > RANK_MAX:
        _misfit(f"the rank {down[0]} of '{module}' is beyond {RANK_MAX}")
    return down[0]


def _naming(factors: dict[str, dict[str, Tensor]]) -> Naming:
    """`lora_unet_….lora_down` is kohya's, `unet.….lora_A` PEFT's, `unet.….lora.down` diffusers' own."""
    if all(module.startswith(_KOHYA_START) for module in factors):
        return "kohya"
    if not all(module.startswith(_STARTS) for module in factors):
        raise _misfit_of("the names of its modules follow none of the namings diffusers, peft and kohya")
    are_peft = {pair["down"].name.endswith(("lora_A.weight", "lora_A.default.weight")) for pair in factors.values()}
    if len(are_peft) > 1:
        raise _misfit_of("it mixes the namings diffusers and peft")
    return "peft" if are_peft.pop() else "diffusers"


def _target(module: str, naming: Naming) -> str:
    if naming == "kohya":
        match = _KOHYA_TARGET.search(module)
        return match[0] if match else module
    head, _, last = module.rpartition(".")
    return f"{head.rpartition('.')[2]}.{last}" if last.isdecimal() else last


def _refuse(why: str) -> NoReturn:
    raise BadLoraFile(why)


def _misfit(why: str) -> NoReturn:
    raise _misfit_of(why)


def _misfit_of(why: str) -> LoraIncompatible:
    return LoraIncompatible(f"The LoRA file is refused: {why}.", metadata={"param": "file"})
