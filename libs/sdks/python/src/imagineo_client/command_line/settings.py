"""The settings file: where it is, what is read from it, and how `login` writes it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from imagineo_client import environment

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Settings:
    """What the file says; None is not said."""

    url: str | None = None
    api_key: str | None = None
    model: str | None = None


def settings_path() -> Path:
    """`IMAGINEO_CONFIG`, else `config.toml` where the system keeps settings."""
    named = environment.variable("IMAGINEO_CONFIG")
    return Path(named) if named else platformdirs.user_config_path("imagineo", appauthor=False) / "config.toml"


def read() -> Settings:
    """The file's settings; none where there is no file.

    Raises:
        ValueError: if it cannot be understood.
    """
    path = settings_path()
    try:
        found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ValueError(f"The settings in {path} cannot be read: {problem}.") from problem
    unknown = sorted(set(found) - {"url", "api_key", "model"})
    odd = [name for name, value in found.items() if not isinstance(value, str)]
    if unknown or odd:
        said = f"unknown: {', '.join(unknown)}" if unknown else f"not in quotes: {', '.join(odd)}"
        raise ValueError(f"The settings in {path} hold what does not belong there; {said}.")
    return Settings(**found)


def write(settings: Settings) -> Path:
    """Keep settings, readable by their owner only. Gives the file."""
    path = settings_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    said = {"url": settings.url, "api_key": settings.api_key, "model": settings.model}
    # A JSON string is a TOML string too.
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in said.items() if value is not None)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    part.replace(path)
    return path
