"""HTTP/1.1 as uvicorn speaks it, with a bound on what stands before a body and refusals in the documented shape.

The bound on bodies is `middleware.body_limit`'s.
"""

from __future__ import annotations

from typing import Any, Final

from imagineo import errors
from imagineo.ids import new_id
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.gateway.errors import render
from services.gateway.exchange import Exchange

#: Request line and headers of one request; the longest that a client needs is its cursor and its signed link.
HEAD_LIMIT_BYTES: Final = 65_536


class BoundedHttp(HttpToolsProtocol):
    """One connection. uvicorn keeps headers without end, as its parser keeps one header's value."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_in_head = True
        self._heads_count = 0
        self._head_bytes = 0

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that it ended."""
        self._is_in_head = False
        self._heads_count += 1
        self._head_bytes = 0
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take some bytes; refuse a head that will not end."""
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
        self.transport.close()
