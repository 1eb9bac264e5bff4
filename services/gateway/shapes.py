"""The pieces that the shapes of `/openapi.json` are made of."""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]

TEXT: Final[Json] = {"type": "string"}
WHOLE: Final[Json] = {"type": "integer"}
TIME: Final[Json] = {"type": "string", "format": "date-time"}

#: What texts hold: no control characters but tab and line ends.
CLEAN: Final = "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f]*$"


def text(low: int, high: int) -> Json:
    """A string of so many characters, as `fields.text` takes it."""
    return {"type": "string", "minLength": low, "maxLength": high, "pattern": CLEAN}


def closed(properties: Json, *, optional: tuple[str, ...] = ()) -> Json:
    """An object of exactly these properties."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def nullable(schema: Json) -> Json:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def ref(name: str) -> Json:
    """One of the schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def page(name: str, items: str) -> Json:
    """One page of a list."""
    return closed({name: {"type": "array", "items": ref(items)}, "next_cursor": nullable(TEXT)})
