from __future__ import annotations

import socket
from pathlib import Path

import pytest

from deploy.local.ports import PortInUseError, Ports


def test_ports_lie_below_the_range_of_outgoing_connections_and_differ() -> None:
    ports = Ports()
    numbers = [ports.reserve(str(name)) for name in range(20)]

    lowest_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert len(set(numbers)) == 20
    assert max(numbers) < lowest_outgoing
    for name in range(20):
        ports.release(str(name))


def test_a_reserved_port_is_taken_for_others_until_it_is_released() -> None:
    ports = Ports()
    number = ports.reserve("auth")

    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", number))

    ports.release("auth")
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", number))
    assert ports.address("auth") == f"127.0.0.1:{number}"


def test_a_wanted_port_that_is_in_use_is_refused_with_a_way_out() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        with pytest.raises(PortInUseError, match="--port 0"):
            Ports().reserve("gateway", other.getsockname()[1])
