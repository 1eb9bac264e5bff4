"""Whose items are released next: the pure rule behind the feeder.

All batches of a base model share one window of released, unfinished items. Each free place goes to the organization
that has the fewest in it for its lane's weight, of equals to the one that waited longest; within it to its batch by the
same rule. So organizations take turns, and so do the batches of each, however many items they hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from imagineo.jobs.lanes import WEIGHTS, Lane

#: The least window: also where no worker is known.
MIN_WINDOW: Final = 2


@dataclass(frozen=True, slots=True)
class Feed:
    """One batch on one base model."""

    batch_id: str
    organization_id: str
    lane: Lane
    held_count: int
    """Items that wait for their turn; no more of them need be counted than the window has free places, and one."""
    flying_count: int = 0
    """Items that are released and unfinished."""
    room_count: int = 0
    """How many more unfinished runs its organization may have."""
    queued_runs_limit: int = 0
    released_at_s: float = float("-inf")
    """When one of its items was released last."""


@dataclass(slots=True)
class _Standing:
    flying: int = 0
    room: int = 0
    released: float = float("-inf")


def window_of(slots_count: int) -> int:
    """How many items of batches may be released and unfinished at once, by the runs that live workers draw at once.

    Half as many wait behind those that are drawn: enough that no worker waits for the feeder; and few enough that
    somebody else's run starts before half of what is drawn now and what comes after it have ended, in less than two
    run times.
    """
    return max(MIN_WINDOW, slots_count + (slots_count + 1) // 2)


def spared(queued_runs_limit: int) -> int:
    """How many of its unfinished runs an organization keeps for single submits while batches are drawn."""
    return queued_runs_limit // 4


def turns(window: int, feeds: Sequence[Feed]) -> dict[str, int]:
    """How many items each batch may release now."""
    owners: dict[str, _Standing] = {}
    batches = {feed.batch_id: _Standing(feed.flying_count, feed.held_count, feed.released_at_s) for feed in feeds}
    for feed in feeds:
        owner = owners.setdefault(feed.organization_id, _Standing())
        owner.flying += feed.flying_count
        owner.room = max(owner.room, feed.room_count - spared(feed.queued_runs_limit))
        owner.released = max(owner.released, feed.released_at_s)
    due: dict[str, int] = {}
    now = max([0.0, *(feed.released_at_s for feed in feeds)])
    for turn in range(1, window - sum(feed.flying_count for feed in feeds) + 1):
        able = [feed for feed in feeds if batches[feed.batch_id].room > 0 and owners[feed.organization_id].room > 0]
        if not able:
            break
        chosen = min(able, key=lambda feed: _rank(feed, owners[feed.organization_id], batches[feed.batch_id]))
        for standing in (owners[chosen.organization_id], batches[chosen.batch_id]):
            standing.flying += 1
            standing.room -= 1
            standing.released = now + turn
        due[chosen.batch_id] = due.get(chosen.batch_id, 0) + 1
    return due


def _rank(feed: Feed, owner: _Standing, batch: _Standing) -> tuple[float, float, int, float, str]:
    weight = WEIGHTS.get(feed.lane, 1)
    return owner.flying / weight, owner.released, batch.flying, batch.released, feed.batch_id
