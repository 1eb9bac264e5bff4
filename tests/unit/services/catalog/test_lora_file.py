"""The judge of LoRA files against sound files, a corpus of hostile ones, and whatever Hypothesis thinks of."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tempfile
import time
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imagineo.blobs.memory import MemoryBlobs
from imagineo.errors import InvalidFile, LoraIncompatible
from imagineo.v1 import model_pb2 as pb

from services.catalog import lora_file
from services.catalog.base_modules import BaseModules, BaseModulesReader
from services.catalog.safetensors_header import HEADER_MAX_BYTES, BadLoraFile, read_header
from tests.support.lora_files import BASE_MODULES, BLOCK, entries, lora, peft_shapes, safetensors

HEADER, SIZE = entries(peft_shapes())
DOWN, UP = HEADER
DATA = bytes(SIZE)
KOHYA = "lora_unet_" + BLOCK.replace(".", "_")
BASE = BaseModules("Tiny", {"denoiser": BASE_MODULES["unet"], "text_encoder": BASE_MODULES["text_encoder"]})


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


def settings_file(trained: dict[str, Any]) -> bytes:
    return safetensors({"__metadata__": {"lora_adapter_metadata": json.dumps(trained)}, **HEADER}, DATA)


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
    "settings that are no JSON": safetensors({"__metadata__": {"lora_adapter_metadata": "{"}, **HEADER}, DATA),
    "settings of 100,000 brackets": safetensors(
        {"__metadata__": {"lora_adapter_metadata": "[" * 100_000 + "]" * 100_000}, **HEADER}, DATA
    ),
    "settings with an alpha of text": settings_file({"unet.lora_alpha": "8"}),
    "settings with an endless alpha": settings_file({"unet.lora_alpha": 1e300}),
    "settings with a costly pattern": settings_file({"unet.lora_alpha": 8, "unet.alpha_pattern": {"(a+)+$": 4}}),
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


def module(name: str, inputs: int = 8, outputs: int = 8, rank: int = 4) -> dict[str, tuple[int, ...]]:
    return {f"{name}.lora_A.weight": (rank, inputs), f"{name}.lora_B.weight": (outputs, rank)}


def kohya(name: str, inputs: int = 8, outputs: int = 8, rank: int = 4) -> dict[str, tuple[int, ...]]:
    return {f"{name}.lora_down.weight": (rank, inputs), f"{name}.lora_up.weight": (outputs, rank), f"{name}.alpha": ()}


MISFITS: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "no LoRA at all": ({"unet.conv_in.weight": (4, 4)}, "no LoRA matrices"),
    "half of a pair": ({DOWN: (4, 8)}, "lacks one"),
    "halves of different ranks": ({DOWN: (4, 8), UP: (8, 3)}, "takes"),
    "transposed halves": ({DOWN: (8, 4), UP: (4, 8)}, "takes"),
    "vectors": ({DOWN: (4,), UP: (4,)}, "takes"),
    "rank 257": ({DOWN: (257, 8), UP: (8, 257)}, "beyond 256"),
    "DoRA of peft": ({**peft_shapes(), DOWN.replace("lora_A.weight", "lora_magnitude_vector"): (8,)}, "DoRA"),
    "DoRA of kohya": ({**kohya(f"{KOHYA}_attn1_to_q"), f"{KOHYA}_attn1_to_q.dora_scale": (8,)}, "DoRA"),
    "LoHa": ({f"{KOHYA}_attn1_to_q.hada_w1_a": (8, 4)}, "LoHa"),
    "LoKr": ({f"{KOHYA}_attn1_to_q.lokr_w1": (2, 2)}, "LoKr"),
    "an alpha alone": ({f"{KOHYA}_attn1_to_q.alpha": ()}, "no LoRA matrices"),
    "an alpha of two numbers": ({**kohya(f"{KOHYA}_attn1_to_q"), f"{KOHYA}_attn1_to_q.alpha": (2,)}, "one number"),
    "unknown modules": (module("encoder.x"), "none of its 2 tensors fits the base model 'Tiny'"),
    "the same half in two namings": ({**peft_shapes(), DOWN.replace("lora_A", "lora.down"): (4, 8)}, "two 'down'"),
    "Stable Diffusion 1.5": (module(f"unet.{BLOCK}.attn2.to_k", 768, 320), "seems to be made for Stable Diffusion 1.5"),
    "Stable Diffusion 2": (kohya(f"{KOHYA}_attn2_to_k", 1024, 320), "seems to be made for Stable Diffusion 2"),
    "Stable Diffusion XL": (
        kohya("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 2048, 640),
        (
            "names the blocks of an original checkpoint; convert it to the names of diffusers; it seems to be made for "
            "Stable Diffusion XL"
        ),
    ),
    "the XL's UNet, though a text encoder fits": (
        {
            **kohya("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 2048, 640),
            **kohya("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", 6, 6),
        },
        "nothing of its part for the denoiser fits",
    ),
    "Stable Diffusion 3": (
        module("transformer.transformer_blocks.0.attn.to_q", 1536, 1536),
        "Stable Diffusion 3 Medium",
    ),
    "FLUX.1": (module("transformer.single_transformer_blocks.0.attn.to_q", 3072, 3072), "made for FLUX.1"),
    "FLUX.1 of kohya": (kohya("lora_unet_double_blocks_0_img_attn_qkv", 3072, 9216), "made for FLUX.1"),
}


def inspect(tmp_path: Path, content: bytes) -> lora_file.LoraFacts:
    path = tmp_path / "file.safetensors"
    path.write_bytes(content)
    return lora_file.inspect(path, BASE)


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_with_a_sentence(tmp_path: Path, content: bytes):
    with pytest.raises(InvalidFile) as refusal:
        inspect(tmp_path, content)
    assert refusal.value.message.startswith("The LoRA file is refused: ")
    assert refusal.value.metadata == {"param": "file"}
    assert len(refusal.value.message) < 500


@pytest.mark.parametrize(("shapes", "why"), MISFITS.values(), ids=MISFITS.keys())
def test_a_sound_file_that_is_no_lora_of_the_base_model_is_incompatible(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], why: str
):
    with pytest.raises(LoraIncompatible, match="The LoRA file is refused: ") as refusal:
        inspect(tmp_path, lora(shapes))
    assert why in refusal.value.message
    assert refusal.value.metadata == {"param": "file"}


def test_settings_that_make_it_a_dora_make_it_incompatible(tmp_path: Path):
    with pytest.raises(LoraIncompatible, match="DoRA"):
        inspect(tmp_path, settings_file({"unet.use_dora": True, "unet.lora_alpha": 8}))


def test_a_file_over_the_limit_is_refused_without_being_read(tmp_path: Path):
    path = tmp_path / "big.safetensors"
    with path.open("wb") as file:
        file.truncate(lora_file.FILE_MAX_BYTES + 1)
    with pytest.raises(BadLoraFile, match=f"larger than {lora_file.FILE_MAX_BYTES} bytes"):
        lora_file.inspect(path, BASE)
    path.write_bytes(lora(peft_shapes()))
    with pytest.raises(BadLoraFile, match="larger than 100 bytes"):
        lora_file.inspect(path, BASE, limit_bytes=100)


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32"])
def test_a_sound_file_is_understood(tmp_path: Path, dtype: str):
    facts = inspect(tmp_path, lora({**peft_shapes(rank=6), **module("unet.elsewhere.to_q")}, dtype=dtype))
    assert (facts.naming, facts.rank, facts.ranks, facts.alphas) == ("peft", 6, (6,), ())
    assert (facts.target_modules, facts.matched_keys, facts.ignored_keys) == (("to_q",), 2, 2)


def test_metadata_may_be_long_and_its_alphas_count(tmp_path: Path):
    trained = {"unet.lora_alpha": 16, "unet.alpha_pattern": {r"^down_blocks\.0": 4}, "unet.use_dora": False}
    metadata = {"ss_tag_frequency": "x" * 500_000, "lora_adapter_metadata": json.dumps(trained)}
    facts = inspect(tmp_path, safetensors({"__metadata__": metadata, **HEADER}, DATA))
    assert facts.alphas == (4.0, 16.0)


@pytest.mark.parametrize(("dtype", "fill"), [("F32", b"\0\0\0\x41"), ("F16", b"\0\x48"), ("BF16", b"\0\x41")])
def test_the_alphas_are_read_as_numbers(tmp_path: Path, dtype: str, fill: bytes):
    assert inspect(tmp_path, lora(kohya(f"{KOHYA}_attn1_to_q"), dtype=dtype, fill=fill)).alphas == (8.0,)


def conv(down: str, up: str) -> dict[str, tuple[int, ...]]:
    return {down: (4, 4, 3, 3), up: (8, 4, 1, 1)}


def pair(down: str, up: str) -> dict[str, tuple[int, ...]]:
    return {down: (4, 8), up: (8, 4)}


ATTENTION = f"{BLOCK}.attn1"
NAMINGS = [
    (kohya(f"{KOHYA}_attn1_to_out_0"), "kohya", "to_out.0", 3),
    (
        pair(f"unet.{ATTENTION}.to_out.0.lora.down.weight", f"unet.{ATTENTION}.to_out.0.lora.up.weight"),
        *("diffusers", "to_out.0", 2),
    ),
    (
        pair(f"unet.{ATTENTION}.processor.to_k_lora.down.weight", f"unet.{ATTENTION}.processor.to_k_lora.up.weight"),
        *("diffusers", "to_k", 2),
    ),
    (
        pair(f"base_model.model.{ATTENTION}.to_v.lora_A.weight", f"base_model.model.{ATTENTION}.to_v.lora_B.weight"),
        *("peft", "to_v", 2),
    ),
    (conv("unet.conv_in.lora_A.default.weight", "unet.conv_in.lora_B.default.weight"), "peft", "conv_in", 2),
    (kohya("lora_te_text_model_encoder_layers_0_self_attn_q_proj", 6, 6), "kohya", "q_proj", 3),
    (module("text_encoder.text_model.encoder.layers.0.self_attn.to_q", 6, 6), "peft", "q_proj", 2),
    (module("text_encoder.encoder.layers.0.self_attn.q_proj", 6, 6), "peft", "q_proj", 2),
]


@pytest.mark.parametrize(("shapes", "naming", "target", "matched_keys"), NAMINGS)
def test_the_namings_are_recognised(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], naming: str, target: str, matched_keys: int
):
    facts = inspect(tmp_path, lora(shapes))
    assert (facts.naming, facts.target_modules, facts.rank) == (naming, (target,), 4)
    assert (facts.matched_keys, facts.ignored_keys) == (matched_keys, 0)


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_are_refused_or_understood(raw: bytes, length: int):
    content = length.to_bytes(8, "little") + raw
    with pytest.raises(BadLoraFile):
        read_header(io.BytesIO(content), len(content))


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
@given(_HEADERS, st.integers(0, 99))
def test_any_header_is_refused_or_exact(header: dict[str, Any], data_bytes: int):
    content = safetensors(header, bytes(data_bytes))
    try:
        found = read_header(io.BytesIO(content), len(content))
    except BadLoraFile:
        return
    tensors = found.tensors
    assert sum(tensor.end - tensor.begin for tensor in tensors) == data_bytes
    assert [tensor.begin for tensor in tensors][1:] == [tensor.end for tensor in tensors][:-1]


@settings(max_examples=300)
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=8), st.booleans())
def test_a_sound_file_with_bytes_changed_or_cut_is_refused_by_name_or_understood(place: int, other: bytes, cut: bool):
    sound = lora(kohya(f"{KOHYA}_attn1_to_q"))
    place %= len(sound)
    content = sound[:place] if cut else sound[:place] + other + sound[place + len(other) :]
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            facts = lora_file.inspect(Path(file.name), BASE)
        except (InvalidFile, LoraIncompatible):
            return
    assert facts.matched_keys >= 2


@pytest.mark.parametrize(
    "raw",
    [
        b"{" + b'"a":{},' * 149_000 + b'"b":{}}',
        b'{"a":' + b"[[]," * 260_000 + b"[]]}",
        b'{"a":"' + b"\\u0041" * 170_000 + b'"}',
        b'{"__metadata__":{' + b",".join(b'"%d":""' % number for number in range(80_000)) + b"}}",
    ],
    ids=["empty entries", "lists", "escapes", "metadata"],
)
def test_the_largest_header_costs_little_memory_and_time(raw: bytes):
    assert len(raw) <= HEADER_MAX_BYTES
    content = io.BytesIO(safetensors(raw))
    tracemalloc.start()
    begun_s = time.process_time()
    with pytest.raises(BadLoraFile):
        read_header(content, len(content.getvalue()))
    took_s = time.process_time() - begun_s
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 64 << 20
    assert took_s < 5  # traced: some times as long as in service


WEIGHTS = Path(__file__).parents[4] / "libs" / "starter" / "weights"


async def test_the_starters_own_loras_match_its_base_model_key_by_key():
    blobs = MemoryBlobs()
    base = pb.BaseModel(name="Starter")
    for part in ("unet", "text_encoder"):
        for path in (WEIGHTS / "base" / part).glob("*.safetensors"):
            await blobs.put(f"bases/{part}", path.read_bytes(), content_type="")
            base.files.add(store_key=f"bases/{part}", path=f"{part}/{path.name}", sha256=part)
    modules = await BaseModulesReader(blobs).of(base)
    for entry in json.loads((WEIGHTS / "loras" / "loras.json").read_text()):
        facts = lora_file.inspect(WEIGHTS / "loras" / entry["file"], modules)
        assert (facts.naming == "kohya") == (entry["naming"] == "kohya")
        assert (facts.matched_keys > 100, facts.ignored_keys) == (True, 0)
        assert "to_k" in facts.target_modules
