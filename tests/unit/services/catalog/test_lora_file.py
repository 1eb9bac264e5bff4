"""The parser of LoRA files against sound files, a corpus of hostile ones, and whatever Hypothesis thinks of."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imagineo.errors import LoraIncompatible

from services.catalog import lora_file
from services.catalog.lora_file import BadLoraFile
from tests.support.lora_files import entries, lora, peft_shapes, safetensors

HEADER, SIZE = entries(peft_shapes())
DOWN, UP = HEADER
DATA = bytes(SIZE)
KOHYA = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0"


def changed(**fields: Any) -> bytes:
    return safetensors({**HEADER, DOWN: {**HEADER[DOWN], **fields}}, DATA)


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    return file.getvalue()


def twice() -> bytes:
    entry = json.dumps(HEADER[DOWN])
    return safetensors(f'{{"{DOWN}": {entry}, "{DOWN}": {entry}, "{UP}": {json.dumps(HEADER[UP])}}}', DATA)


HALF_BYTES = SIZE // 2
BAD = {
    "empty": b"",
    "seven bytes": b"\0" * 7,
    "length 0": safetensors(b""),
    "length 2^63": safetensors(HEADER, DATA, length=1 << 63),
    "length 2^64-1": safetensors(HEADER, DATA, length=(1 << 64) - 1),
    "length beyond the file": safetensors(HEADER, length=4096),
    "header of more than 1 MiB": safetensors(b"{" + b" " * (1 << 20) + b"}"),
    "truncated data": safetensors(HEADER, DATA[:-1]),
    "trailing data": safetensors(HEADER, DATA + b"x"),
    "no tensors": safetensors({}),
    "metadata alone": safetensors({"__metadata__": {"a": "b"}}),
    "a list": safetensors([1]),  # type: ignore[arg-type]
    "not JSON": safetensors(b"{'a': 1}"),
    "not UTF-8": safetensors(b'{"\xff": 1}'),
    "NaN in the header": safetensors('{"a": NaN}'),
    "100,000 brackets": safetensors('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "a number of 10,000 digits": safetensors('{"a":' + "9" * 10_000 + "}"),
    "a key twice": twice(),
    "dtype twice": safetensors('{"a":{"dtype":"F16","dtype":"F32","shape":[1],"data_offsets":[0,2]}}', b"12"),
    "F64": lora(peft_shapes(), dtype="F64"),
    "I8": lora(peft_shapes(), dtype="I8"),
    "dtype a list": changed(dtype=["F16"]),
    "no dtype": safetensors({DOWN: {"shape": [1], "data_offsets": [0, 2]}}, b"12"),
    "an unknown field": changed(more=1),
    "a dimension of 0": safetensors({DOWN: {"dtype": "F16", "shape": [2**40, 0], "data_offsets": [0, 0]}}),
    "a negative dimension": changed(shape=[-4, -8]),
    "a boolean dimension": changed(shape=[True, 32]),
    "a dimension with a fraction": changed(shape=[4.0, 8]),
    "an overflowing shape": changed(shape=[2**29] * 8),
    "nine dimensions": changed(shape=[1] * 7 + [4, 8]),
    "shape not a list": changed(shape="48"),
    "a negative offset": changed(data_offsets=[-64, 0]),
    "offsets out of the file": changed(data_offsets=[1 << 40, (1 << 40) + HALF_BYTES]),
    "offsets reversed": changed(data_offsets=[HALF_BYTES, 0]),
    "three offsets": changed(data_offsets=[0, 1, HALF_BYTES]),
    "an overlap": safetensors({**HEADER, UP: {**HEADER[UP], "data_offsets": [0, HALF_BYTES]}}, DATA[:HALF_BYTES]),
    "a hole": safetensors({**HEADER, UP: {**HEADER[UP], "data_offsets": [HALF_BYTES + 2, SIZE + 2]}}, DATA + b"xx"),
    "offsets that do not span the shape": changed(shape=[4, 7]),
    "a path as a name": lora({"../../etc/passwd": (1,)}),
    "markup as a name": lora({"<img onerror=alert(1)>": (1,)}),
    "a lone surrogate as a name": safetensors('{"\\ud800":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}', b"12"),
    "5,001 tensors": lora({f"t{number}": (1,) for number in range(5_001)}),
    "metadata of a number": safetensors({"__metadata__": {"a": 1}, **HEADER}, DATA),
    "metadata not an object": safetensors({"__metadata__": [], **HEADER}, DATA),
    "metadata of 70,000 characters": safetensors({"__metadata__": {"a": "x" * 70_000}, **HEADER}, DATA),
    "a pickle": pickle.dumps({"a": [1, 2, 3]}),
    "a zip": zipped(),
    "a pointer to a large file": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64,
    "NaN F16": lora(peft_shapes(), fill=struct.pack("<e", float("nan"))),
    "infinity F16": lora(peft_shapes(), fill=struct.pack("<e", float("-inf"))),
    "NaN F32": lora(peft_shapes(), dtype="F32", fill=struct.pack("<f", float("nan"))),
    "infinity F32": lora(peft_shapes(), dtype="F32", fill=struct.pack("<f", float("inf"))),
    "infinity BF16": lora(peft_shapes(), dtype="BF16", fill=b"\x80\x7f"),
    "NaN BF16": lora(peft_shapes(), dtype="BF16", fill=b"\xc0\xff"),
}

MISFITS = {
    "no LoRA at all": {"unet.conv_in.weight": (4, 4)},
    "half of a pair": {DOWN: (4, 8)},
    "halves of different ranks": {DOWN: (4, 8), UP: (8, 3)},
    "vectors": {DOWN: (4,), UP: (4,)},
    "rank 257": {DOWN: (257, 8), UP: (8, 257)},
    "DoRA": {**peft_shapes(), DOWN.replace("lora_A.weight", "lora_magnitude_vector"): (8,)},
    "LoKr": {"lora_unet_a.lokr_w1": (2, 2)},
    "a stray alpha": {**peft_shapes(), "unet.other.alpha": ()},
    "an alpha of two numbers": {**peft_shapes(), DOWN.replace("lora_A.weight", "alpha"): (2,)},
    "unknown modules": {"encoder.x.lora_A.weight": (4, 8), "encoder.x.lora_B.weight": (8, 4)},
    "the same half in two namings": {**peft_shapes(), DOWN.replace("lora_A", "lora.down"): (4, 8)},
}


def inspect(tmp_path: Path, content: bytes) -> lora_file.LoraFacts:
    path = tmp_path / "file.safetensors"
    path.write_bytes(content)
    return lora_file.inspect(path)


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_with_a_sentence(tmp_path: Path, content: bytes):
    with pytest.raises(BadLoraFile) as refusal:
        inspect(tmp_path, content)
    assert refusal.value.message.startswith("The LoRA file is refused: ")
    assert refusal.value.metadata == {"param": "file"}
    assert len(refusal.value.message) < 500


@pytest.mark.parametrize("shapes", MISFITS.values(), ids=MISFITS.keys())
def test_a_sound_file_that_is_no_lora_of_ours_is_incompatible(tmp_path: Path, shapes: dict[str, tuple[int, ...]]):
    with pytest.raises(LoraIncompatible, match="refused"):
        inspect(tmp_path, lora(shapes))


def test_a_file_over_the_limit_is_refused_without_being_read(tmp_path: Path):
    path = tmp_path / "big.safetensors"
    with path.open("wb") as file:
        file.truncate(lora_file.FILE_MAX_BYTES + 1)
    with pytest.raises(BadLoraFile, match="512 MiB"):
        lora_file.inspect(path)


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32"])
def test_a_sound_file_is_understood(tmp_path: Path, dtype: str):
    facts = inspect(tmp_path, lora(peft_shapes(rank=6), dtype=dtype))
    assert (facts.naming, facts.rank, facts.target_modules, facts.modules_count) == ("peft", 6, ("to_q",), 1)


def pair(down: str, up: str, *, kernel: int = 0) -> dict[str, tuple[int, ...]]:
    return {down: (4, 8, kernel, kernel), up: (8, 4, 1, 1)} if kernel else {down: (4, 8), up: (8, 4)}


NAMINGS = [
    ({**pair(f"{KOHYA}.lora_down.weight", f"{KOHYA}.lora_up.weight"), f"{KOHYA}.alpha": ()}, "kohya", "to_out_0"),
    (pair("unet.a.to_out.0.lora.down.weight", "unet.a.to_out.0.lora.up.weight"), "diffusers", "to_out.0"),
    (pair("unet.a.processor.to_k_lora.down.weight", "unet.a.processor.to_k_lora.up.weight"), "diffusers", "to_k"),
    (pair("base_model.model.a.to_v.lora_A.weight", "base_model.model.a.to_v.lora_B.weight"), "peft", "to_v"),
    (pair("unet.c.conv1.lora_A.default.weight", "unet.c.conv1.lora_B.default.weight", kernel=3), "peft", "conv1"),
]


@pytest.mark.parametrize(("shapes", "naming", "target"), NAMINGS)
def test_the_three_namings_are_recognised(tmp_path: Path, shapes: dict[str, tuple[int, ...]], naming: str, target: str):
    facts = inspect(tmp_path, lora(shapes))
    assert (facts.naming, facts.target_modules, facts.rank) == (naming, (target,), 4)


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_are_refused_or_understood(raw: bytes, length: int):
    content = length.to_bytes(8, "little") + raw
    with pytest.raises(BadLoraFile):
        lora_file.read_header(io.BytesIO(content), len(content))


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["F16", "F32", "BF16", "I8", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F16", "F32"]) | _VALUES,
        "shape": st.lists(st.integers(-1, 9), max_size=3) | _VALUES,
        "data_offsets": st.lists(st.integers(-1, 99), min_size=2, max_size=2) | _VALUES,
    }
)

_HEADERS = st.dictionaries(st.text(max_size=12) | st.sampled_from([DOWN, UP]), _ENTRY | _VALUES, max_size=4)


@settings(max_examples=300)
@given(
    st.dictionaries(st.text(max_size=12) | st.sampled_from([DOWN, UP]), _ENTRY | _VALUES, max_size=4),
    st.integers(0, 99),
)
def test_any_header_is_refused_or_exact(header: dict[str, Any], data_bytes: int):
    content = safetensors(header, bytes(data_bytes))
    try:
        tensors = lora_file.read_header(io.BytesIO(content), len(content))
    except BadLoraFile:
        return
    assert sum(tensor.end - tensor.begin for tensor in tensors) == data_bytes
    assert [tensor.begin for tensor in tensors][1:] == [tensor.end for tensor in tensors][:-1]
