"""What a form's fields become."""

from __future__ import annotations

import pytest
from imagineo import errors
from starlette.requests import Request
from starlette.types import Message

from services.gateway.dashboard.forms import Form, read


def request(body: bytes, content_type: str = "application/x-www-form-urlencoded") -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "headers": [(b"content-type", content_type.encode())]}, receive)


async def test_fields_come_as_they_were_typed() -> None:
    form = await read(request(b"name=+a%20b+&prompts=one%0D%0A%0D%0A+two&scopes=x&scopes=y&empty="))

    assert form.text("name") == "a b"
    assert form.raw("name") == " a b "
    assert form.lines("prompts") == ["one", "two"]
    assert form.all("scopes") == ["x", "y"]
    assert form.text("absent") == ""


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("0.5", 0.5), ("", None), ("seven", "seven")])
def test_a_number_is_one_only_where_it_was_typed(text: str, number: object) -> None:
    assert Form([("n", text)]).number("n") == number


@pytest.mark.parametrize("body", [b"name=%FF%FE", b"&".join(b"a=%d" % number for number in range(500))])
async def test_what_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(errors.InvalidParameter):
        await read(request(body))


async def test_another_kind_of_body_is_refused() -> None:
    with pytest.raises(errors.UnsupportedMediaType):
        await read(request(b"{}", "application/json"))
