"""The services behind the gateway: their stubs, and one bounded way to ask them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from imagineo.rpc.client import call, check_health
from imagineo.v1 import (
    account_service_pb2_grpc,
    auth_service_pb2_grpc,
    batch_service_pb2_grpc,
    catalog_service_pb2_grpc,
    generation_service_pb2_grpc,
    upload_service_pb2_grpc,
    webhook_service_pb2_grpc,
)

#: One call to a service. A submit makes up to three in a row and has `admission.BUDGET_S` for all.
CALL_TIMEOUT_S: Final = 2.0


class Peers:
    """The services; each `ask_…` is one call. Build it inside the event loop that uses it."""

    def __init__(
        self, *, auth: grpc.aio.Channel, catalog: grpc.aio.Channel, status: grpc.aio.Channel, webhooks: grpc.aio.Channel
    ) -> None:
        self._channels = {"auth": auth, "catalog": catalog, "status": status, "webhooks": webhooks}
        # The generated stubs are typed for blocking channels; on these they answer awaitables.
        self.auth: Any = auth_service_pb2_grpc.AuthServiceStub(auth)
        self.accounts: Any = account_service_pb2_grpc.AccountServiceStub(auth)
        self.catalog: Any = catalog_service_pb2_grpc.CatalogServiceStub(catalog)
        self.status: Any = generation_service_pb2_grpc.GenerationServiceStub(status)
        self.uploads: Any = upload_service_pb2_grpc.UploadServiceStub(status)
        self.webhooks: Any = webhook_service_pb2_grpc.WebhookServiceStub(webhooks)
        self.batches: Any = batch_service_pb2_grpc.BatchServiceStub(status)

    async def ask(self, method: Any, request: Any, *, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        """One unary call, with the usual deadline where none is given.

        Raises:
            ImagineoError: what the peer refused with, or `Unavailable`.
        """
        return await call(method, request, timeout_s=timeout_s)

    def health_checks(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """One check for each service, by name; it raises while the service is away."""

        def check_of(channel: grpc.aio.Channel) -> Callable[[], Awaitable[None]]:
            return lambda: check_health(channel)

        return {name: check_of(channel) for name, channel in self._channels.items()}

    async def close(self) -> None:
        """Let go of the channels."""
        await asyncio.gather(*(channel.close(None) for channel in self._channels.values()))
