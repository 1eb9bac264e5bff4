"""Reads a service's frozen settings class from the environment; all problems are reported together, by variable name.

A settings class is a frozen dataclass; its field `listen`, read with the prefix `IMAGINEO_GATEWAY_`, is the variable
`IMAGINEO_GATEWAY_LISTEN`, and falls back to the platform-wide `IMAGINEO_LISTEN`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

import msgspec

Settings = TypeVar("Settings")


class Secret(str):
    """A string that never shows itself in a repr or a log line; `reveal()` gives it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def reveal(self) -> str:
        """The secret itself."""
        return str.__str__(self)


#: The default of a secret that need not be set.
NO_SECRET: Final = Secret("")


class SettingsError(Exception):
    """One or more settings are missing or wrong; the message lists them all, one a line."""


def read(cls: type[Settings], environ: Mapping[str, str], *, prefix: str) -> Settings:
    """Build `cls` from `environ`.

    Raises:
        SettingsError: if any variable is missing, of the wrong type, or refused by `cls.__post_init__` (ValueError).
    """
    hints = get_type_hints(cls)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # cls is a dataclass by contract
        name = prefix + field.name.upper()
        raw = environ.get(name, environ.get("IMAGINEO_" + field.name.upper()))
        if raw is None:
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                problems.append(f"{name} is not set")
            continue
        try:
            values[field.name] = _convert(raw, hints[field.name])
        except (msgspec.ValidationError, ValueError) as problem:
            problems.append(f"{name}: {problem}")
    if not problems:
        try:
            return cls(**values)
        except ValueError as problem:
            problems.append(f"{prefix}*: {problem}")
    raise SettingsError("\n".join(problems))


def _convert(raw: str, kind: Any) -> Any:
    if kind is Secret:
        return Secret(raw)
    if get_origin(kind) is tuple:
        each, _ = get_args(kind)
        return tuple(msgspec.convert(part.strip(), each, strict=False) for part in raw.split(",") if part.strip())
    return msgspec.convert(raw, kind, strict=False)
