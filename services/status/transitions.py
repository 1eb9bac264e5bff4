"""Carries events to the repository in batches, and news of what they did to watchers, workers and the announcer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from imagineo.broker import subjects
from imagineo.broker.port import Broker
from imagineo.jobs.states import Cancellation, Renewal, Verdict
from imagineo.rpc.coalesce import Coalescer
from imagineo.v1 import event_pb2

from services.status.isolation import isolated
from services.status.metrics import StatusMetrics
from services.status.repository.runs import Reply, Runs, Word


class Transitions:
    """Applies events. Renewals go their own way: they need no flush to disk."""

    def __init__(
        self,
        runs: Runs,
        broker: Broker,
        metrics: StatusMetrics | None,
        *,
        changed: Callable[[str], None],
        ended: Callable[[], None],
    ) -> None:
        self._runs, self._broker, self._metrics = runs, broker, metrics
        self._changed, self._ended = changed, ended
        self._durable: Coalescer[Word, Reply | None] = Coalescer(self._flush)
        self._renewals: Coalescer[Word, Reply | None] = Coalescer(self._flush)

    async def apply(self, word: Word) -> Reply | None:
        """Apply one event; None if there is no such run.

        Raises:
            Unavailable: if the database is away; the event may be sent again.
            InvalidParameter: if the database cannot hold what came with the event.
        """
        coalescer = self._renewals if isinstance(word.event, Renewal) else self._durable
        return await coalescer.submit(word)

    async def _flush(self, words: list[Word]) -> Sequence[Reply | Exception | None]:
        replies = await isolated(self._runs.apply, words)
        for word, reply in zip(words, replies, strict=True):
            if reply is None or isinstance(reply, Exception) or not reply.is_changed:
                continue
            self._changed(word.run_id)
            if reply.run.is_over:
                self._ended()
                if self._metrics:
                    self._metrics.end(reply.run.status)
            elif isinstance(word.event, Cancellation) and reply.verdict == Verdict.APPLIED:
                message = event_pb2.CancelRun(run_id=word.run_id)
                await self._broker.emit(subjects.cancel(word.run_id), message.SerializeToString())
        return replies
