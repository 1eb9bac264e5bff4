"""Submits of several runs as one request: one authorization with all reservations, one acceptance, all or none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from imagineo import errors
from imagineo.deadline import within
from imagineo.ids import new_id
from imagineo.v1 import account_pb2, generation_service_pb2
from starlette.datastructures import Headers

from services.gateway.admission import BUDGET_S, Accepted, Admission, Rehearsed, Request
from services.gateway.authentication import Gatekeeper
from services.gateway.exchange import Exchange
from services.gateway.peers import Peers
from services.gateway.preferences import Preferences
from services.gateway.publishing import Publisher
from services.gateway.replay import earlier_acceptance, keys_of
from services.gateway.retraction import Retraction

Acceptance = generation_service_pb2.Acceptance
Submission = generation_service_pb2.Submission


@dataclass(frozen=True, slots=True)
class Several:
    """Runs of one request that need something looked up before they are known."""

    count: int
    preferences: Preferences
    body: bytes
    make: Callable[[account_pb2.Principal], Awaitable[Sequence[Request]]]
    """Gives as many requests as `count`, once it is known who asks; it bounds its own time."""
    undo: Callable[[], Awaitable[None]] | None = None
    """Takes back what `make` left, where nothing is accepted of it."""


def several_of(requests: Sequence[Request]) -> Several:
    """Runs that are known already, without an idempotency key."""

    async def make(_principal: account_pb2.Principal) -> Sequence[Request]:
        return requests

    return Several(len(requests), Preferences(), b"", make)


class Together:
    """Takes such submits in."""

    def __init__(
        self,
        peers: Peers,
        gatekeeper: Gatekeeper,
        admission: Admission,
        publisher: Publisher,
        retraction: Retraction,
    ) -> None:
        self._peers = peers
        self._gatekeeper = gatekeeper
        self._admission = admission
        self._publisher = publisher
        self._retraction = retraction

    async def submit(self, headers: Headers, exchange: Exchange, several: Several | errors.Refused) -> list[Accepted]:
        """Accept all runs or none, in their order.

        Args:
            headers: of the HTTP request; they hold the API key.
            exchange: gets principal, rate limit and the first run's id.
            several: what is asked for, or what is wrong with it.

        Raises:
            Refused: the client's fault, or what `make` raises; nothing is stored, charged or queued.
            Unavailable: nothing is stored or charged, or it will be undone.
        """
        if isinstance(several, errors.Refused):
            await self._gatekeeper.admit(headers, exchange, account_pb2.PERMISSION_GENERATIONS_WRITE)
            raise several
        run_ids = [new_id("gen") for _ in range(several.count)]
        acceptances: Sequence[Acceptance] | None
        try:
            principal = await self._gatekeeper.admit(
                headers,
                exchange,
                account_pb2.PERMISSION_GENERATIONS_WRITE,
                reserve_run_id=run_ids[0],
                more_run_ids=run_ids[1:],
            )
        except errors.Unavailable:
            self._release(run_ids)  # auth may have reserved without being heard
            raise
        except errors.QuotaExceeded:
            self._release(run_ids)
            acceptances = await self._earlier(exchange, several)
            if acceptances is None:
                raise
        else:
            acceptances = await self._submit(run_ids, principal, exchange, several)
        exchange.run_id = acceptances[0].run_id
        return [Accepted(one.run_id, one.seed, one.estimated_time_s) for one in acceptances]

    async def rehearse(self, headers: Headers, exchange: Exchange, several: Several) -> Rehearsed:
        """What would become of the first of them; what `make` looks up is looked up.

        Raises:
            Refused, Unavailable: as `Admission.rehearse`.
        """
        principal = await self._gatekeeper.admit(headers, exchange, account_pb2.PERMISSION_GENERATIONS_WRITE)
        requests = await several.make(principal)
        return await self._admission.rehearsed(principal, exchange, requests[0])

    async def _submit(
        self, run_ids: Sequence[str], principal: account_pb2.Principal, exchange: Exchange, several: Several
    ) -> Sequence[Acceptance]:
        try:
            earlier = await self._earlier(exchange, several)
            if earlier is None:
                requests = await several.make(principal)
                deadline_s = asyncio.get_running_loop().time() + BUDGET_S
                submissions = [
                    await self._admission.prepared(run_id, principal, request, exchange, deadline_s)
                    for run_id, request in zip(run_ids, requests, strict=True)
                ]
        except BaseException:
            self._release(run_ids)
            await _undo(several)
            raise
        if earlier is not None:
            self._release(run_ids)
            return earlier
        try:
            acceptances = await self._accept(submissions, deadline_s)
        except errors.Refused:
            self._release(run_ids)
            await _undo(several)
            raise
        if any(acceptance.replayed for acceptance in acceptances):
            self._release(run_ids)
            await _undo(several)
            return acceptances
        for submission in submissions:
            await self._publisher.publish(submission.job)
        return acceptances

    async def _accept(self, submissions: Sequence[Submission], deadline_s: float) -> Sequence[Acceptance]:
        request = generation_service_pb2.AcceptTogetherRequest(submissions=submissions)
        try:
            async with asyncio.timeout_at(deadline_s):
                answer = await self._peers.ask(self._peers.status.AcceptTogether, request)
        except errors.Refused:
            raise
        except (TimeoutError, asyncio.CancelledError, errors.ImagineoError) as problem:
            # Nobody knows whether they were stored: a lost answer looks like a lost question.
            for submission in submissions:
                keep = bool(submission.idempotency_key)
                job = submission.job
                self._retraction.retract(job.organization_id, job.run_id, keep_if_accepted=keep)
            if isinstance(problem, TimeoutError):
                raise errors.Unavailable from problem
            raise
        if len(answer.acceptances) != len(submissions):
            raise errors.Internal("status answered another number of acceptances than submissions")
        return list(answer.acceptances)

    async def _earlier(self, exchange: Exchange, several: Several) -> list[Acceptance] | None:
        """The answers that the request was given before, if it was."""
        if exchange.principal is None or not several.preferences.idempotency_key:
            return None
        found = []
        async with within(BUDGET_S):
            for key in keys_of(several.preferences.idempotency_key, several.count):
                organization_id = exchange.principal.organization_id
                acceptance = await earlier_acceptance(self._peers, organization_id, key, several.body)
                if acceptance is None:
                    return None
                found.append(acceptance)
        return found

    def _release(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            self._retraction.release(run_id)


async def _undo(several: Several) -> None:
    if several.undo is not None:
        await several.undo()
