"""When a request goes again, and after how long. Pure but for the dice.

A policy of its own rather than a library's: what may be repeated depends on the call, and `Retry-After` on the answer.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum, auto

import httpx

from imagineo_client import errors

#: A longer `Retry-After` is not waited for: the caller gets the error and may do something else meanwhile.
LONGEST_WAIT_S = 60.0


class Repeats(Enum):
    """What a second sending of a call may do."""

    FREELY = auto()
    """Nothing: it reads, it ends in the same state, or it carries an idempotency key."""

    UNSENT = auto()
    """Perhaps the thing twice: only where the first surely did nothing."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how fast."""

    max_retries: int = 4
    first_s: float = 0.5
    longest_s: float = 8.0

    def pause_s(self, attempt: int, problem: Exception, repeats: Repeats) -> float | None:
        """How long to wait before the next sending; None: the problem is the caller's.

        Args:
            attempt: how many sendings have failed, from 1.
            problem: an `ApiError`, or what httpx raised.
            repeats: of the call.
        """
        if attempt > self.max_retries or not may_repeat(problem, repeats):
            return None
        told_s = problem.retry_after_s if isinstance(problem, errors.ApiError) else None
        if told_s is None:
            return self.backoff_s(attempt)
        return told_s * random.uniform(1.0, 1.1) if told_s <= LONGEST_WAIT_S else None  # noqa: S311 - jitter

    def backoff_s(self, attempt: int) -> float:
        """The pause after so many failures: doubled each time, between its half and its whole."""
        whole_s = min(self.longest_s, self.first_s * 2.0 ** (attempt - 1))
        return whole_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter


def may_repeat(problem: Exception, repeats: Repeats) -> bool:
    """Whether the same request may succeed later, and may be sent at all."""
    if isinstance(problem, errors.ApiError):
        if problem.status in (429, 503):
            return True  # by contract nothing was stored or charged
        again = problem.status == 408 or problem.status >= 500
        return repeats is Repeats.FREELY and (again or isinstance(problem, errors.IdempotencyKeyInFlightError))
    if isinstance(problem, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)):
        return True
    if isinstance(problem, (httpx.LocalProtocolError, httpx.UnsupportedProtocol)):
        return False  # it was never sent, and never will be
    broken = isinstance(problem, (httpx.TransportError, errors.ConnectionFailedError))
    return repeats is Repeats.FREELY and broken
