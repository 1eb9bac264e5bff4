"""Long answers that are made while they are sent: how many at once, for all and for one account."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from imagineo import errors
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

MAX_COUNT: Final = 64
MAX_OF_ACCOUNT: Final = 8

_RETRY_AFTER_S: Final = 5.0


class Downloads:
    """Counts them. Use it from one event loop."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def begin(
        self, organization_id: str, body: AsyncIterator[bytes], *, headers: Mapping[str, str], media_type: str
    ) -> StreamingResponse:
        """An answer that counts from now until it is sent or given up.

        Raises:
            TooManyStreams: if the account, or all together, have as many under way as they may.
        """
        if self._counts.total() >= MAX_COUNT or self._counts[organization_id] >= MAX_OF_ACCOUNT:
            message = f"The account has {MAX_OF_ACCOUNT} downloads under way here, as many as it may."
            raise errors.TooManyStreams(message, metadata={"limit": str(MAX_OF_ACCOUNT)}, retry_after_s=_RETRY_AFTER_S)
        self._counts[organization_id] += 1
        return _Download(body, lambda: self._end(organization_id), dict(headers), media_type)

    def _end(self, organization_id: str) -> None:
        self._counts[organization_id] -= 1
        if not self._counts[organization_id]:
            del self._counts[organization_id]


class _Download(StreamingResponse):
    """Says when it has ended, however it ends."""

    def __init__(
        self, body: AsyncIterator[bytes], end: Callable[[], None], headers: dict[str, str], media_type: str
    ) -> None:
        super().__init__(body, headers=headers, media_type=media_type)
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()
