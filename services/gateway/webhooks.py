"""The bodies of the webhook routes: what they may hold. Pure; the service behind checks again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from imagineo import errors
from imagineo.egress import urls
from imagineo.wire.shown_webhook import EVENT_TYPES

from services.gateway.fields import Check, choice, text, truth, whole
from services.gateway.submission import checked, receiver

MAX_DESCRIPTION_CHARACTERS: Final = 200
MAX_OVERLAP_S: Final = 7 * 86_400
DEFAULT_OVERLAP_S: Final = 86_400
EVENT_WORDS: Final = ("*", *EVENT_TYPES)

_EVENT: Final = choice(EVENT_WORDS)


def _events(param: str, value: object) -> list[str]:
    if not isinstance(value, list) or not 1 <= len(value) <= len(EVENT_WORDS):
        raise errors.InvalidParameter.of(param, "a list of one or more of " + ", ".join(EVENT_WORDS))
    return [_EVENT(f"{param}[{index}]", entry) for index, entry in enumerate(value)]


def _fields(reach: urls.Reach) -> Mapping[str, Check]:
    return {
        "url": receiver(reach),
        "description": text(0, MAX_DESCRIPTION_CHARACTERS),
        "events": _events,
        "active": truth,
    }


def read_webhook(document: dict[str, Any], reach: urls.Reach) -> dict[str, Any]:
    """An endpoint to register.

    Raises:
        UnknownField: for a field that there is not.
        InvalidParameter: for a missing or wrong one.
    """
    required = {"url": "the https URL that events are posted to"}
    return checked(document, _fields(reach), required, within="")


def read_change(document: dict[str, Any], reach: urls.Reach) -> dict[str, Any]:
    """What of an endpoint is to be otherwise.

    Raises:
        UnknownField, InvalidParameter: as `read_webhook`.
    """
    return checked(document, _fields(reach), {}, within="")


def read_rotation(document: dict[str, Any]) -> int:
    """How many seconds the secret before signs as well.

    Raises:
        UnknownField, InvalidParameter: as `read_webhook`.
    """
    found = checked(document, {"overlap_s": whole(0, MAX_OVERLAP_S)}, {}, within="")
    return int(found.get("overlap_s", DEFAULT_OVERLAP_S))
