"""Stores what events do to runs: lock, decide by `imagineo.jobs.states`, write, all in one transaction a batch.

Every transaction locks runs in the order of their ids, then counters in the order of theirs: none waits in a circle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from imagineo import errors
from imagineo.ids import new_id
from imagineo.jobs.states import Ending, Event, Renewal, Run, Verdict, decide
from imagineo.postgres.pool import Database
from imagineo.v1 import generation_pb2 as pb

from services.status.repository import queries, refused_data

_SQL = queries("runs")
_COUNTERS = queries("submissions")["lock_counters"]
_FIELDS = tuple(field.name for field in fields(Run))


@dataclass(frozen=True, slots=True)
class Word:
    """An event of one run; `outcome` is the serialized message that an ending came with."""

    run_id: str
    event: Event
    outcome: bytes | None = None
    organization_id: str = ""
    """Whose the run must be; empty: anybody's."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a word: how it went, the run after it, and whether watchers see a change."""

    verdict: Verdict
    run: Run
    is_changed: bool


@dataclass(slots=True)
class _Held:
    organization_id: str
    before: Run
    run: Run
    outcome: bytes | None = None
    is_littered: bool = False


class Runs:
    """Applies words to runs, exactly once each time a run becomes terminal."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply(self, words: Sequence[Word]) -> list[Reply | None]:
        """Apply a batch in its order, whole or not at all; None answers a run that is not there (or not the asker's).

        Raises:
            Unavailable: the commit may or may not have happened; every word may be said again.
            InvalidParameter: a word holds what the database cannot hold.
        """
        with refused_data():
            return await self._apply(words)

    async def _apply(self, words: Sequence[Word]) -> list[Reply | None]:
        async with self._database.transaction() as connection:
            if all(isinstance(word.event, Renewal) for word in words):
                # A renewal lost with the server only lets the lease look older; the fencing token keeps all safe.
                await connection.execute("SET LOCAL synchronous_commit = off")
            rows = await connection.fetch(_SQL["lock_runs"], sorted({word.run_id for word in words}))
            now = await connection.fetchval(_SQL["clock"])
            held = {row["run_id"]: _held(row) for row in rows}
            replies = [_apply(held.get(word.run_id), word, now) for word in words]
            await self._save(connection, list(held.values()), now)
        return replies

    async def save_progress(self, latest: Sequence[tuple[str, int, int, int]]) -> list[str]:
        """Store (run_id, attempt, progress, step) that are news; gives the runs that changed. A crash may lose it."""
        columns = [list(column) for column in zip(*latest, strict=True)]
        async with self._database.transaction() as connection:
            await connection.execute("SET LOCAL synchronous_commit = off")
            return [row["run_id"] for row in await connection.fetch(_SQL["save_progress"], *columns)]

    async def _save(self, connection: Any, held: Sequence[_Held], now: Any) -> None:
        changed = [one for one in held if one.run != one.before]
        if changed:
            tag = await connection.execute(_SQL["save_runs"], *_save_columns(changed))
            if tag != f"UPDATE {len(changed)}":
                raise errors.Internal("a locked run changed under its lock")
        uncounted: set[str] = set()
        moved = [one for one in changed if one.run.status != one.before.status]
        if moved:
            queued = [None if one.run.is_over else one.run.status == pb.STATUS_QUEUED for one in moved]
            rows = await connection.fetch(_SQL["note_moves"], [one.run.run_id for one in moved], queued)
            uncounted = {row["run_id"] for row in rows}
        littered = [one for one in held if one.is_littered]
        if littered:
            columns = [[one.run.run_id for one in littered], [one.organization_id for one in littered]]
            await connection.execute(_SQL["insert_leftovers"], *columns)
        finished = [one for one in changed if one.run.is_over]
        if finished:
            await self._settle(connection, finished, uncounted, now)

    async def _settle(self, connection: Any, finished: Sequence[_Held], uncounted: set[str], now: Any) -> None:
        run_ids = [one.run.run_id for one in finished]
        event_ids = [new_id("evt") for _ in finished]
        await connection.execute(_SQL["insert_announcements"], run_ids, event_ids, [now] * len(finished))
        amounts = Counter(one.organization_id for one in finished if one.run.run_id not in uncounted)
        if amounts:
            await connection.fetch(_COUNTERS, sorted(amounts))
            await connection.execute(_SQL["lower_counters"], list(amounts), list(amounts.values()))


def _held(row: Any) -> _Held:
    run = Run(**{name: row[name] for name in _FIELDS})
    return _Held(row["organization_id"], run, run)


def _apply(held: _Held | None, word: Word, now: Any) -> Reply | None:
    if held is None or (word.organization_id and word.organization_id != held.organization_id):
        return None
    before = held.run
    held.run, verdict = decide(before, word.event, now)
    if verdict == Verdict.APPLIED and held.run.is_over and word.outcome is not None:
        held.outcome = word.outcome
    if _leaves_litter(before, held.run, word.event):
        held.is_littered = True
    return Reply(verdict, held.run, held.run.version != before.version)


def _leaves_litter(before: Run, after: Run, event: Event) -> bool:
    """Tell whether an image may lie in the store that is not the run's."""
    if before.is_over:
        is_winner = (
            before.status == pb.STATUS_COMPLETED and isinstance(event, Ending) and event.attempt == before.attempt
        )
        return isinstance(event, Ending) and event.status == pb.STATUS_COMPLETED and not is_winner
    return after.is_over and after.attempt > (1 if after.status == pb.STATUS_COMPLETED else 0)


def _save_columns(changed: Sequence[_Held]) -> list[list[Any]]:
    rows = [
        (
            one.run.run_id,
            one.before.version,
            one.run.status,
            one.run.attempt,
            one.run.handed_back,
            one.run.progress,
            one.run.worker_id,
            one.run.incarnation,
            one.run.lease_until,
            one.run.started_at,
            one.run.finished_at,
            one.run.error_code,
            one.run.error_message,
            one.run.version,
            one.outcome,
        )
        for one in changed
    ]
    return [list(column) for column in zip(*rows, strict=True)]
