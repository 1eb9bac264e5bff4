"""When a refused request may be made again, as people say it."""

from __future__ import annotations

import math
from typing import Final

from imagineo import errors

from services.gateway.errors import wait_s

_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400


def again(problem: errors.ImagineoError | None) -> str:
    """A sentence such as "Try again in 34 seconds."; empty where waiting helps nothing."""
    seconds = wait_s(problem) if problem else None
    return "" if seconds is None else f"Try again in {_span(max(1, math.ceil(seconds)))}."


def _span(seconds: int) -> str:
    """A span in its largest fitting unit, rounded up."""
    for unit_s, word in ((_DAY_S, "day"), (_HOUR_S, "hour"), (_MINUTE_S, "minute")):
        if seconds > 2 * unit_s:
            return f"{math.ceil(seconds / unit_s)} {word}s"
    return "1 second" if seconds == 1 else f"{seconds} seconds"
