"""The one way from here to a receiver: a name is resolved, every address of it checked, and a checked one connected to.

It is httpcore's network backend: whatever the client on top does, no connection is made but through it. The name stays
the TLS server name and the Host header; the address that was judged is the one that is dialled, so that a name which
resolves otherwise a moment later gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpcore
from imagineo.egress import addresses

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

#: One address of several must not use up the time of the others.
_CONNECT_S: Final = 5.0


class RefusedAddressError(Exception):
    """The name leads to an address that is not public."""


class Resolver:
    """Asks the system's resolver in threads of its own: a name server that hangs holds up its own names only."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="resolve")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a name.

        Raises:
            OSError: if it has none.
        """
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _look_up, host, port)
        return list(dict.fromkeys(found))

    def close(self) -> None:
        """Let go of the threads; what still hangs ends with the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[str]:
    return [str(where[0]) for *_, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only; `allow_loopback` opens this machine besides."""

    def __init__(self, resolve: Resolve, *, allow_loopback: bool) -> None:
        self._resolve = resolve
        self._allow_loopback = allow_loopback
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the backend's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers.

        Raises:
            RefusedAddressError: if one of the name's addresses is not public.
            httpcore.ConnectError: if none answers.
        """
        failure: Exception = httpcore.ConnectError("no address")
        limit_s = min(timeout or _CONNECT_S, _CONNECT_S)
        for address in await self._checked(host, port):
            try:
                stream = await self._inner.connect_tcp(address, port, limit_s, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as problem:
                failure = problem
                continue
            peer = str((stream.get_extra_info("server_addr") or ("",))[0])
            if self._is_allowed(peer):
                return stream
            await stream.aclose()
            raise RefusedAddressError(peer)
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - the backend's interface
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """Never: a socket in the file system is nobody's receiver."""
        raise RefusedAddressError(path)

    async def _checked(self, host: str, port: int) -> Sequence[str]:
        if addresses.parse(host) is not None:
            found: Sequence[str] = [host]
        else:
            try:
                found = await self._resolve(host, port)
            except OSError as problem:
                raise httpcore.ConnectError("the name has no address") from problem
        for address in found:
            if not self._is_allowed(address):
                raise RefusedAddressError(address)
        return found

    def _is_allowed(self, text: str) -> bool:
        address = addresses.parse(text)
        return address is not None and addresses.is_allowed(address, allow_loopback=self._allow_loopback)
