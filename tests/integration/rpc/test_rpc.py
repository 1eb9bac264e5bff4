"""A real server and a real channel: typed errors, deadlines, health, a peer that dies and comes back."""

import asyncio
import contextlib

import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from imagineo import errors
from imagineo.rpc.channel import connect
from imagineo.rpc.client import call, check_health
from imagineo.rpc.server import RpcServer
from imagineo.telemetry.logs import bind, bound
from imagineo.v1 import auth_service_pb2 as pb
from imagineo.v1 import auth_service_pb2_grpc as rpc

from tests.support.deadlines import SURELY_S
from tests.support.servers import free_port

pytestmark = pytest.mark.integration


class Servicer(rpc.AuthServiceServicer):
    def __init__(self, answer):
        self._answer = answer

    async def GetUsage(self, request, context):  # noqa: N802 - the generated name
        return await self._answer(request)


@contextlib.asynccontextmanager
async def serving(answer, address="127.0.0.1:0"):
    server = RpcServer(address)
    server.add(rpc.add_AuthServiceServicer_to_server, Servicer(answer), "imagineo.v1.AuthService")
    port = await server.start()
    try:
        yield port
    finally:
        await server.drain(0)


@contextlib.asynccontextmanager
async def connected(port):
    channel = connect(f"127.0.0.1:{port}")
    try:
        yield channel
    finally:
        await channel.close()


async def ask(channel, timeout_s=2.0):
    return await call(
        rpc.AuthServiceStub(channel).GetUsage, pb.GetUsageRequest(organization_id="org_x"), timeout_s=timeout_s
    )


async def test_a_refusal_arrives_as_the_exception_it_was():
    async def answer(_request):
        raise errors.InvalidParameter.of("plan", "one of free, basic, premium")

    async with serving(answer) as port, connected(port) as channel:
        with pytest.raises(errors.InvalidParameter) as caught:
            await ask(channel)

    assert caught.value.metadata == {"param": "plan", "allowed": "one of free, basic, premium"}


async def test_a_bug_arrives_as_internal_without_its_text():
    async def answer(_request):
        raise KeyError("secret detail")

    async with serving(answer) as port, connected(port) as channel:
        with pytest.raises(errors.Internal) as caught:
            await ask(channel)

    assert "secret" not in str(caught.value)


async def test_a_peer_that_does_not_answer_is_unavailable():
    never = asyncio.Event()

    async def answer(_request):
        await never.wait()

    async with serving(answer) as port, connected(port) as channel:
        with pytest.raises(errors.Unavailable):
            await ask(channel, timeout_s=0.2)


async def test_the_request_id_travels():
    seen = []

    async def answer(_request):
        seen.append(bound("request_id"))
        return pb.GetUsageResponse(images_used=3)

    async with serving(answer) as port, connected(port) as channel:
        with bind(request_id="req_1"):
            assert (await ask(channel)).images_used == 3

    assert seen == ["req_1"]


async def test_a_restarted_peer_is_found_again():
    async def answer(_request):
        return pb.GetUsageResponse(images_used=1)

    async with serving(answer) as port, connected(port) as channel:
        await ask(channel)
    async with connected(port) as channel:
        with pytest.raises(errors.Unavailable):
            await ask(channel)
        async with serving(answer, f"127.0.0.1:{port}"):
            async with asyncio.timeout(SURELY_S):
                await channel.channel_ready()
            assert (await ask(channel)).images_used == 1


@contextlib.asynccontextmanager
async def slow_to_open(port, delay_s):
    """A way to `port` on which the first byte of an answer takes `delay_s`."""

    async def carry(source, target):
        with contextlib.suppress(ConnectionError):
            while piece := await source.read(65_536):
                target.write(piece)
                await target.drain()
        target.close()

    async def forward(reader, writer):
        behind, ahead = await asyncio.open_connection("127.0.0.1", port)
        sending = asyncio.create_task(carry(reader, ahead))
        await asyncio.sleep(delay_s)  # the fault itself: nobody waits for it
        await carry(behind, writer)
        await sending

    async with await asyncio.start_server(forward, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_peer_that_is_slow_to_shake_hands_is_waited_for():
    async def answer(_request):
        return pb.GetUsageResponse(images_used=1)

    async with serving(answer) as port, slow_to_open(port, 0.5) as slow_port, connected(slow_port) as channel:
        assert (await ask(channel, timeout_s=10)).images_used == 1


async def test_health_says_whether_the_peer_serves():
    async def answer(_request):
        return pb.GetUsageResponse()

    server = RpcServer("127.0.0.1:0")
    server.add(rpc.add_AuthServiceServicer_to_server, Servicer(answer), "imagineo.v1.AuthService")
    async with connected(await server.start()) as channel:
        await check_health(channel)
        await server.set_serving(serving=False)
        with pytest.raises(errors.Unavailable):
            await check_health(channel)
        await server.drain(0)


async def test_reflection_lists_the_service():
    async def answer(_request):
        return pb.GetUsageResponse()

    async with serving(answer) as port, connected(port) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        stream = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        names = [s.name async for reply in stream for s in reply.list_services_response.service]

    assert "imagineo.v1.AuthService" in names


async def test_servers_are_replaced_one_by_one_under_load_and_no_call_fails():
    """As a Deployment does it: a new one first, then an old one ends, which its callers are told before."""

    def server_on(port):
        called = asyncio.Event()

        async def answer(_request):
            called.set()
            return pb.GetUsageResponse()

        server = RpcServer(f"127.0.0.1:{port}")
        server.add(rpc.add_AuthServiceServicer_to_server, Servicer(answer), "imagineo.v1.AuthService")
        return server, called

    over, calls_count = False, 0

    async def keep_asking(channel):
        nonlocal calls_count
        while not over:
            await ask(channel)
            calls_count += 1

    ports = [free_port() for _ in range(3)]
    serving = {port: server_on(port)[0] for port in ports[:2]}
    for server in serving.values():
        await server.start()
    async with connect("ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)) as channel:
        load = [asyncio.create_task(keep_asking(channel)) for _ in range(32)]
        for _ in range(4):
            (free,) = set(ports) - serving.keys()
            new, called = server_on(free)
            await new.start()
            await asyncio.wait_for(called.wait(), SURELY_S)
            oldest = next(iter(serving))
            await serving.pop(oldest).drain()
            serving[free] = new
        over = True
        await asyncio.gather(*load)
    for server in serving.values():
        await server.drain()
    assert calls_count > 100
