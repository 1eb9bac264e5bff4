"""One run from its delivery to its ack. Each step is safe to die in: kill -9 at any line loses nothing.

pass on    Once, to a worker that holds the LoRAs: the delivery is handed back untouched.
claim      Dead before it: the delivery comes again after its ack wait. Dead after it: the same; the next worker's claim
           waits for the lease (8 s), this place's restarted worker takes over at once, under the next attempt.
fetch      Leaves a draft file, swept at the next start.
draw       Leaves nothing; on an ordered end, the state of the run, for whoever claims it next.
upload     Atomic in the store, under the attempt's own key: a dead attempt leaves at most an unnamed image.
outcome    Durable when published. Dead before: drawn again. Dead after: status makes the run terminal by it; the
           delivery comes again, and its claim answers OVER.
ack        Only once the outcome is durable. A lost ack: the same as dead after the outcome.

A job can come twice while its run is in hand: a worker that was frozen is delivered its own job again, and the relay
sends one anew. Status would grant such a claim to its own holder, so the second delivery is turned away before it asks.

An outcome is published until the broker takes it, with the attempt as its fencing token: what a worker says that lost
its lease meanwhile is dropped by status. A run is handed back by the outcome QUEUED first and the nak second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from google.protobuf.message import DecodeError
from imagineo.blobs.port import Blobs
from imagineo.broker.port import Broker, Delivery
from imagineo.errors import ImagineoError, NotFound, Unavailable
from imagineo.jobs.estimate import work_of
from imagineo.telemetry import tracing
from imagineo.telemetry.logs import bind
from imagineo.v1 import generation_pb2, job_pb2
from imagineo.v1 import generation_service_pb2 as generations

from services.worker import metrics, outcome, results
from services.worker.affinity import Affinity
from services.worker.drawing import Drawing
from services.worker.drawing_trace import DrawingTrace
from services.worker.engine.base import DrawResult, DrawStopped, Progress, StopReason
from services.worker.hand_backs import HandBacks
from services.worker.job_trace import continued
from services.worker.lease import LeaseKeeper
from services.worker.likeness import compare
from services.worker.outcome import Ending, Settle
from services.worker.outcome_message import RunInHand, outcome_message
from services.worker.previews import Previews
from services.worker.progress import ProgressTeller
from services.worker.provenance import Maker, note
from services.worker.settling import publish_outcome, settle
from services.worker.speed import Speed
from services.worker.stages import timed
from services.worker.warm_models import WarmModels

log = logging.getLogger(__name__)


class Lifecycle:
    """Works on deliveries; any number of `run` calls may be awaited side by side."""

    def __init__(
        self,
        *,
        broker: Broker,
        blobs: Blobs,
        leases: LeaseKeeper,
        drawing: Drawing,
        affinity: Affinity,
        maker: Callable[[job_pb2.Job], Maker],
        models: WarmModels,
        worker_id: str,
    ) -> None:
        self._broker = broker
        self._blobs = blobs
        self._leases = leases
        self._drawing = drawing
        self._affinity = affinity
        self._maker = maker
        self._hand_backs = HandBacks(blobs)
        self._worker_id = worker_id
        self._in_hand: set[str] = set()
        self.models = models
        self.previews = Previews(broker)
        self.speed = Speed()

    async def run(self, delivery: Delivery, *, on_drawn: Callable[[], None]) -> Ending:
        """See one delivery to its end; `on_drawn` is called as soon as the device is free for another run."""
        try:
            job = job_pb2.Job.FromString(delivery.body)
        except DecodeError:
            job = job_pb2.Job()
        if not job.run_id or not job.base_model_slug:
            log.error("what was delivered on %s is not a job", delivery.subject)
            return await settle(delivery, outcome.NOT_A_JOB)
        with bind(run_id=job.run_id, request_id=job.request_id, org_id=job.organization_id), continued(job, delivery):
            if job.run_id in self._in_hand:
                log.info("the run was delivered again while it is in hand")
                return await settle(delivery, outcome.IN_HAND)
            self._in_hand.add(job.run_id)
            try:
                return await self._taken(job, delivery, on_drawn)
            finally:
                self._in_hand.discard(job.run_id)

    async def _taken(self, job: job_pb2.Job, delivery: Delivery, on_drawn: Callable[[], None]) -> Ending:
        accepted_s = job.accepted_at.ToMilliseconds() / 1000
        waited_s = time.time() - accepted_s
        tracing.record("queue", accepted_s, time.time())
        metrics.STAGE_SECONDS.labels("queue").observe(max(0.0, waited_s))
        self.models.note(job.adapters)
        with contextlib.suppress(Unavailable):
            if await self._affinity.passed_on(job, delivery):
                return await settle(delivery, outcome.PASSED_ON)
        async with self._drawing.prefetching(job):
            ending = await self._claimed(job, delivery, on_drawn)
        tracing.note({"imagineo.ending": ending.name})
        if ending.error_code:
            tracing.fail(ending.error_code)
        log.info("run %s", ending.name, extra={"error_code": ending.error_code})
        return ending

    async def _claimed(self, job: job_pb2.Job, delivery: Delivery, on_drawn: Callable[[], None]) -> Ending:
        try:
            with timed("claim"):
                claim = await self._leases.claim(job.run_id)
        except ImagineoError as problem:
            log.warning("claim unanswered: %s", problem)
            return await settle(delivery, outcome.CLAIM_UNANSWERED)
        match claim.verdict:
            case generations.CLAIM_VERDICT_GRANTED:
                pass
            case generations.CLAIM_VERDICT_HELD:
                return await settle(delivery, outcome.claim_held(claim.retry_after.ToMilliseconds() / 1000))
            case generations.CLAIM_VERDICT_OVER | generations.CLAIM_VERDICT_UNKNOWN:
                await self._hand_backs.delete(job)
                return await settle(delivery, outcome.CLAIM_OVER)
            case _:
                return await settle(delivery, outcome.CLAIM_UNANSWERED)
        run = RunInHand(job, delivery, claim.attempt)
        with self._leases.hold(job.run_id, claim.attempt, delivery, run.stop), metrics.RUNNING.track_inprogress():
            ending = await self._draw_and_store(run, on_drawn)
            if ending.status is not None and not await self._tell(run, ending, ending.status):
                ending = outcome.LOST
            if run.attempt > 1 and ending.settle is Settle.ACK:
                await self._hand_backs.delete(job)
            return await settle(delivery, ending)

    async def _draw_and_store(self, run: RunInHand, on_drawn: Callable[[], None]) -> Ending:
        try:
            drawn = await self._draw(run)
            on_drawn()
            run.drawn = drawn
            if run.stop.reason in (StopReason.CANCELED, StopReason.LOST):
                raise DrawStopped  # noqa: TRY301 - the same branch as a stop while drawing
            with timed("encode"):
                text = "" if run.job.omit_provenance else note(run.job)
                encoded = await asyncio.to_thread(results.encode, drawn, run.job.parameters.output_format, text)
            if run.job.HasField("replay"):
                run.replay = await self._compared(run.job.replay, drawn)
            with timed("upload"):
                run.image = await results.store(
                    self._blobs, run.job, run.attempt, drawn, encoded, is_wanted=lambda: run.stop.reason is None
                )
        except Exception as problem:
            if isinstance(problem, DrawStopped) and problem.state is not None:
                await self._hand_backs.save(run.job, problem.state)
            ending = outcome.of_problem(problem, run.stop.reason)
            if ending.error_code == "internal_error":
                log.exception("the run failed unexpectedly")
            return ending
        return outcome.COMPLETED

    async def _compared(self, replay: generation_pb2.Replay, drawn: DrawResult) -> generation_pb2.Replay:
        """Say how near the picture is to the one that it draws again; nothing, where that one is out of reach."""
        first: bytes | None = None
        with contextlib.suppress(NotFound, Unavailable):
            first = await self._blobs.get(replay.image.store_key)
        return await asyncio.to_thread(compare, replay, first, drawn)

    async def _draw(self, run: RunInHand) -> DrawResult:
        parameters = run.job.parameters
        # A first attempt has nothing before it.
        state = await self._hand_backs.load(run.job) if run.attempt > 1 else None
        teller = ProgressTeller(self._broker, run.job.run_id, run.attempt)
        self.speed.begin(time.monotonic())
        work = device_s = 0.0
        trace = DrawingTrace() if tracing.is_on() else None
        try:
            with self.previews.of(run.job.run_id, run.attempt) as show:

                def on_progress(progress: Progress) -> None:
                    if trace:
                        trace.note(progress)
                    teller(progress)
                    show(progress)

                drawn = await self._drawing.draw(run.job, stop=run.stop, on_progress=on_progress, resume=state)
            if trace:
                trace.tell(drawn.stage_s)
            if state is None:
                work, device_s = work_of(parameters), drawn.device_s - drawn.stage_s.get("load", 0.0)
        finally:
            self.speed.end(time.monotonic(), work=work, device_s=device_s)
        return drawn

    async def _tell(self, run: RunInHand, ending: Ending, status: generation_pb2.Status.ValueType) -> bool:
        """Publish the outcome until it is taken; False if the lease was lost before."""
        message = outcome_message(run, ending, status, worker_id=self._worker_id, maker=self._maker(run.job))
        with timed("tell"):
            return await publish_outcome(self._broker, message, is_lost=lambda: run.stop.reason is StopReason.LOST)
