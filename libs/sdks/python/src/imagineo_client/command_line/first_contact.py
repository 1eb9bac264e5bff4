"""The first request to a platform: where nobody listens, waiting helps nobody, and the person is told at once.

A platform that was reached before may be restarting: from then on the client's own retries decide.
"""

from __future__ import annotations

import os
from typing import Any

import httpx

from imagineo_client.errors import ConnectionFailedError


class FirstContact(httpx.Client):
    """Connections that give up on an address where the very first one is refused."""

    _is_reached = False

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send one request.

        Raises:
            ConnectionFailedError: if nobody has answered yet, and nobody listens.
        """
        try:
            response = super().send(request, **options)
        except httpx.ConnectError as problem:
            if self._is_reached:
                raise
            address = str(request.url.copy_with(raw_path=b"/")).rstrip("/")
            raise ConnectionFailedError(f"There is no connection to {address}: {_reason(problem)}.") from problem
        self._is_reached = True
        return response


def _reason(problem: BaseException) -> str:
    """What the system says, without its number."""
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return (cause.strerror or str(cause)) if cause.errno < 0 else os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return str(problem) or type(problem).__name__
