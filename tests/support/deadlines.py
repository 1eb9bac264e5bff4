"""How long tests wait for what is sure to come, and how they judge a deadline while the machine does other work too.

A test proves that there is a deadline and that it is the one promised; how fast a machine is, `make bench` measures.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

#: What a healthy program does in a second or two is waited for this long: a loaded machine gives a process a third of
#: a core, in pieces, and a program that starts meanwhile holds the others up for seconds. What was lost never comes.
SURELY_S: Final = 30.0
#: A program that starts imports for some seconds, one with torch for ten; so does one that was killed.
STARTED_WITHIN_S: Final = 120.0
#: An answer of another process that is promised within three seconds at most comes within this, on any machine. Without
#: its deadline it would not come at all, so whoever asks must be ready to wait for longer (`PATIENT_S`).
NOT_NEVER_S: Final = 15.0
PATIENT_S: Final = 40.0
_TURN_S: Final = 0.01


@dataclass
class LivedTime:
    """The time that the running event loop had to itself."""

    s: float = 0.0


@contextlib.asynccontextmanager
async def lived() -> AsyncIterator[LivedTime]:
    """Measure what happens in this event loop by the loop's own turns: a turn that was held up counts as a short one.

    The loop serves its timers in the order in which they are due, so a deadline of the code under test comes at the
    count that it names, however slow the machine is; one that is missing or longer comes at a higher count.
    """
    time = LivedTime()

    async def count() -> None:
        while True:
            await asyncio.sleep(_TURN_S)
            time.s += _TURN_S

    counting = asyncio.create_task(count())
    try:
        yield time
    finally:
        counting.cancel()
        await asyncio.wait({counting})
