"""The way of a submit: authorize, resolve, accept, publish; each in one shared call, all within one time budget.

What stands in the body is checked before anybody is asked, and complained about after: a stranger learns only that
he is one, and a bad body reserves nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from imagineo import errors
from imagineo.deadline import within
from imagineo.ids import new_id
from imagineo.rpc.coalesce import Coalescer
from imagineo.telemetry import logs
from imagineo.v1 import account_pb2, catalog_service_pb2, generation_pb2, generation_service_pb2, job_pb2
from starlette.datastructures import Headers

from services.gateway.accounts import check_models
from services.gateway.authentication import Gatekeeper
from services.gateway.beginning import Beginning, begun
from services.gateway.completion import check_lora_ids, complete, make_job
from services.gateway.exchange import Exchange
from services.gateway.metrics import GatewayMetrics
from services.gateway.peers import Peers
from services.gateway.preferences import Preferences
from services.gateway.publishing import Publisher
from services.gateway.redrawing import Redrawing, redrawn
from services.gateway.replay import OVERTAKEN, earlier_acceptance
from services.gateway.resolution import Resolver
from services.gateway.retraction import Retraction
from services.gateway.submission import Wanted

#: A refusal is answered within 3 s whatever is frozen; this leaves the rest of it to the network and the loop.
BUDGET_S: Final = 2.5

_SEED_BITS: Final = 53


@dataclass(frozen=True, slots=True)
class Request:
    """A submit that is well-formed as far as can be told without knowing its model."""

    wanted: Wanted
    preferences: Preferences
    body: bytes
    beginning: Beginning | None = None
    """The picture that it begins from; None: it begins from noise."""
    redrawing: Redrawing | None = None
    """The run that it draws again, to the last parameter; None: it is a run of its own."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the client is told of its run."""

    run_id: str
    seed: int
    estimated_time_s: int


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a submit would draw, and how long it would take."""

    parameters: generation_pb2.Parameters
    resolved: catalog_service_pb2.ResolveResponse
    estimated_time_s: int


class Admission:
    """Takes submits in.

    Args:
        now_s: Unix time in seconds.
    """

    def __init__(
        self,
        peers: Peers,
        gatekeeper: Gatekeeper,
        resolver: Resolver,
        publisher: Publisher,
        retraction: Retraction,
        metrics: GatewayMetrics,
        now_s: Callable[[], float],
    ) -> None:
        self._peers = peers
        self._gatekeeper = gatekeeper
        self._resolver = resolver
        self._publisher = publisher
        self._retraction = retraction
        self._metrics = metrics
        self._now_s = now_s
        self._submissions: Coalescer[generation_service_pb2.Submission, generation_service_pb2.Acceptance] = Coalescer(
            self._accept
        )

    async def submit(self, headers: Headers, exchange: Exchange, request: Request | errors.Refused) -> Accepted:
        """Accept one run durably, and publish its job if the stream can be reached.

        Args:
            headers: of the HTTP request; they hold the API key.
            exchange: gets principal, rate limit and run id.
            request: what is asked for, or what is wrong with it.

        Raises:
            Refused: the client's fault; nothing is stored, charged or queued.
            Unavailable: within `BUDGET_S`; nothing is stored or charged, or it will be undone.
        """
        run_id = new_id("gen")
        logs.note(run_id=run_id)
        deadline_s = asyncio.get_running_loop().time() + BUDGET_S
        try:
            acceptance = await self._submit(run_id, headers, exchange, request, deadline_s)
        except OVERTAKEN as refusal:
            acceptance = await self._earlier(exchange, request, refusal, deadline_s)
        exchange.run_id = acceptance.run_id
        logs.note(run_id=acceptance.run_id)
        return Accepted(acceptance.run_id, acceptance.seed, acceptance.estimated_time_s)

    async def rehearse(self, headers: Headers, exchange: Exchange, request: Request) -> Rehearsed:
        """Everything that comes before the acceptance, without a reservation; it counts one request.

        Raises:
            Refused: as `submit`, but for the limits on images and unfinished runs, which are not looked at.
            Unavailable: within `BUDGET_S`.
        """
        principal = await self._gatekeeper.admit(headers, exchange, account_pb2.PERMISSION_GENERATIONS_WRITE)
        return await self.rehearsed(principal, exchange, request)

    async def rehearsed(self, principal: account_pb2.Principal, exchange: Exchange, request: Request) -> Rehearsed:
        """The same for a principal who was let in.

        Raises:
            Refused, Unavailable: as `rehearse`.
        """
        run_id = new_id("gen")
        async with within(BUDGET_S):
            parameters, resolved = await self._complete(principal, request)
            job = self._job(run_id, principal, parameters, resolved, request, exchange)
            asked = generation_service_pb2.EstimateRunRequest(job=job)
            estimate = await self._peers.ask(self._peers.status.EstimateRun, asked)
        return Rehearsed(parameters, resolved, estimate.estimated_time_s)

    async def _submit(
        self, run_id: str, headers: Headers, exchange: Exchange, request: Request | errors.Refused, deadline_s: float
    ) -> generation_service_pb2.Acceptance:
        reserve = "" if isinstance(request, errors.Refused) else run_id
        try:
            principal = await self._gatekeeper.admit(
                headers, exchange, account_pb2.PERMISSION_GENERATIONS_WRITE, reserve_run_id=reserve
            )
        except errors.Unavailable:
            if reserve:  # auth may have reserved without being heard
                self._retraction.release(run_id)
            raise
        if isinstance(request, errors.Refused):
            raise request
        submission = await self._prepare(run_id, principal, request, exchange, deadline_s)
        acceptance = await self._accept_one(submission, deadline_s)
        if acceptance.run_id != run_id:
            self._retraction.release(run_id)
        elif not acceptance.replayed:
            await self._publisher.publish(submission.job)
        return acceptance

    async def _earlier(
        self, exchange: Exchange, request: Request | errors.Refused, refusal: errors.Refused, deadline_s: float
    ) -> generation_service_pb2.Acceptance:
        """The answer that the request was given before, if it was; else its refusal is raised."""
        if isinstance(request, errors.Refused) or exchange.principal is None or not request.preferences.idempotency_key:
            raise refusal
        try:
            async with asyncio.timeout_at(deadline_s):
                acceptance = await earlier_acceptance(
                    self._peers, exchange.principal.organization_id, request.preferences.idempotency_key, request.body
                )
        except TimeoutError as problem:
            raise errors.Unavailable from problem
        if acceptance is None:
            raise refusal
        return acceptance

    async def _prepare(
        self, run_id: str, principal: account_pb2.Principal, request: Request, exchange: Exchange, deadline_s: float
    ) -> generation_service_pb2.Submission:
        """Everything between the reservation and the acceptance; whatever fails here gives the image back."""
        try:
            return await self.prepared(run_id, principal, request, exchange, deadline_s)
        except BaseException:
            self._retraction.release(run_id)
            raise

    async def prepared(
        self, run_id: str, principal: account_pb2.Principal, request: Request, exchange: Exchange, deadline_s: float
    ) -> generation_service_pb2.Submission:
        """A run as it will be submitted, its model resolved and its defaults filled in; nothing is stored.

        Raises:
            Refused: as `submit`.
            Unavailable: at the latest at `deadline_s` of the loop's clock.
        """
        wanted, preferences = request.wanted, request.preferences
        try:
            async with asyncio.timeout_at(deadline_s):
                parameters, resolved = await self._complete(principal, request)
        except TimeoutError as problem:
            raise errors.Unavailable from problem
        return generation_service_pb2.Submission(
            job=self._job(run_id, principal, parameters, resolved, request, exchange),
            key_id=principal.key_id,
            metadata=wanted.metadata,
            idempotency_key=preferences.idempotency_key,
            body_sha256=hashlib.sha256(request.body).digest(),
            queued_runs_limit=principal.limits.queued_runs,
            webhook_url=wanted.webhook_url,
        )

    async def _complete(
        self, principal: account_pb2.Principal, request: Request
    ) -> tuple[generation_pb2.Parameters, catalog_service_pb2.ResolveResponse]:
        wanted = request.wanted
        check_lora_ids(wanted)
        asked = {f"loras[{index}].model_id": lora.model_id for index, lora in enumerate(wanted.loras)}
        model_id = wanted.model_id if request.beginning is None else request.beginning.model_id(wanted)
        check_models(principal, {"model_id": model_id, **asked})
        extra_model_ids = tuple(lora.model_id for lora in wanted.loras)
        resolved = await self._resolver.resolve(principal.organization_id, wanted.model_id, extra_model_ids)
        chosen_seed = secrets.randbits(_SEED_BITS)
        if request.redrawing is not None:
            return redrawn(request.redrawing, resolved), resolved
        if request.beginning is None:
            return complete(wanted, resolved, chosen_seed=chosen_seed), resolved
        return begun(wanted, request.beginning, resolved, chosen_seed=chosen_seed), resolved

    def _job(
        self,
        run_id: str,
        principal: account_pb2.Principal,
        parameters: generation_pb2.Parameters,
        resolved: catalog_service_pb2.ResolveResponse,
        request: Request,
        exchange: Exchange,
    ) -> job_pb2.Job:
        job = make_job(
            run_id,
            principal,
            parameters,
            resolved,
            accepted_at_s=self._now_s(),
            cancel_after_s=request.preferences.cancel_after_s,
            request_id=exchange.request_id,
        )
        if request.redrawing is not None:
            job.replay.CopyFrom(request.redrawing.replay)
        return job

    async def _accept_one(
        self, submission: generation_service_pb2.Submission, deadline_s: float
    ) -> generation_service_pb2.Acceptance:
        try:
            async with asyncio.timeout_at(deadline_s):
                acceptance = await self._submissions.submit(submission)
            if acceptance.HasField("error"):
                raise errors.from_detail(acceptance.error)
        except errors.Refused:
            self._retraction.release(submission.job.run_id)
            raise
        except (TimeoutError, asyncio.CancelledError, errors.ImagineoError) as problem:
            # Nobody knows whether it was stored: a lost answer looks like a lost question.
            job = submission.job
            keep = bool(submission.idempotency_key)
            self._retraction.retract(job.organization_id, job.run_id, keep_if_accepted=keep)
            if isinstance(problem, TimeoutError):
                raise errors.Unavailable from problem
            raise
        return acceptance

    async def _accept(
        self, submissions: list[generation_service_pb2.Submission]
    ) -> Sequence[generation_service_pb2.Acceptance]:
        self._metrics.batched("accept", len(submissions))
        request = generation_service_pb2.AcceptRequest(submissions=submissions)
        answer = await self._peers.ask(self._peers.status.Accept, request)
        if len(answer.acceptances) != len(submissions):
            raise errors.Internal("status answered another number of acceptances than submissions")
        return list(answer.acceptances)
