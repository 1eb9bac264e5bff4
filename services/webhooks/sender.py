"""One attempt: a POST on a connection of its own, bounded in time and in what is read; never a redirect.

httpcore is the client: the HTTP/1.1 engine under httpx, without what a sender must not have (redirects, cookies,
proxies of the environment, decompression), and with a network backend that it cannot get around.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import re
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import httpcore
from imagineo.egress.urls import Receiver

from services.webhooks.network import GuardedNetwork, RefusedAddressError
from services.webhooks.schedule import Answer

#: As much of an answer's body as is read, and kept in the log.
RESPONSE_BYTES: Final = 1_024
#: How long an answer's body is waited for: the status has said all that counts.
_BODY_S: Final = 1.0
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SECONDS: Final = re.compile(r"[0-9]{1,7}")
_REDIRECTS: Final = range(300, 400)


class Sender:
    """Posts. Its attempts share nothing but the TLS settings."""

    def __init__(self, network: GuardedNetwork, tls: ssl.SSLContext, *, timeout_s: float) -> None:
        self._network = network
        self._tls = tls
        self._timeout_s = timeout_s

    async def post(self, receiver: Receiver, headers: Mapping[str, str], body: bytes) -> Answer:
        """Make one attempt; whatever goes wrong is its answer."""
        began_s = time.perf_counter()

        def took_ms() -> int:
            return round((time.perf_counter() - began_s) * 1_000)

        try:
            async with asyncio.timeout(self._timeout_s):
                status, error, text, retry_after = await self._exchange(receiver, headers, body)
            return Answer(status, error, text, retry_after, took_ms())
        except TimeoutError:
            error = f"no answer within {self._timeout_s:g} s"
        except RefusedAddressError:
            error = "the host's address is not a public one"
        except httpcore.ConnectTimeout:
            error = "no connection: it took too long"
        except httpcore.ConnectError as problem:
            error = f"no connection: {_reason(problem)}"
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError):
            error = "the connection broke before there was an answer"
        return Answer(error=error, duration_ms=took_ms())

    async def _exchange(
        self, receiver: Receiver, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, str, timedelta | None]:
        host = receiver.host.encode()
        origin = httpcore.Origin(receiver.scheme.encode(), host, receiver.port)
        url = httpcore.URL(scheme=origin.scheme, host=host, port=receiver.port, target=receiver.target.encode())
        fields = {"Host": receiver.authority, "Connection": "close", **headers}
        async with (
            httpcore.AsyncHTTPConnection(
                origin, ssl_context=self._tls, http1=True, http2=False, network_backend=self._network
            ) as connection,
            connection.stream("POST", url, headers=list(fields.items()), content=body) as response,
        ):
            text = await _beginning(response)
            return response.status, _complaint(response.status), text, _retry_after(response.headers)


async def _beginning(response: httpcore.Response) -> str:
    read = b""
    with contextlib.suppress(TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
        async with asyncio.timeout(_BODY_S):
            async for piece in response.aiter_stream():
                read += piece
                if len(read) >= RESPONSE_BYTES:
                    break
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", read[:RESPONSE_BYTES].decode("utf-8", "replace"))


def _complaint(status: int) -> str:
    if 200 <= status < 300:
        return ""
    return f"HTTP {status}: redirects are not followed" if status in _REDIRECTS else f"HTTP {status}"


def _retry_after(headers: list[tuple[bytes, bytes]]) -> timedelta | None:
    """Seconds or a date (RFC 9110, section 10.2.3); anything else counts as nothing."""
    text = next((value.decode("latin-1") for name, value in headers if name.lower() == b"retry-after"), "").strip()
    try:
        if _SECONDS.fullmatch(text):
            return timedelta(seconds=int(text))
        wait = email.utils.parsedate_to_datetime(text) - datetime.now(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    return max(wait, timedelta(0))


def _reason(problem: Exception) -> str:
    """What a receiver's owner may know: of the certificate, or that nobody listens."""
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate is not accepted ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError):
            return "TLS failed"
        cause = cause.__cause__ or cause.__context__
    return str(problem) if str(problem) == "the name has no address" else "nobody answers"
