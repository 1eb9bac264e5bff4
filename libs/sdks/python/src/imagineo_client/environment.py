"""What the client takes from the environment where nobody says it: the only module that reads it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from imagineo_client.errors import MissingApiKeyError

#: Where `make run` serves. A key goes to no address that nobody named but this machine's own.
DEFAULT_URL: Final = "http://127.0.0.1:8000"


def api_key(given: str | None) -> str:
    """The key, given or `IMAGINEO_API_KEY`.

    Raises:
        MissingApiKeyError: if there is none.
        ValueError: if it cannot be one.
    """
    found = (given if given is not None else os.environ.get("IMAGINEO_API_KEY", "")).strip()
    if not found:
        raise MissingApiKeyError("There is no API key: pass api_key, or set IMAGINEO_API_KEY.")
    if not all("!" <= character <= "~" for character in found):
        raise ValueError("An API key has visible ASCII characters only and no spaces; was more copied than the key?")
    return found


def base_url(given: str | None) -> str:
    """The address without `/v1` and without a slash at its end, given or `IMAGINEO_URL`.

    Raises:
        ValueError: if it is no http or https address, or has a user name, a query or a fragment.
    """
    found = (given or os.environ.get("IMAGINEO_URL") or DEFAULT_URL).strip()
    if not _is_address(found):
        raise ValueError(f"The address must be such as {DEFAULT_URL}, with http:// or https://, and is '{found}'.")
    return found.rstrip("/").removesuffix("/v1").rstrip("/")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # refuses what is no number, or too large
    except ValueError:
        return False
    more = (parts.username, parts.password, parts.query, parts.fragment)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not any(more)


def model_id(given: str | None) -> str | None:
    """The usual model, given or `IMAGINEO_MODEL`."""
    return given or os.environ.get("IMAGINEO_MODEL") or None


def variable(name: str) -> str | None:
    """Another variable, None where it is empty."""
    return os.environ.get(name) or None


def variables() -> Mapping[str, str]:
    """All of them, such as those that describe the terminal."""
    return os.environ
