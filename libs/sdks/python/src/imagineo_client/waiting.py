"""Sleeping, for both transports: the twin of `async_sleep` is `sleep`."""

from __future__ import annotations

import asyncio
import time


async def async_sleep(seconds: float) -> None:
    """Wait without holding up others."""
    await asyncio.sleep(seconds)


def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)
