"""What follows an attempt: done, again and when, or never; and when an endpoint is switched off. Pure.

The pauses grow fourfold from 5 seconds to 12 hours, each with a jitter of a quarter to either side, over three days;
the last attempt is at their very end, so that a receiver that was away for less has had one after it came back.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Final

from imagineo.v1 import webhook_pb2 as pb

FIRST_PAUSE: Final = timedelta(seconds=5)
GROWTH: Final = 4
LONGEST_PAUSE: Final = timedelta(hours=12)
JITTER: Final = 0.25
#: How long an event is tried.
ROUND: Final = timedelta(days=3)
#: How long every attempt must have failed before an endpoint is switched off.
PATIENCE: Final = timedelta(days=5)

_GONE: Final = 410


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """How one attempt went."""

    status_code: int = 0
    """0: there was no answer."""
    error: str = ""
    response: str = ""
    """The beginning of the answer's body."""
    retry_after: timedelta | None = None
    duration_ms: int = 0

    @property
    def is_success(self) -> bool:
        """Any 2xx."""
        return 200 <= self.status_code < 300


@dataclasses.dataclass(frozen=True, slots=True)
class Next:
    """What becomes of a delivery."""

    state: pb.DeliveryState.ValueType
    at: datetime | None = None


def pause(tries: int, chance: float) -> timedelta:
    """How long to wait after so many attempts (1 or more); `chance` is from 0 to 1."""
    # The exponent is bounded: beyond it the longest pause holds anyhow.
    plain = min(FIRST_PAUSE * int(GROWTH ** min(tries - 1, 20)), LONGEST_PAUSE)
    return plain * (1 + JITTER * (2 * chance - 1))


def after(answer: Answer, *, tries: int, round_at: datetime, now: datetime, chance: float) -> Next:
    """Decide after an attempt; `tries` counts this one, since `round_at`."""
    if answer.is_success:
        return Next(pb.DELIVERY_STATE_DELIVERED)
    end = round_at + ROUND
    if answer.status_code == _GONE or now >= end:
        return Next(pb.DELIVERY_STATE_FAILED)
    wait = pause(tries, chance)
    if answer.retry_after is not None:
        wait = max(wait, min(answer.retry_after, LONGEST_PAUSE))
    return Next(pb.DELIVERY_STATE_PENDING, min(now + wait, end))


def disabling(answer: Answer, failing_since: datetime, now: datetime) -> pb.DisabledReason.ValueType | None:
    """Why an endpoint that just failed is to be switched off; None: it is not."""
    if answer.status_code == _GONE:
        return pb.DISABLED_REASON_GONE
    return pb.DISABLED_REASON_FAILING if now - failing_since >= PATIENCE else None
