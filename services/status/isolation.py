"""Keeps one bad item of a batch from failing its mates: what the batch cannot do together, each does alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from imagineo.errors import Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")


async def isolated(
    work: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], items: Sequence[Item]
) -> list[Result | Exception]:
    """Do `work`, which is all or nothing, on all items at once; if it fails, on each by itself.

    Raises:
        Unavailable: as `work` does; a dependency that is away is nobody's own fault.
    """
    try:
        return list(await work(items))
    except Unavailable:
        raise
    except Exception as problem:  # noqa: BLE001 - handed to the item that it belongs to
        if len(items) == 1:
            return [problem]
    return [result for item in items for result in await isolated(work, [item])]
