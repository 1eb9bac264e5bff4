"""One call to another service: a deadline always, typed errors, the request id passed on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imagineo import errors
from imagineo.rpc.status import error_of
from imagineo.telemetry import tracing
from imagineo.telemetry.logs import bound


async def call(method: Any, request: Any, *, timeout_s: float) -> Any:
    """Await one call of `method`, a unary method of a generated stub.

    Raises:
        ImagineoError: what the peer refused with; `Unavailable` if it is away or did not answer in `timeout_s` seconds.
    """
    with _span(method):
        try:
            return await method(request, timeout=timeout_s, metadata=request_metadata())
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure) from failure


async def call_with_stream(method: Any, requests: AsyncIterator[Any], *, timeout_s: float) -> Any:
    """Send `requests` to `method`, which takes a stream and answers once; each is sent when the peer has room for it.

    What `requests` raises passes unchanged, and the peer sees the call canceled. A peer that answers before the last
    request is not sent the rest.

    Raises:
        ImagineoError: as `call`.
    """
    stream = method(timeout=timeout_s, metadata=request_metadata())
    try:
        async for request in requests:
            try:
                await stream.write(request)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                break  # it has ended: the answer, awaited below, says how
        else:
            await stream.done_writing()
        return await stream
    except grpc.aio.AioRpcError as failure:
        raise error_of(failure) from failure
    finally:
        stream.cancel()  # of no effect once it has ended


#: Log fields that go with a call, and the metadata that carries them.
CARRIED: Final = {"request_id": "x-request-id", "run_id": "x-run-id", "org_id": "x-org-id"}


def request_metadata() -> tuple[tuple[str, str], ...]:
    """The metadata that carries what the caller's log lines are about, and its trace; empty where nothing is known."""
    said = [(key, value) for field, key in CARRIED.items() if (value := bound(field))]
    return (*said, *tracing.carrier().items())


def _span(method: Any) -> AbstractContextManager[None]:
    if not tracing.is_on():
        return contextlib.nullcontext()
    name = method_name(method)
    service, _, word = name.rpartition("/")
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": word}
    return tracing.span(name, attributes, kind="CLIENT")


def method_name(method: Any) -> str:
    """The name of a stub's method, such as `imagineo.v1.AuthService/Authorize`."""
    path = getattr(method, "_method", b"")  # grpc gives no other way to it
    return (path.decode() if isinstance(path, bytes) else str(path)).removeprefix("/")


async def check_health(channel: grpc.aio.Channel, *, timeout_s: float = 1.0) -> None:
    """Ask a peer's health service.

    Raises:
        Unavailable: if it does not answer, or answers that it is not serving.
    """
    stub = health_pb2_grpc.HealthStub(channel)
    answer = await call(stub.Check, health_pb2.HealthCheckRequest(), timeout_s=timeout_s)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise errors.Unavailable("the peer is not serving")
