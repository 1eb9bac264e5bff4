"""The way of a batch: authorize and reserve, resolve each model once, accept all items in one call. All or none."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from imagineo import errors
from imagineo.ids import new_id
from imagineo.v1 import account_pb2, catalog_service_pb2, generation_service_pb2
from imagineo.v1 import batch_service_pb2 as pb
from starlette.datastructures import Headers

from services.gateway.accounts import check_models
from services.gateway.authentication import Gatekeeper
from services.gateway.batch_body import BatchWanted, Placed
from services.gateway.complaints import MAX_NAMED, Complaints
from services.gateway.completion import check_lora_ids, complete, make_job
from services.gateway.exchange import Exchange
from services.gateway.peers import Peers
from services.gateway.preferences import Preferences
from services.gateway.replay import OVERTAKEN
from services.gateway.resolution import Resolver
from services.gateway.retraction import Retraction
from services.gateway.submission import Wanted

#: Unlike a single submit, a batch may take some seconds: it is answered within this time whatever is frozen.
BUDGET_S: Final = 9.0
#: The acceptance of a thousand items, out of the budget.
CREATE_TIMEOUT_S: Final = 7.0

#: A batch's body must be here by then, and be answered: a slow sender gives its place to others.

_SEED_BITS: Final = 53
_RESOLVING_AT_ONCE: Final = 8
#: Items made between two turns of the event loop.
_TURN: Final = 50

Models = tuple[str, tuple[str, ...]]
"""A model and the further LoRAs beside it."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A batch that is well-formed as far as can be told without knowing its models."""

    wanted: BatchWanted
    preferences: Preferences
    body_sha256: bytes


