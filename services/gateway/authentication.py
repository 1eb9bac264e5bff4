"""Who asks: the digest of the key or the session to auth, the verdict into the exchange."""

from __future__ import annotations

from collections.abc import Sequence

from imagineo import errors
from imagineo.deadline import within
from imagineo.rpc.coalesce import Coalescer
from imagineo.telemetry import logs
from imagineo.v1 import account_pb2, auth_service_pb2
from starlette.datastructures import Headers

from services.gateway.credentials import presented
from services.gateway.exchange import Exchange, Holder
from services.gateway.metrics import GatewayMetrics
from services.gateway.peers import CALL_TIMEOUT_S, Peers


class Gatekeeper:
    """Asks auth about requests, many in one call."""

    def __init__(self, peers: Peers, metrics: GatewayMetrics, public_url: str = "") -> None:
        self._peers = peers
        self._public_url = public_url
        self._metrics = metrics
        self._checks: Coalescer[auth_service_pb2.Check, auth_service_pb2.Verdict] = Coalescer(self.verdicts)

    async def admit(
        self,
        headers: Headers,
        exchange: Exchange,
        permission: account_pb2.Permission.ValueType,
        *,
        reserve_run_id: str = "",
        more_run_ids: Sequence[str] = (),
        is_page: bool = False,
    ) -> account_pb2.Principal:
        """Let a request in, count it, and reserve one image for each run that is named.

        What `is_page` counts for its user, where a session asks, and else for the organization.

        Raises:
            MissingApiKey, InvalidApiKey, InvalidSession, InvalidCsrfToken: as `presented` and auth decide.
            PermissionDenied, RateLimited, QuotaExceeded: as auth decides.
            Unavailable: if auth did not answer in time.
        """
        shown = presented(headers, exchange.method, self._public_url)
        check = auth_service_pb2.Check(
            key_sha256=shown.key_sha256,
            session_sha256=shown.session_sha256,
            permission=permission,
            reserve_run_id=reserve_run_id,
            more_run_ids=more_run_ids,
            is_page=is_page,
        )
        async with within(CALL_TIMEOUT_S):
            verdict = await self._checks.submit(check)
        if verdict.HasField("rate_limit"):
            exchange.rate_limit = verdict.rate_limit
        if verdict.HasField("principal"):
            exchange.principal = verdict.principal
            organization_id = verdict.principal.organization_id
            exchange.holder = Holder(organization_id, permission, shown.key_sha256, shown.session_sha256)
            logs.note(org_id=organization_id)
        if verdict.HasField("error"):
            raise errors.from_detail(verdict.error)
        if not verdict.HasField("principal"):
            raise errors.Internal("auth allowed a request without saying whose it is")
        return verdict.principal

    async def verdicts(self, checks: list[auth_service_pb2.Check]) -> Sequence[auth_service_pb2.Verdict]:
        """What auth says to each check, in one call.

        Raises:
            Unavailable: if auth did not answer in time.
        """
        self._metrics.batched("authorize", len(checks))
        answer = await self._peers.ask(self._peers.auth.Authorize, auth_service_pb2.AuthorizeRequest(checks=checks))
        if len(answer.verdicts) != len(checks):
            raise errors.Internal("auth answered another number of verdicts than checks")
        return list(answer.verdicts)
