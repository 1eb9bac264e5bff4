"""The address that is checked is the address that is dialled, whatever the name says next."""

import asyncio

import httpcore
import pytest

from services.webhooks.network import GuardedNetwork, RefusedAddressError


def names(*answers: list[str]):
    """A resolver that gives one answer after the other, and counts."""
    left = list(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return left.pop(0)

    return resolve, left


@pytest.fixture
async def listener():
    met = []

    async def meet(reader, writer):
        met.append(writer)
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], met
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    "found",
    [
        ["127.0.0.1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["169.254.169.254"],
        ["10.0.0.1"],
        ["fe80::1%lo"],
        ["64:ff9b::7f00:1"],
        ["1.1.1.1", "127.0.0.1"],
        ["not an address"],
    ],
)
async def test_a_name_with_an_inward_address_is_never_dialled(found, listener):
    port, met = listener
    resolve, _ = names(found)
    with pytest.raises(RefusedAddressError):
        await GuardedNetwork(resolve, allow_loopback=False).connect_tcp("rebinding.example", port, 1)
    assert not met


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "169.254.169.254"])
async def test_a_literal_address_is_judged_as_well(host, listener):
    port, met = listener
    resolve, _ = names()
    with pytest.raises(RefusedAddressError):
        await GuardedNetwork(resolve, allow_loopback=False).connect_tcp(host, port, 1)
    assert not met


async def test_a_name_is_resolved_once_and_that_answer_is_dialled(listener):
    """A second look-up, which could say otherwise, is never made."""
    port, _ = listener
    resolve, left = names(["127.0.0.1"], ["10.0.0.1"])
    stream = await GuardedNetwork(resolve, allow_loopback=True).connect_tcp("rebinding.example", port, 5)
    assert stream.get_extra_info("server_addr") == ("127.0.0.1", port)
    await stream.aclose()
    assert len(left) == 1


async def test_the_next_address_is_tried_where_one_does_not_answer(listener):
    port, _ = listener
    resolve, _ = names(["::1", "127.0.0.1"])
    stream = await GuardedNetwork(resolve, allow_loopback=True).connect_tcp("two.example", port, 5)
    assert stream.get_extra_info("server_addr")[0] == "127.0.0.1"
    await stream.aclose()


async def test_a_name_without_an_address_is_no_connection():
    async def resolve(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(httpcore.ConnectError):
        await GuardedNetwork(resolve, allow_loopback=True).connect_tcp("nobody.example", 443, 1)


async def test_sockets_in_the_file_system_are_nobodys_receivers():
    resolve, _ = names()
    with pytest.raises(RefusedAddressError):
        await GuardedNetwork(resolve, allow_loopback=True).connect_unix_socket("/var/run/x.sock")
