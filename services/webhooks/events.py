"""The events that endpoints are told of, and which of them an endpoint wants. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from imagineo.errors import InvalidParameter
from imagineo.jobs.states import TERMINAL
from imagineo.v1 import generation_pb2
from imagineo.wire.shown import STATUS_WORDS
from imagineo.wire.shown_webhook import EVENT_TYPES

ALL: Final = "*"
WEBHOOK_DISABLED: Final = "webhook.disabled"


def type_of(status: generation_pb2.Status.ValueType) -> str | None:
    """The event of a run that is now in this status; None where that is no event."""
    return f"generation.{STATUS_WORDS[status]}" if status in TERMINAL else None


def checked(events: Sequence[str]) -> list[str]:
    """An endpoint's filter, each type once; an empty one is all.

    Raises:
        InvalidParameter: for a type that there is not.
    """
    if any(event not in (ALL, *EVENT_TYPES) for event in events):
        raise InvalidParameter.of("events", "a list of " + ", ".join((ALL, *EVENT_TYPES)))
    return [ALL] if not events or ALL in events else sorted(set(events))


def wants(events: Sequence[str], event_type: str) -> bool:
    """Tell whether a filter lets an event through."""
    return ALL in events or event_type in events