class BatchAdmission:
    """Takes batches in.

    Args:
        now_s: Unix time in seconds.
    """

    def __init__(
        self,
        peers: Peers,
        gatekeeper: Gatekeeper,
        resolver: Resolver,
        retraction: Retraction,
        now_s: Callable[[], float],
    ) -> None:
        self._peers = peers
        self._gatekeeper = gatekeeper
        self._resolver = resolver
        self._retraction = retraction
        self._now_s = now_s

    async def submit(
        self, headers: Headers, exchange: Exchange, request: BatchRequest | errors.Refused
    ) -> pb.BatchAcceptance:
        """Accept a batch durably; its jobs are published by status, in turn.

        Raises:
            Refused: the client's fault; nothing is stored, charged or queued.
            Unavailable: within `BUDGET_S`; nothing is stored or charged, or it will be undone.
        """
        run_ids = [] if isinstance(request, errors.Refused) else _run_ids(len(request.wanted.items))
        try:
            async with asyncio.timeout(BUDGET_S):
                principal = await self._admit(headers, exchange, run_ids)
                if isinstance(request, errors.Refused):
                    raise request
                return await self._accept(run_ids, principal, request, exchange)
        except OVERTAKEN as refusal:
            return await self._earlier(exchange, request, refusal)
        except TimeoutError as problem:
            raise errors.Unavailable from problem

    async def _admit(self, headers: Headers, exchange: Exchange, run_ids: Sequence[str]) -> account_pb2.Principal:
        try:
            return await self._gatekeeper.admit(
                headers,
                exchange,
                account_pb2.PERMISSION_GENERATIONS_WRITE,
                reserve_run_id=run_ids[0] if run_ids else "",
                more_run_ids=run_ids[1:],
            )
        except (errors.Unavailable, errors.QuotaExceeded, asyncio.CancelledError):
            # Some may be held: what the month has left, or what was reserved without being heard.
            self._retraction.release_all(run_ids)
            raise

    async def _accept(
        self, run_ids: Sequence[str], principal: account_pb2.Principal, request: BatchRequest, exchange: Exchange
    ) -> pb.BatchAcceptance:
        try:
            resolved = await self._resolve(principal, request.wanted.items)
            asked = await self._request(run_ids, principal, request, resolved, exchange)
        except BaseException:
            self._retraction.release_all(run_ids)
            raise
        try:
            answer = await self._peers.ask(self._peers.batches.CreateBatch, asked, timeout_s=CREATE_TIMEOUT_S)
        except errors.Refused:
            self._retraction.release_all(run_ids)
            raise
        except (asyncio.CancelledError, errors.ImagineoError):
            # Nobody knows whether it was stored: a lost answer looks like a lost question.
            keep = bool(asked.idempotency_key)
            self._retraction.retract_batch(asked.organization_id, asked.batch_id, run_ids, keep_if_accepted=keep)
            raise
        acceptance: pb.BatchAcceptance = answer.acceptance
        if acceptance.batch_id != asked.batch_id:
            self._retraction.release_all(run_ids)
        return acceptance

    async def _resolve(
        self, principal: account_pb2.Principal, items: Sequence[Placed]
    ) -> dict[Models, catalog_service_pb2.ResolveResponse]:
        """What the models stand for, each asked once; complaints name the first item that asks for them."""
        first: dict[Models, Placed] = {}
        for item in items:
            if _models(item.wanted) in first:
                continue
            try:
                check_lora_ids(item.wanted)
                check_models(principal, _named(item.wanted))
            except errors.Refused as refusal:
                raise placed(refusal, item.place) from refusal
            first[_models(item.wanted)] = item
        room = asyncio.Semaphore(_RESOLVING_AT_ONCE)

        async def resolve(models: Models) -> catalog_service_pb2.ResolveResponse | errors.Refused:
            async with room:
                try:
                    return await self._resolver.resolve(principal.organization_id, *models)
                except errors.Refused as refusal:
                    return placed(refusal, first[models].place)

        answers = await asyncio.gather(*(resolve(models) for models in first))
        refusals = [answer for answer in answers if isinstance(answer, errors.Refused)]
        Complaints(refusals[:MAX_NAMED]).check()
        return {
            models: answer
            for models, answer in zip(first, answers, strict=True)
            if not isinstance(answer, errors.Refused)
        }

    async def _request(
        self,
        run_ids: Sequence[str],
        principal: account_pb2.Principal,
        request: BatchRequest,
        resolved: dict[Models, catalog_service_pb2.ResolveResponse],
        exchange: Exchange,
    ) -> pb.CreateBatchRequest:
        asked = pb.CreateBatchRequest(
            batch_id=new_id("batch"),
            organization_id=principal.organization_id,
            key_id=principal.key_id,
            name=request.wanted.name,
            metadata=request.wanted.metadata,
            idempotency_key=request.preferences.idempotency_key,
            body_sha256=request.body_sha256,
            queued_runs_limit=principal.limits.queued_runs,
        )
        now_s, wrong = self._now_s(), Complaints()
        for turn, (run_id, item) in enumerate(zip(run_ids, request.wanted.items, strict=True)):
            if turn % _TURN == 0:
                await asyncio.sleep(0)
            found, seed = resolved[_models(item.wanted)], secrets.randbits(_SEED_BITS)
            try:
                parameters = complete(item.wanted, found, chosen_seed=seed)
            except errors.Refused as refusal:
                wrong.noted.append(placed(refusal, item.place))
                if wrong.is_enough:
                    break
                continue
            job = make_job(
                run_id,
                principal,
                parameters,
                found,
                accepted_at_s=now_s,
                cancel_after_s=request.preferences.cancel_after_s,
                request_id=exchange.request_id,
            )
            asked.submissions.append(
                generation_service_pb2.Submission(
                    job=job,
                    key_id=principal.key_id,
                    metadata=item.wanted.metadata,
                    webhook_url=item.wanted.webhook_url,
                )
            )
        wrong.check()
        return asked

    async def _earlier(
        self, exchange: Exchange, request: BatchRequest | errors.Refused, refusal: errors.Refused
    ) -> pb.BatchAcceptance:
        """The answer that the request was given before, if it was; else its refusal is raised."""
        if isinstance(request, errors.Refused) or exchange.principal is None or not request.preferences.idempotency_key:
            raise refusal
        asked = pb.FindBatchRequest(
            organization_id=exchange.principal.organization_id,
            idempotency_key=request.preferences.idempotency_key,
            body_sha256=request.body_sha256,
        )
        try:
            answer: pb.FindBatchResponse = await self._peers.ask(self._peers.batches.FindBatch, asked)
        except errors.NotFound:
            raise refusal from None
        return answer.acceptance


def digest(media_type: str, body: bytes) -> bytes:
    """What tells one batch's body from another's; no other route's body has the same."""
    return hashlib.sha256(b"batch\n" + media_type.encode() + b"\n" + body).digest()


def placed(refusal: errors.Refused, place: str) -> errors.Refused:
    """The same refusal of one item, saying which."""
    param = f"{place}{refusal.metadata.get('param', 'model_id')}"
    if isinstance(refusal, errors.InvalidParameter) and (allowed := refusal.metadata.get("allowed")):
        return errors.InvalidParameter.of(param, allowed)
    said = f"{refusal.message} (parameter '{param}')"
    return type(refusal)(said, metadata={**refusal.metadata, "param": param}, retry_after_s=refusal.retry_after_s)


def _models(wanted: Wanted) -> Models:
    return wanted.model_id, tuple(lora.model_id for lora in wanted.loras)


def _named(wanted: Wanted) -> dict[str, str]:
    """The models by the field that names them."""
    extra = {f"loras[{index}].model_id": lora.model_id for index, lora in enumerate(wanted.loras)}
    return {"model_id": wanted.model_id, **extra}


def _run_ids(count: int) -> list[str]:
    """Ids in the order of the items, so that lists of runs show a batch in its order."""
    return sorted(new_id("gen") for _ in range(count))
