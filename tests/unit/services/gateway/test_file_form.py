"""Multipart bodies with one file: read at whatever places they are cut, refused by name where they are wrong."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagineo import errors

from services.gateway import file_form
from services.gateway.file_form import PACE_AFTER_S, PACE_BYTES_PER_S, FileForm, Pace, paced

BOUNDARY = "x-boundary"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def part(name: str, content: bytes, more: str = "") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
CONTENT = bytes(range(256)) * 40 + b"\r\n--x-bound" + b"\r\n"
FILE = part("file", CONTENT, '; filename="a.safetensors"\r\nContent-Type: application/octet-stream')
BODY = part("name", "Mügs".encode()) + FILE + part("words", b"a") + part("words", b"b") + END


async def read(body: bytes, cuts: tuple[int, ...] = (), content_type: str = TYPE) -> tuple[bytes, dict[str, list[str]]]:
    async def pieces() -> AsyncIterator[bytes]:
        edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
        for begin, end in itertools.pairwise(edges):
            yield body[begin:end]

    form = FileForm(content_type, file_field="file", names=("name", "words"))
    content = b"".join([piece async for piece in form.pieces(pieces())])
    return content, form.fields


@given(st.lists(st.integers(0, len(BODY)), max_size=8))
async def test_a_form_reads_the_same_wherever_it_is_cut(cuts: list[int]):
    assert await read(BODY, tuple(cuts)) == (CONTENT, {"name": ["Mügs"], "words": ["a", "b"]})


async def test_a_large_file_goes_on_in_pieces():
    content = bytes(3_000_000)
    body = part("file", content) + END

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    form = FileForm(TYPE, file_field="file", names=())
    sizes = [len(piece) async for piece in form.pieces(pieces())]
    assert sum(sizes) == len(content)
    assert max(sizes) <= 600_000


WRONG = {
    "an unknown field": (part("nmae", b"x") + FILE + END, "Did you mean 'name'?"),
    "two files": (FILE + FILE + END, "more than one file"),
    "no file": (part("name", b"x") + END, "Missing parameter 'file'"),
    "no end": (FILE, "ends before its last boundary"),
    "nothing": (b"", "ends before its last boundary"),
    "no multipart": (b'{"a": 1}', "cannot be read"),
    "bytes that are no text": (part("name", b"\xff") + FILE + END, "text in UTF-8"),
    "a long field": (part("name", b"x" * 70_000) + FILE + END, "larger than 65536 bytes"),
    "many parts": (part("words", b"x") * 300 + FILE + END, "more than 256 parts"),
    "a long header": (part("file", b"", "; a=" + "x" * 10_000), "cannot be read"),
    "a part without a name": (f"--{BOUNDARY}\r\n\r\nx\r\n".encode() + END, "Unknown parameter"),
}


@pytest.mark.parametrize(("body", "why"), WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_form_is_refused_with_what_is_wrong(body: bytes, why: str):
    with pytest.raises(errors.Refused) as refusal:
        await read(body)
    assert why in refusal.value.message


async def test_another_kind_of_body_is_refused_before_it_is_read():
    for content_type in ("", "application/json", "multipart/mixed; boundary=x"):
        with pytest.raises(errors.UnsupportedMediaType):
            FileForm(content_type, file_field="file", names=())
    for content_type in ("multipart/form-data", f"multipart/form-data; boundary={'x' * 5_000}"):
        with pytest.raises(errors.InvalidParameter):
            FileForm(content_type, file_field="file", names=())


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=4))
async def test_any_bytes_are_refused_or_read(body: bytes, cuts: list[int]):
    try:
        await read(f"--{BOUNDARY}\r\n".encode() + body + END, tuple(cuts))
    except errors.Refused:
        return


def test_a_sender_may_be_slow_for_a_while_and_not_for_long():
    pace = Pace()
    pace.note(PACE_AFTER_S, 1)
    with pytest.raises(errors.InvalidFile, match="slower than"):
        pace.note(0.1, 1)
    steady = Pace()
    for _ in range(100):
        steady.note(1.0, PACE_BYTES_PER_S)


async def test_a_sender_who_falls_silent_is_let_go(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(file_form, "SILENCE_S", 0.01)
    never = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        await never.wait()

    pieces = paced(body())
    assert await anext(pieces) == b"x"
    with pytest.raises(errors.InvalidFile, match="Nothing of the body came"):
        await anext(pieces)
