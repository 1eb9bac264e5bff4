"""One bound around several awaits, in the words of the exception tree."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from imagineo.errors import Unavailable


@contextlib.asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Bound what stands inside; what it waited for is cancelled.

    Raises:
        Unavailable: if it took longer.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as problem:
        raise Unavailable from problem
