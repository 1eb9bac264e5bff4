"""Translates GenerationService: messages in, domain calls, messages out. Names and comments are the protocol's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from imagineo import errors, page_token
from imagineo.jobs.states import LEASE, Cancellation, Claim, Renewal, Verdict
from imagineo.rpc.coalesce import Coalescer
from imagineo.v1 import generation_pb2
from imagineo.v1 import generation_service_pb2 as pb
from imagineo.v1 import generation_service_pb2_grpc as grpc
from imagineo.wire.times import moment

from services.status.admission import Answer, Candidate, check, replay
from services.status.eraser import Eraser
from services.status.isolation import isolated
from services.status.metrics import StatusMetrics
from services.status.queues import Queues
from services.status.reader import Reader, absent
from services.status.repository.dispatch import Dispatch
from services.status.repository.listing import Filters, Listing
from services.status.repository.runs import Reply, Word
from services.status.repository.submissions import Submissions
from services.status.transitions import Transitions
from services.status.watch import Watch

log = logging.getLogger(__name__)

_CLAIM_VERDICTS = {
    Verdict.GRANTED: pb.CLAIM_VERDICT_GRANTED,
    Verdict.HELD: pb.CLAIM_VERDICT_HELD,
    Verdict.OVER: pb.CLAIM_VERDICT_OVER,
}
_LEASE_VERDICTS = {
    Verdict.KEPT: pb.LEASE_VERDICT_KEPT,
    Verdict.CANCEL: pb.LEASE_VERDICT_CANCEL,
    Verdict.LOST: pb.LEASE_VERDICT_LOST,
}
#: A held run is asked for again soon after its lease may have ended.
_RETRY = timedelta(seconds=1)
_LAST_ID = "gen_~"


class GenerationServicer(grpc.GenerationServiceServicer):
    """Answers the RPCs."""

    def __init__(
        self,
        submissions: Submissions,
        dispatch: Dispatch,
        listing: Listing,
        transitions: Transitions,
        reader: Reader,
        watch: Watch,
        queues: Queues,
        eraser: Eraser,
        metrics: StatusMetrics | None,
    ) -> None:
        self._submissions, self._dispatch, self._listing = submissions, dispatch, listing
        self._transitions, self._reader, self._watch = transitions, reader, watch
        self._queues, self._eraser, self._metrics = queues, eraser, metrics
        self._acceptances: Coalescer[Candidate, pb.Acceptance] = Coalescer(self._flush)

    async def Accept(self, request: pb.AcceptRequest, context: Any) -> pb.AcceptResponse:  # noqa: N802, ARG002
        """Make runs durable."""
        _bound("submissions", len(request.submissions), 256)
        return pb.AcceptResponse(acceptances=await asyncio.gather(*map(self._submit, request.submissions)))

    async def AcceptTogether(self, request: pb.AcceptTogetherRequest, context: Any) -> pb.AcceptTogetherResponse:  # noqa: N802, ARG002
        """Make runs durable, all or none."""
        submissions = list(request.submissions)
        _bound("submissions", len(submissions), 1000)
        if len({submission.job.organization_id for submission in submissions}) != 1:
            raise errors.InvalidParameter.of("submissions", "runs of one organization, and not empty")
        if len({bool(submission.idempotency_key) for submission in submissions}) != 1:
            raise errors.InvalidParameter.of("idempotency_key", "given for all of them or for none")
        now = datetime.now(UTC)
        for submission in submissions:
            check(submission, now)
        estimates = self._queues.estimates_s([submission.job for submission in submissions])
        candidates = [Candidate(*pair) for pair in zip(submissions, estimates, strict=True)]
        answers, admitted = await self._submissions.accept_together(candidates)
        self._admitted(admitted)
        return pb.AcceptTogetherResponse(acceptances=answers)

    async def FindAcceptance(self, request: pb.FindAcceptanceRequest, context: Any) -> pb.FindAcceptanceResponse:  # noqa: N802, ARG002
        """Answer a key again without its submission."""
        key = (request.organization_id, request.idempotency_key)
        first = None if "\0" in "".join(key) else await self._submissions.find(key)
        if first is None:
            raise errors.NotFound("The idempotency key was not used before.")
        answer = replay(first, request.body_sha256)
        if isinstance(answer, errors.ImagineoError):
            raise answer
        return pb.FindAcceptanceResponse(acceptance=answer)

    async def CountUnfinished(self, request: pb.CountUnfinishedRequest, context: Any) -> pb.CountUnfinishedResponse:  # noqa: N802, ARG002
        """Count as Accept does."""
        if "\0" in request.organization_id:
            return pb.CountUnfinishedResponse()
        count = await self._listing.count_unfinished(request.organization_id)
        return pb.CountUnfinishedResponse(unfinished_count=count)

    async def EstimateRun(self, request: pb.EstimateRunRequest, context: Any) -> pb.EstimateRunResponse:  # noqa: N802, ARG002
        """Estimate as Accept does."""
        return pb.EstimateRunResponse(estimated_time_s=self._queues.estimate_s(request.job))

    async def MarkPublished(self, request: pb.MarkPublishedRequest, context: Any) -> pb.MarkPublishedResponse:  # noqa: N802, ARG002
        """Note what the stream has."""
        _bound("published", len(request.published), 1000)
        published = [(one.run_id, one.stream_sequence) for one in request.published if "\0" not in one.run_id]
        if published:
            await self._dispatch.mark_published(published)
        return pb.MarkPublishedResponse()

    async def GetGeneration(self, request: pb.GetGenerationRequest, context: Any) -> pb.GetGenerationResponse:  # noqa: N802, ARG002
        """Read one run."""
        return pb.GetGenerationResponse(generation=await self._reader.one(request.organization_id, request.run_id))

    async def ListGenerations(self, request: pb.ListGenerationsRequest, context: Any) -> pb.ListGenerationsResponse:  # noqa: N802, ARG002
        """List a page."""
        if not 0 <= request.page_size <= 100:
            raise errors.InvalidParameter.of("page_size", "between 1 and 100")
        size, organization_id = request.page_size or 20, request.organization_id
        if "\0" in organization_id + request.model_id + request.batch_id:
            return pb.ListGenerationsResponse()
        before = page_token.decode(organization_id, request.page_token, "gen") if request.page_token else _LAST_ID
        run_ids = await self._listing.page(organization_id, before, _filters(request), size + 1)
        found = await self._reader.many(run_ids[:size]) if run_ids else {}
        more = page_token.encode(organization_id, run_ids[size - 1]) if len(run_ids) > size else ""
        generations = [found[run_id] for run_id in run_ids[:size] if run_id in found]
        return pb.ListGenerationsResponse(generations=generations, next_page_token=more)

    async def WatchGeneration(  # noqa: N802
        self,
        request: pb.WatchGenerationRequest,
        context: Any,  # noqa: ARG002
    ) -> AsyncIterator[pb.WatchGenerationResponse]:
        """Send the run and its changes."""
        await self._reader.one(request.organization_id, request.run_id)
        async for generation in self._watch.watch(request.run_id):
            yield pb.WatchGenerationResponse(generation=generation)

    async def CancelGeneration(self, request: pb.CancelGenerationRequest, context: Any) -> pb.CancelGenerationResponse:  # noqa: N802, ARG002
        """Stop a run."""
        word = Word(request.run_id, Cancellation(), organization_id=request.organization_id)
        if "\0" in request.run_id or await self._transitions.apply(word) is None:
            raise absent(request.run_id)
        return pb.CancelGenerationResponse(generation=await self._reader.one(request.organization_id, request.run_id))

    async def DeleteGeneration(self, request: pb.DeleteGenerationRequest, context: Any) -> pb.DeleteGenerationResponse:  # noqa: N802, ARG002
        """Erase a run for good."""
        if not await self._eraser.delete(request.organization_id, request.run_id):
            raise absent(request.run_id)
        self._watch.changed(request.run_id)
        return pb.DeleteGenerationResponse()

    async def GetProvenance(self, request: pb.GetProvenanceRequest, context: Any) -> pb.GetProvenanceResponse:  # noqa: N802, ARG002
        """Say how a picture came about."""
        generation = await self._reader.one(request.organization_id, request.run_id)
        if generation.status != generation_pb2.STATUS_COMPLETED:
            raise errors.FailedPrecondition("The generation is not completed.", metadata={"run_id": request.run_id})
        provenance = await self._reader.provenance(request.run_id)
        return pb.GetProvenanceResponse(generation=generation, provenance=provenance)

    async def ListQueues(self, request: pb.ListQueuesRequest, context: Any) -> pb.ListQueuesResponse:  # noqa: N802, ARG002
        """Tell what waits."""
        lengths = self._queues.lengths()
        return pb.ListQueuesResponse(
            queues=[
                pb.QueueLength(base_model_slug=slug, lane=lane, waiting_count=count) for slug, lane, count in lengths
            ]
        )

    async def GetStatuses(self, request: pb.GetStatusesRequest, context: Any) -> pb.GetStatusesResponse:  # noqa: N802, ARG002
        """Say where runs stand."""
        _bound("run_ids", len(request.run_ids), 1000)
        statuses: Any = await self._listing.statuses([run_id for run_id in request.run_ids if "\0" not in run_id])
        return pb.GetStatusesResponse(statuses=statuses)

    async def Claim(self, request: pb.ClaimRequest, context: Any) -> pb.ClaimResponse:  # noqa: N802, ARG002
        """Give a run to a worker."""
        if not request.worker_id or not request.incarnation or "\0" in request.worker_id + request.incarnation:
            raise errors.InvalidParameter.of("worker_id", "given, as incarnation must be")
        if "\0" in request.run_id:
            return pb.ClaimResponse(verdict=pb.CLAIM_VERDICT_UNKNOWN)
        reply = await self._transitions.apply(Word(request.run_id, Claim(request.worker_id, request.incarnation)))
        if reply is None:
            return pb.ClaimResponse(verdict=pb.CLAIM_VERDICT_UNKNOWN)
        response = pb.ClaimResponse(verdict=_CLAIM_VERDICTS[reply.verdict])
        if reply.verdict == Verdict.GRANTED:
            response.attempt = reply.run.attempt
            response.lease.CopyFrom(_duration(LEASE))
        elif reply.verdict == Verdict.HELD:
            response.retry_after.CopyFrom(_duration(_RETRY))
        return response

    async def RenewLeases(self, request: pb.RenewLeasesRequest, context: Any) -> pb.RenewLeasesResponse:  # noqa: N802, ARG002
        """Keep claims alive."""
        _bound("leases", len(request.leases), 1000)
        renewals = (self._renew(request.worker_id, lease) for lease in request.leases)
        return pb.RenewLeasesResponse(verdicts=await asyncio.gather(*renewals))

    async def _renew(self, worker_id: str, lease: pb.Lease) -> pb.LeaseVerdict.ValueType:
        if "\0" in lease.run_id:
            return pb.LEASE_VERDICT_LOST
        reply: Reply | None = await self._transitions.apply(Word(lease.run_id, Renewal(worker_id, lease.attempt)))
        return pb.LEASE_VERDICT_LOST if reply is None else _LEASE_VERDICTS[reply.verdict]

    async def _submit(self, submission: pb.Submission) -> pb.Acceptance:
        try:
            check(submission, datetime.now(UTC))
            candidate = Candidate(submission, self._queues.estimate_s(submission.job))
            return await self._acceptances.submit(candidate)
        except errors.ImagineoError as problem:  # `Unavailable` too: another batch's flush is none of its list mates'
            return pb.Acceptance(error=problem.detail())
        except Exception:
            log.exception("a submission could not be accepted", extra={"run_id": submission.job.run_id})
            return pb.Acceptance(error=errors.Internal().detail())

    async def _flush(self, candidates: list[Candidate]) -> Sequence[pb.Acceptance | Exception]:
        return await isolated(self._accept, candidates)

    async def _accept(self, candidates: Sequence[Candidate]) -> list[Answer]:
        answers, admitted = await self._submissions.accept(candidates)
        self._admitted(admitted)
        return answers

    def _admitted(self, admitted: Sequence[Candidate]) -> None:
        for candidate in admitted:
            self._queues.add(candidate.submission.job)
        if self._metrics:
            self._metrics.accepted.inc(len(admitted))


def _filters(request: pb.ListGenerationsRequest) -> Filters:
    return Filters(
        statuses=list(request.statuses) or None,
        model_id=request.model_id or None,
        created_after=_moment("created_after", request.created_after) if request.HasField("created_after") else None,
        created_before=_moment("created_before", request.created_before)
        if request.HasField("created_before")
        else None,
        batch_id=request.batch_id,
    )


def _moment(name: str, stamp: Timestamp) -> datetime:
    try:
        return moment(stamp)
    except (ValueError, OverflowError) as problem:
        raise errors.InvalidParameter.of(name, "a moment of the years 1 to 9999") from problem


def _bound(param: str, count: int, limit: int) -> None:
    if count > limit:
        raise errors.InvalidParameter.of(param, f"at most {limit} items")


def _duration(delta: timedelta) -> Duration:
    duration = Duration()
    duration.FromTimedelta(delta)
    return duration
