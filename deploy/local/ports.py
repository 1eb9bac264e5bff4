"""Free TCP ports on loopback, chosen once and kept: a restarted process comes back where its peers look for it.

They are taken from below the kernel's range for outgoing connections. Inside that range a client that reconnects to a
dead server can be given the server's own port, connect to itself, and keep the server from ever coming back.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"
_LOWEST: Final = 15_000
_RANGE_FILE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


class PortInUseError(Exception):
    """The port that was asked for is taken by another program."""


class Ports:
    """Ports by name. A chosen port is held by a bound socket until `release`, so that no other platform takes it."""

    def __init__(self) -> None:
        self._held: dict[str, socket.socket] = {}
        self._numbers: dict[str, int] = {}
        self._random = random.SystemRandom()

    def reserve(self, name: str, wanted: int = 0) -> int:
        """Choose a port for `name`; `wanted` is taken as it is unless 0.

        Raises:
            PortInUseError: if `wanted` is not free.
        """
        if wanted:
            self._numbers[name] = _checked(wanted)
        else:
            self._held[name] = _bind_any(self._random)
            self._numbers[name] = self._held[name].getsockname()[1]
        return self._numbers[name]

    def __getitem__(self, name: str) -> int:
        return self._numbers[name]

    def address(self, name: str) -> str:
        """The `host:port` of `name`."""
        return f"{LOOPBACK}:{self._numbers[name]}"

    def release(self, name: str) -> None:
        """Let the process called `name` bind its ports; done at each start, of use at the first."""
        for key in (name, f"{name}.metrics"):
            if holder := self._held.pop(key, None):
                holder.close()


def _checked(port: int) -> int:
    """Refuse a port on which somebody listens; connections of old (TIME_WAIT) do not matter."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError as problem:
            message = f"Port {port} is in use. Choose another with --port; --port 0 takes any free one."
            raise PortInUseError(message) from problem
    return port


def _bind_any(generator: random.Random) -> socket.socket:
    highest = int(_RANGE_FILE.read_text().split()[0]) - 1 if _RANGE_FILE.exists() else 32_767
    while True:
        holder = socket.socket()
        try:
            holder.bind((LOOPBACK, generator.randint(_LOWEST, max(highest, _LOWEST + 1_000))))
        except OSError:
            holder.close()
        else:
            return holder
