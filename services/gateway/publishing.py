"""Puts accepted jobs into the stream. It never fails a request: the relay in `status` sends what this leaves out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from imagineo import errors
from imagineo.broker import subjects
from imagineo.broker.port import Broker
from imagineo.rpc.coalesce import Coalescer
from imagineo.v1 import generation_service_pb2, job_pb2

from services.gateway.background import Background
from services.gateway.metrics import GatewayMetrics
from services.gateway.peers import Peers

log = logging.getLogger(__name__)

#: After a failed publish the stream is left alone for so long, so that a frozen broker costs each second one wait.
PAUSE_S: Final = 1.0

#: Publications are noted together, well before the relay would look for them after 3 s.
MARK_LINGER_S: Final = 0.1


class Publisher:
    """Publishes jobs with acknowledgement, and tells `status` about it aside.

    Args:
        clock_s: monotonic seconds.
    """

    def __init__(
        self,
        broker: Broker,
        peers: Peers,
        background: Background,
        metrics: GatewayMetrics,
        clock_s: Callable[[], float],
    ) -> None:
        self._broker = broker
        self._peers = peers
        self._background = background
        self._metrics = metrics
        self._clock_s = clock_s
        self._paused_until_s = float("-inf")
        self._marks: Coalescer[generation_service_pb2.Published, None] = Coalescer(
            self._mark_published, max_items=512, max_in_flight=1, linger_s=MARK_LINGER_S
        )

    async def publish(self, job: job_pb2.Job) -> bool:
        """Publish one accepted job; False: it is left to the relay."""
        if not self._broker.connected or self._clock_s() < self._paused_until_s:
            self._metrics.publish_failures.inc()
            return False
        subject = subjects.job(job.base_model_slug, job.lane)
        try:
            sequence = await self._broker.publish_job(subject, job.SerializeToString(), message_id=job.run_id)
        except errors.ImagineoError as problem:
            self._paused_until_s = self._clock_s() + PAUSE_S
            self._metrics.publish_failures.inc()
            log.warning("a job is left to the relay", extra={"run_id": job.run_id, "problem": str(problem)})
            return False
        self._background.start(self._mark(job.run_id, sequence))
        return True

    async def _mark(self, run_id: str, sequence: int) -> None:
        try:
            await self._marks.submit(generation_service_pb2.Published(run_id=run_id, stream_sequence=sequence))
        except errors.ImagineoError as problem:
            # The relay publishes it once more; the stream and the claim drop the duplicate.
            log.info("a publication was not noted", extra={"run_id": run_id, "problem": str(problem)})

    async def _mark_published(self, published: list[generation_service_pb2.Published]) -> Sequence[None]:
        self._metrics.batched("mark_published", len(published))
        request = generation_service_pb2.MarkPublishedRequest(published=published)
        await self._peers.ask(self._peers.status.MarkPublished, request)
        return [None] * len(published)
