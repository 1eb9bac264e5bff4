"""What browsers post: read whole, as text fields. Files do not come this way."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from imagineo import errors
from starlette.requests import Request

from services.gateway.body import media_type

MEDIA_TYPE: Final = "application/x-www-form-urlencoded"
_MAX_FIELDS: Final = 400


class Form:
    """The fields of one form, in their order; a name may come several times."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        """The field, without the spaces around it; empty where it is absent."""
        return self.raw(name).strip()

    def raw(self, name: str) -> str:
        """The field as it was typed, such as a password or a prompt."""
        return next((value for field, value in self._fields if field == name), "").replace("\r\n", "\n")

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for field, value in self._fields if field == name]

    def lines(self, name: str) -> list[str]:
        """The lines of a text area that hold anything."""
        return [line.strip() for line in self.raw(name).splitlines() if line.strip()]

    def number(self, name: str) -> int | float | str | None:
        """A number field as JSON would have it; the text where it is none, for the route to refuse; None: empty."""
        text = self.text(name)
        if not text:
            return None
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
        return text


async def read(request: Request) -> Form:
    """The form of a request.

    Raises:
        UnsupportedMediaType: for another kind of body.
        BodyTooLarge: above the gateway's limit for bodies.
        InvalidParameter: if it cannot be read.
    """
    if media_type(request.headers) != MEDIA_TYPE:
        raise errors.UnsupportedMediaType(f"A form must be sent as {MEDIA_TYPE}.")
    body = await request.body()
    try:
        return Form(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict"))
    except (UnicodeDecodeError, ValueError) as problem:
        raise errors.InvalidParameter("The form cannot be read: it must be text with at most 400 fields.") from problem
