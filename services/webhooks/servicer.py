"""Translates WebhookService between gRPC and this service's rules; decides nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from imagineo import errors, page_token
from imagineo.ids import Prefix, is_id
from imagineo.v1 import webhook_pb2, webhook_service_pb2_grpc
from imagineo.v1 import webhook_service_pb2 as pb
from imagineo.wire.times import timestamp

from services.webhooks import wire
from services.webhooks.registry import DEFAULT_OVERLAP_S, Registry, check_owner
from services.webhooks.repository.deliveries import Deliveries, Filters
from services.webhooks.repository.endpoints import Endpoints
from services.webhooks.vault import Vault

_DEFAULT_PAGE: Final = 20
_MAX_PAGE: Final = 100
_LAST: Final = "\U0010ffff"
_SUBJECT_MAX_CHARACTERS: Final = 64


class WebhookServicer(webhook_service_pb2_grpc.WebhookServiceServicer):
    """One instance a process; every method is bounded by its statements' deadline."""

    def __init__(
        self,
        registry: Registry,
        endpoints: Endpoints,
        deliveries: Deliveries,
        vault: Vault,
        *,
        clock: Callable[[], datetime],
        wake: Callable[[], None],
    ) -> None:
        self._registry, self._endpoints, self._deliveries, self._vault = registry, endpoints, deliveries, vault
        self._clock, self._wake = clock, wake

    async def CreateWebhook(self, request: pb.CreateWebhookRequest, _context: object) -> pb.CreateWebhookResponse:  # noqa: N802
        """Register an endpoint."""
        row, secret = await self._registry.create(
            request.organization_id,
            url=request.url,
            description=request.description,
            wanted=request.events,
            active=not request.disabled,
        )
        return pb.CreateWebhookResponse(webhook=wire.webhook(row), secret=webhook_pb2.SigningSecret(secret=secret))

    async def GetWebhook(self, request: pb.GetWebhookRequest, _context: object) -> pb.GetWebhookResponse:  # noqa: N802
        """Read one."""
        row = await self._registry.read(request.organization_id, request.webhook_id)
        return pb.GetWebhookResponse(webhook=wire.webhook(row))

    async def ListWebhooks(self, request: pb.ListWebhooksRequest, _context: object) -> pb.ListWebhooksResponse:  # noqa: N802
        """Read a page."""
        check_owner(request.organization_id)
        size = _page_size(request.page_size)
        before = _before(request.organization_id, request.page_token, "hook")
        rows = await self._endpoints.page(request.organization_id, before, size + 1)
        token = page_token.encode(request.organization_id, rows[size - 1]["webhook_id"]) if len(rows) > size else ""
        return pb.ListWebhooksResponse(webhooks=map(wire.webhook, rows[:size]), next_page_token=token)

    async def UpdateWebhook(self, request: pb.UpdateWebhookRequest, _context: object) -> pb.UpdateWebhookResponse:  # noqa: N802
        """Change one."""
        row = await self._registry.update(
            request.organization_id,
            request.webhook_id,
            url=request.url if request.HasField("url") else None,
            description=request.description if request.HasField("description") else None,
            wanted=request.filter.events if request.HasField("filter") else None,
            active=request.active if request.HasField("active") else None,
        )
        return pb.UpdateWebhookResponse(webhook=wire.webhook(row))

    async def DeleteWebhook(self, request: pb.DeleteWebhookRequest, _context: object) -> pb.DeleteWebhookResponse:  # noqa: N802
        """Remove one."""
        await self._registry.delete(request.organization_id, request.webhook_id)
        return pb.DeleteWebhookResponse()

    async def RotateSecret(self, request: pb.RotateSecretRequest, _context: object) -> pb.RotateSecretResponse:  # noqa: N802
        """Give a new secret."""
        overlap_s = request.overlap_s if request.HasField("overlap_s") else DEFAULT_OVERLAP_S
        secret, until = await self._registry.rotate(request.organization_id, request.webhook_id, overlap_s)
        shown = webhook_pb2.SigningSecret(secret=secret, previous_until=timestamp(until) if overlap_s else None)
        return pb.RotateSecretResponse(secret=shown)

    async def GetSigningSecret(  # noqa: N802
        self, request: pb.GetSigningSecretRequest, _context: object
    ) -> pb.GetSigningSecretResponse:
        """Read the organization's own secret."""
        row = await self._registry.secret(request.organization_id)
        return pb.GetSigningSecretResponse(secret=wire.secret(row, self._vault, self._clock()))

    async def ListDeliveries(self, request: pb.ListDeliveriesRequest, _context: object) -> pb.ListDeliveriesResponse:  # noqa: N802
        """Read a page of the log."""
        owner = request.organization_id
        check_owner(owner)
        if request.webhook_id:
            await self._registry.read(owner, request.webhook_id)
        if len(request.subject_id) > _SUBJECT_MAX_CHARACTERS or "\0" in request.subject_id:
            raise errors.InvalidParameter.of("subject_id", f"at most {_SUBJECT_MAX_CHARACTERS} characters")
        size = _page_size(request.page_size)
        filters = Filters(request.webhook_id, list(request.states), request.subject_id)
        rows = await self._deliveries.page(owner, _before(owner, request.page_token, "whd"), filters, size + 1)
        token = page_token.encode(owner, rows[size - 1]["delivery_id"]) if len(rows) > size else ""
        return pb.ListDeliveriesResponse(deliveries=map(wire.delivery, rows[:size]), next_page_token=token)

    async def Redeliver(self, request: pb.RedeliverRequest, _context: object) -> pb.RedeliverResponse:  # noqa: N802
        """Send a delivery again."""
        check_owner(request.organization_id)
        names = (request.organization_id, request.delivery_id, request.webhook_id)
        row = (
            await self._deliveries.read(*names) if is_id(request.delivery_id, "whd") and "\0" not in names[2] else None
        )
        if row is None:
            raise errors.NotFound("There is no such delivery.")
        if not row["active"]:
            raise errors.FailedPrecondition("The webhook is switched off. Switch it on first.")
        await self._deliveries.redeliver(request.delivery_id, self._clock())
        self._wake()
        return pb.RedeliverResponse(delivery=wire.delivery(await self._deliveries.read(*names) or row))


def _page_size(asked: int) -> int:
    if not 0 <= asked <= _MAX_PAGE:
        raise errors.InvalidParameter.of("page_size", f"between 1 and {_MAX_PAGE}")
    return asked or _DEFAULT_PAGE


def _before(organization_id: str, token: str, prefix: Prefix) -> str:
    return page_token.decode(organization_id, token, prefix) if token else _LAST
