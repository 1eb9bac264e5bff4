"""The shape of the streams and consumers, and making the server's be so: created where missing, updated where adrift.

The server's own settings that are not named here (replicas, placement, limits an operator raised) stay as they are.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any, Final

from imagineo.broker import subjects
from imagineo.broker.connection import Connection, away
from imagineo.errors import Unavailable

_log = logging.getLogger(__name__)

_NS: Final = 1_000_000_000
_STREAM_NOT_FOUND: Final = 10059
_STREAM_TAKEN: Final = 10058
_API_TIMEOUT_S: Final = 2.0

STREAMS: Final[dict[str, dict[str, Any]]] = {
    # Refuses rather than forgets when it is full: the outbox in Postgres keeps what it refused.
    "JOBS": {
        "subjects": [subjects.JOBS],
        "retention": "workqueue",
        "storage": "file",
        "discard": "new",
        "duplicate_window": 120 * _NS,
        "allow_direct": True,
    },
    "OUTCOMES": {
        "subjects": [subjects.OUTCOMES],
        "retention": "workqueue",
        "storage": "file",
        "discard": "new",
        "duplicate_window": 120 * _NS,
    },
    "EVENTS": {
        "subjects": [subjects.EVENTS],
        "retention": "limits",
        "storage": "file",
        "max_age": 72 * 3600 * _NS,
        "duplicate_window": 120 * _NS,
    },
}


def consumer(durable: str, *, filter_subject: str, ack_wait_s: float, max_ack_pending: int = 10_000) -> dict[str, Any]:
    """Shape a durable pull consumer; deliveries are unlimited: attempts are bounded by the claim."""
    return {
        "name": durable,
        "durable_name": durable,
        "filter_subject": filter_subject,
        "ack_policy": "explicit",
        "ack_wait": round(ack_wait_s * _NS),
        "max_deliver": -1,
        "max_ack_pending": max_ack_pending,
    }


class ApiError(Unavailable):
    """The broker refused a call to its API."""

    def __init__(self, description: str, err_code: int) -> None:
        super().__init__(f"The queue refused: {description}.", metadata={"dependency": "nats"})
        self.err_code = err_code


async def api(connection: Connection, call: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
    """Call the JetStream API.

    Raises:
        ApiError: if it refused.
        Unavailable: if it did not answer, or JetStream is off.
    """
    body = json.dumps(request).encode() if request else b""
    reply = await connection.request(f"$JS.API.{call}", body, timeout_s=_API_TIMEOUT_S)
    return parse_reply(reply.data)


def parse_reply(data: bytes) -> dict[str, Any]:
    """Read an answer of JetStream; an empty one says that nobody listens.

    Raises:
        ApiError: if it is a refusal.
        Unavailable: if it is empty.
    """
    if not data:
        raise away("The queue is not set up.")
    answer: dict[str, Any] = json.loads(data)
    if "error" in answer:
        raise ApiError(answer["error"].get("description", "unknown"), answer["error"].get("err_code", 0))
    return answer


async def ensure_streams(connection: Connection, *, replicas: int = 0) -> None:
    """Make all streams what `STREAMS` says, each on so many servers; 0 leaves that to the server and its operator."""
    own = {"num_replicas": replicas} if replicas else {}
    await asyncio.gather(*(_ensure_stream(connection, name, shape | own) for name, shape in STREAMS.items()))


async def ensure_consumer(connection: Connection, stream: str, shape: dict[str, Any]) -> None:
    """Create the consumer, or update it to the shape; equal ones are left alone by the server."""
    call = f"CONSUMER.CREATE.{stream}.{shape['name']}.{shape['filter_subject']}"
    await api(connection, call, {"stream_name": stream, "config": shape})


async def _ensure_stream(connection: Connection, name: str, shape: dict[str, Any]) -> None:
    config = {"name": name, **shape}
    try:
        current = (await api(connection, f"STREAM.INFO.{name}"))["config"]
    except ApiError as problem:
        if problem.err_code != _STREAM_NOT_FOUND:
            raise
        try:
            await api(connection, f"STREAM.CREATE.{name}", config)
        except ApiError as refusal:
            if refusal.err_code != _STREAM_TAKEN:  # another program made it meanwhile
                raise
        return
    if any(current.get(key) != value for key, value in config.items()):
        _log.warning("the stream is adrift and is updated", extra={"stream": name})
        await api(connection, f"STREAM.UPDATE.{name}", current | config)
