"""Who asks: the key out of the headers, its digest to auth, the verdict into the exchange. The key goes no further."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from imagineo import errors, keys
from imagineo.deadline import within
from imagineo.rpc.coalesce import Coalescer
from imagineo.v1 import account_pb2, auth_service_pb2
from starlette.datastructures import Headers

from services.gateway.exchange import Exchange
from services.gateway.metrics import GatewayMetrics
from services.gateway.peers import CALL_TIMEOUT_S, Peers

_BEARER: Final = "bearer"


def presented_key(headers: Headers) -> str:
    """The API key that a request shows: `X-API-Key`, else `Authorization: Bearer`.

    Raises:
        MissingApiKey: if there is none.
        InvalidApiKey: if it cannot be a key by its form.
    """
    key = headers.get("x-api-key", "").strip()
    if not key:
        scheme, _, rest = headers.get("authorization", "").strip().partition(" ")
        key = rest.strip() if scheme.lower() == _BEARER else ""
    if not key:
        raise errors.MissingApiKey
    if not keys.is_well_formed(key):
        raise errors.InvalidApiKey
    return key


class Gatekeeper:
    """Asks auth about requests, many in one call."""

    def __init__(self, peers: Peers, metrics: GatewayMetrics) -> None:
        self._peers = peers
        self._metrics = metrics
        self._checks: Coalescer[auth_service_pb2.Check, auth_service_pb2.Verdict] = Coalescer(self._authorize)

    async def admit(
        self,
        headers: Headers,
        exchange: Exchange,
        permission: account_pb2.Permission.ValueType,
        *,
        reserve_run_id: str = "",
        more_run_ids: Sequence[str] = (),
    ) -> account_pb2.Principal:
        """Let a request in, count it, and reserve one image for each run that is named.

        Raises:
            MissingApiKey, InvalidApiKey, PermissionDenied, RateLimited, QuotaExceeded: as auth decides.
            Unavailable: if auth did not answer in time.
        """
        digest = keys.digest(presented_key(headers))
        check = auth_service_pb2.Check(
            key_sha256=digest, permission=permission, reserve_run_id=reserve_run_id, more_run_ids=more_run_ids
        )
        async with within(CALL_TIMEOUT_S):
            verdict = await self._checks.submit(check)
        if verdict.HasField("rate_limit"):
            exchange.rate_limit = verdict.rate_limit
        if verdict.HasField("principal"):
            exchange.principal = verdict.principal
        if verdict.HasField("error"):
            raise errors.from_detail(verdict.error)
        if not verdict.HasField("principal"):
            raise errors.Internal("auth allowed a request without saying whose it is")
        return verdict.principal

    async def _authorize(self, checks: list[auth_service_pb2.Check]) -> Sequence[auth_service_pb2.Verdict]:
        self._metrics.batched("authorize", len(checks))
        answer = await self._peers.ask(self._peers.auth.Authorize, auth_service_pb2.AuthorizeRequest(checks=checks))
        if len(answer.verdicts) != len(checks):
            raise errors.Internal("auth answered another number of verdicts than checks")
        return list(answer.verdicts)
