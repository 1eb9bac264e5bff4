"""The gRPC server of a service: health, reflection, typed errors, request ids and metrics for every method."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_NAME
from grpc_health.v1.health import aio as health_aio  # type: ignore[attr-defined]  # exported at run time alone
from grpc_reflection.v1alpha import reflection

from imagineo import errors
from imagineo.rpc.client import CARRIED
from imagineo.rpc.status import CODES, DETAIL_KEY
from imagineo.rpc.tls import TlsIdentity
from imagineo.telemetry import tracing
from imagineo.telemetry.logs import bind
from imagineo.telemetry.metrics import RpcMetrics, RpcOutcome
from imagineo.telemetry.probes import Probes
from imagineo.telemetry.readiness import Readiness

log = logging.getLogger(__name__)

#: What a server calls itself in its health service while it takes calls, whatever its dependencies do: `connect` makes
#: channels that watch it.
ACCEPTING: Final = "imagineo.accepting"
#: Once no call came for so long, every caller has heard that this server drains.
_QUIET_S: Final = 0.1
#: So long is waited for that: who does not watch goes on calling.
_NOTICE_S: Final = 2.0

#: Messages hold at most a thousand runs with long prompts.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024

_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Clients ping every 20 s, also while idle; a server that is not told so answers GOAWAY too_many_pings.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.so_reuseport", 0),
    # Clients look their peers up again when a connection ends: so new replicas get their share. Calls finish first.
    ("grpc.max_connection_age_ms", 300_000),
]


class RpcServer:
    """One `grpc.aio` server. Build and use it inside the event loop that serves."""

    def __init__(self, address: str, *, metrics: RpcMetrics | None = None, tls: TlsIdentity | None = None) -> None:
        self._address = address
        self._tls = tls
        self._boundary = _Boundary(metrics, tls)
        self._server = grpc.aio.server(interceptors=[self._boundary], options=_OPTIONS)
        self._health = _Health()
        self._names: list[str] = []
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    def add(self, register: Callable[[Any, grpc.aio.Server], None], servicer: object, service_name: str) -> None:
        """Serve `servicer`; `register` is the generated `add_…_to_server`, `service_name` the full proto name."""
        register(servicer, self._server)
        self._names.append(service_name)

    async def start(self) -> int:
        """Listen and answer; returns the bound port.

        Raises:
            RuntimeError: if the address cannot be bound.
        """
        reflection.enable_server_reflection([*self._names, HEALTH_NAME, reflection.SERVICE_NAME], self._server)
        if self._tls is None:
            port = self._server.add_insecure_port(self._address)
        else:
            port = self._server.add_secure_port(self._address, self._tls.server_credentials())
        await self._server.start()
        await self._health.set(ACCEPTING, health_pb2.HealthCheckResponse.SERVING)
        await self.set_serving(serving=True)
        return int(port)

    async def set_serving(self, *, serving: bool) -> None:
        """Tell health checks whether to send calls here."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *self._names):
            await self._health.set(name, status)

    async def drain(self, grace_s: float = 5.0) -> None:
        """Send callers elsewhere, let running calls finish for `grace_s` seconds, then end.

        A call that is on its way when the server stops is refused, though its caller could not know: so callers, who
        watch `ACCEPTING`, are told first, and served until they have gone.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_NOTICE_S):
                await self._health.enter_graceful_shutdown()
                if self._health.watchers_count:
                    await self._boundary.quiet()
        await self._server.stop(grace_s)


class _Health(health_aio.HealthServicer):  # type: ignore[misc]  # untyped
    """Knows whether anybody watches."""

    watchers_count = 0

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802 - the generated name
        self.watchers_count += 1
        try:
            await super().Watch(request, context)
        finally:
            self.watchers_count -= 1


class _Boundary(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """Wraps each method: who may call it; what it raises becomes a status, what it took becomes a metric."""

    def __init__(self, metrics: RpcMetrics | None, tls: TlsIdentity | None) -> None:
        self._metrics = metrics
        self._tls = tls
        self._last_call_s = 0.0

    async def quiet(self) -> None:
        """Wait until no call has come for `_QUIET_S`, counted from now on."""
        clock = asyncio.get_running_loop().time
        until_s = clock() + _QUIET_S
        while clock() < until_s:
            await asyncio.sleep(until_s - clock())
            until_s = max(until_s, self._last_call_s + _QUIET_S)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        handler = await continuation(handler_call_details)
        self._last_call_s = asyncio.get_running_loop().time()
        method = str(handler_call_details.method)
        if handler is None or method.startswith("/grpc."):
            return handler
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(method, handler.unary_unary),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(
                self._unary(method, handler.stream_unary),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, handler.unary_stream),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        return handler

    def _admit(self, context: Any) -> None:
        if self._tls is not None:
            self._tls.admit(context.auth_context())

    def _unary(self, method: str, inner: Any) -> Any:
        name = method.rpartition("/")[2]

        async def answer(request: Any, context: Any) -> Any:
            with _received(method, context), _observed(self._metrics, name) as outcome:
                try:
                    self._admit(context)
                    return await inner(request, context)
                except Exception as problem:  # noqa: BLE001 - this is the boundary
                    await _abort(context, problem, outcome, name)

        return answer

    def _stream(self, method: str, inner: Any) -> Any:
        name = method.rpartition("/")[2]

        async def answer(request: Any, context: Any) -> AsyncIterator[Any]:
            with _received(method, context), _observed(self._metrics, name) as outcome:
                try:
                    self._admit(context)
                    responses = inner(request, context)
                    if inspect.isawaitable(responses):
                        await responses
                        return
                    async for response in responses:
                        yield response
                except Exception as problem:  # noqa: BLE001 - this is the boundary
                    await _abort(context, problem, outcome, name)

        return answer


class _Unobserved:
    def __enter__(self) -> RpcOutcome:
        return RpcOutcome()

    def __exit__(self, *_: object) -> None:
        return None


def _observed(metrics: RpcMetrics | None, name: str) -> Any:
    return metrics.observe(name) if metrics else _Unobserved()


@contextlib.contextmanager
def _received(method: str, context: Any) -> Iterator[None]:
    """Log and trace as a part of what the caller does."""
    said = {str(key): value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    with bind(**{field: said.get(key, "") for field, key in CARRIED.items()}):
        if not tracing.is_on():
            yield
            return
        service, _, word = method.removeprefix("/").rpartition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": word}
        with tracing.continued(said), tracing.span(f"{service}/{word}", attributes, kind="SERVER"):
            yield


#: Statuses that are a server's own fault.
_FAULTS: Final = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE})


async def _abort(context: Any, problem: Exception, outcome: RpcOutcome, name: str) -> None:
    if isinstance(problem, grpc.aio.AbortError):
        outcome.code = "ABORTED"
        raise problem
    if not isinstance(problem, errors.ImagineoError):
        log.error("%s failed unexpectedly", name, exc_info=problem)
        problem = errors.Internal()
    code = CODES[problem.reason]
    outcome.code = code.name
    tracing.note({"rpc.grpc.status_code": int(code.value[0])})
    if code in _FAULTS:
        tracing.fail(problem.message)
    await context.abort(code, problem.message, ((DETAIL_KEY, problem.detail().SerializeToString()),))


async def watch_readiness(server: RpcServer, readiness: Readiness, probes: Probes | None = None) -> None:
    """Keep the health service and `/readyz` true; run it as a task for the life of the server."""

    async def changed(is_ready: bool) -> None:
        await server.set_serving(serving=is_ready)

    await readiness.watch(probes or Probes(), changed)
