"""HTTP/1.1 as uvicorn speaks it, with a bound on what stands before a body, and refusals in the documented shape.

Clients hear them even while they are sending. The bound on bodies is `middleware.body_limit`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from imagineo import errors
from imagineo.ids import new_id
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.gateway.errors import render
from services.gateway.exchange import Exchange

#: Request line and headers of one request; the longest that a client needs is its cursor and its signed link.
HEAD_LIMIT_BYTES: Final = 65_536
#: How much more is taken from a client that was refused while it was sending, and for how long.
LINGER_BYTES: Final = 256 * 2**20
LINGER_S: Final = 30.0


class BoundedHttp(HttpToolsProtocol):
    """One connection. uvicorn keeps headers without end, as its parser keeps one header's value.

    A socket that is closed while bytes lie in it unread is reset, and the reset takes from the client the answer that
    it has not read yet. So after the last answer to a client that is still sending, the connection is only half closed,
    and what comes is thrown away. Source: RFC 9112, section 9.6.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_in_head = True
        self._is_in_request = False
        self._heads_count = 0
        self._head_bytes = 0
        self._lingering: asyncio.TimerHandle | None = None
        self._lingered_bytes = 0

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._is_in_head = self._is_in_request = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that it ended."""
        self._is_in_head = False
        self._heads_count += 1
        self._head_bytes = 0
        super().on_headers_complete()
        self.cycle.transport = _GentlyClosed(self.transport, self._close_after_answer)

    def on_message_complete(self) -> None:
        """Note that all of a request is here."""
        self._is_in_request = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Take some bytes; refuse a head that will not end."""
        if self._lingering:
            self._lingered_bytes += len(data)
            if self._lingered_bytes > LINGER_BYTES:
                self.transport.close()
            return
        was_in_head, heads_count = self._is_in_head, self._heads_count
        super().data_received(data)
        if not (was_in_head and self._is_in_head and heads_count == self._heads_count):
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_LIMIT_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The request's headers are larger than {HEAD_LIMIT_BYTES} bytes.")

    def send_400_response(self, msg: str) -> None:
        """Refuse and close."""
        request_id = new_id("req")
        response = render(errors.InvalidParameter(msg), Exchange(request_id))
        headers = [*response.raw_headers, (b"x-request-id", request_id.encode()), (b"connection", b"close")]
        lines = [b"HTTP/1.1 400 Bad Request", *(name + b": " + value for name, value in headers), b"", b""]
        self.transport.write(b"\r\n".join(lines) + bytes(response.body))
        self._linger()

    def on_response_complete(self) -> None:
        """Go on with the next request, unless this was the last."""
        super().on_response_complete()
        if self._lingering:
            self._unset_keepalive_if_required()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave no timer behind."""
        if self._lingering:
            self._lingering.cancel()
        super().connection_lost(exc)

    def _close_after_answer(self) -> None:
        if self._is_in_request and self.cycle.response_complete:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        if self._lingering or self.transport.is_closing():
            return
        self._lingering = self.loop.call_later(LINGER_S, self.transport.close)
        self.transport.write_eof()
        self.flow.resume_reading()


class _GentlyClosed(asyncio.Transport):
    """A connection as one request's answer uses it; how it is closed is told by another."""

    def __init__(self, inner: asyncio.Transport, close: Callable[[], None]) -> None:
        super().__init__()
        self._inner = inner
        self._close = close

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._inner.write(data)

    def is_closing(self) -> bool:
        return self._inner.is_closing()

    def close(self) -> None:
        self._close()
