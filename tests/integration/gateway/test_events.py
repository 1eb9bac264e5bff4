"""The event streams over scripted peers: order, resumption, sharing, slow readers, ends."""

import asyncio
import base64

import pytest
from imagineo import errors
from imagineo.broker import subjects
from imagineo.ids import new_id
from imagineo.v1 import event_pb2, generation_pb2
from openapi_schema_validator import OAS31Validator

from services.gateway import previewing
from services.gateway.endpoints import events
from services.gateway.schemas_generations import GENERATION_SCHEMAS
from tests.support.deadlines import SURELY_S
from tests.support.event_streams import AsgiStream
from tests.support.gateway_peers import new_run_id, platform

RUNNING = generation_pb2.STATUS_RUNNING


@pytest.fixture
async def gateway():
    async with platform(max_streams_count=8) as found:
        yield found


def follow(gateway, run_id, *, method="GET", query="", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    path = f"/v1/generations/{run_id}/events"
    return AsgiStream(gateway.app, path, {"X-API-Key": gateway.auth.secret, **named}, method=method, query=query)


async def submitted(gateway):
    answer = await gateway.generate()
    assert answer.status_code == 200, answer.text
    return answer.json()["run_id"]


def shown(found):
    return [(event["event"], event["data"]["status"], event["data"]["progress"]) for event in found]


async def test_a_stream_tells_the_snapshot_then_each_change_and_ends_after_the_terminal_one(gateway):
    run_id = await submitted(gateway)
    stream = follow(gateway, run_id)
    found = await stream.events(1)
    gateway.status.change(run_id, status=RUNNING)
    found += await stream.events(1)
    gateway.status.change(run_id, progress=40)
    found += await stream.events(1)
    gateway.status.finish(run_id, b"image", "a" * 64)
    found += await stream.events(1)

    assert await stream.rest() == []
    assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert (stream.headers["cache-control"], stream.headers["x-accel-buffering"]) == ("no-store", "no")
    assert "content-length" not in stream.headers
    assert shown(found) == [
        ("snapshot", "queued", 0),
        ("status", "running", 0),
        ("progress", "running", 40),
        ("status", "completed", 100),
    ]
    assert [event["id"] for event in found] == [f"{run_id}:{version}" for version in (1, 2, 3, 4)]
    document = (await gateway.client.get("/openapi.json")).json()
    validator = OAS31Validator({"$ref": "#/components/schemas/Generation", "components": document["components"]})
    for event in found:
        validator.validate(event["data"])


async def test_a_client_that_comes_back_gets_only_what_is_newer(gateway):
    run_id = await submitted(gateway)
    gateway.status.change(run_id, status=RUNNING)
    stream = follow(gateway, run_id, Last_Event_ID=f"{run_id}:2")
    await asyncio.wait_for(gateway.status.on_watch.wait(), SURELY_S)
    gateway.status.change(run_id, progress=70)
    found = await stream.events(1)
    assert [event["id"] for event in found] == [f"{run_id}:3"]
    gateway.status.finish(run_id, b"image", "a" * 64)
    assert [event["id"] for event in await stream.rest()] == [f"{run_id}:4"]

    missed = follow(gateway, run_id, Last_Event_ID=f"{run_id}:3")
    assert [event.get("id") for event in await missed.rest()] == [None, f"{run_id}:4"]


async def test_a_terminal_event_that_was_received_is_not_repeated(gateway):
    run_id = await submitted(gateway)
    gateway.status.finish(run_id, b"image", "a" * 64)
    stream = follow(gateway, run_id, Last_Event_ID=f"{run_id}:2")
    assert await stream.rest() == []
    assert stream.status == 204


@pytest.mark.parametrize("last", ["x", "7", "gen_x:1", f"{new_run_id()}:1", "{own}:", "{own}:-1", "{own}:1:2", ":1"])
async def test_an_event_id_of_elsewhere_is_refused_by_the_headers_name(gateway, last):
    run_id = await submitted(gateway)
    response = await gateway.client.get(
        f"/v1/generations/{run_id}/events", headers={"Last-Event-ID": last.format(own=run_id)}
    )
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "Last-Event-ID"
    assert gateway.parts.following.watches_count == 0


@pytest.mark.parametrize("run_id", ["x", "gen_%00", new_run_id()])
async def test_an_unknown_run_has_no_stream(gateway, run_id):
    response = await gateway.client.get(f"/v1/generations/{run_id}/events")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    assert gateway.parts.following.watches_count == 0


async def test_many_readers_of_a_run_share_one_watch_and_the_last_to_leave_ends_it(gateway):
    run_id = await submitted(gateway)
    streams = [follow(gateway, run_id) for _ in range(4)]
    for stream in streams:
        assert shown(await stream.events(1)) == [("snapshot", "queued", 0)]
    assert (gateway.status.watches_begun, gateway.status.watches_open) == (1, 1)
    for stream in streams[1:]:
        await stream.leave()
    gateway.status.change(run_id, status=RUNNING)
    assert shown(await streams[0].events(1)) == [("status", "running", 0)]
    assert gateway.status.watches_open == 1
    await streams[0].leave()
    await asyncio.wait_for(gateway.status.on_unwatched.wait(), SURELY_S)
    assert (gateway.status.watches_open, gateway.parts.following.watches_count) == (0, 0)


async def test_a_slow_reader_skips_what_is_past_and_holds_up_nobody(gateway):
    run_id = await submitted(gateway)
    slow, quick = follow(gateway, run_id), follow(gateway, run_id)
    await slow.events(1)
    await quick.events(1)
    gateway.status.change(run_id, status=RUNNING)
    await quick.events(1)
    for progress in range(10, 100, 10):
        gateway.status.change(run_id, progress=progress)
        assert shown(await quick.events(1)) == [("progress", "running", progress)]
    gateway.status.finish(run_id, b"image", "a" * 64)
    assert shown(await quick.rest()) == [("status", "completed", 100)]
    found = await slow.rest()
    assert len(found) <= 4  # two lay on the way when it stopped reading, and then the newest
    assert found[-1]["data"]["status"] == "completed"


async def test_a_quiet_stream_is_kept_alive(gateway, monkeypatch):
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.05)
    stream = follow(gateway, await submitted(gateway))
    await stream.events(1)
    assert [await stream.next() for _ in range(2)] == [{"": "still here"}] * 2
    await stream.leave()


async def test_a_stream_outlasts_a_restart_of_status(gateway):
    run_id = await submitted(gateway)
    gateway.status.watches_to_break = 2
    stream = follow(gateway, run_id)
    found = await stream.events(1)
    gateway.status.finish(run_id, b"image", "a" * 64)
    found += await stream.rest()
    assert [event["id"] for event in found] == [f"{run_id}:1", f"{run_id}:2"]


async def test_a_stream_of_a_run_that_is_erased_ends_and_the_next_is_not_found(gateway):
    run_id = await submitted(gateway)
    stream = follow(gateway, run_id)
    await stream.events(1)
    del gateway.status.runs[run_id]
    gateway.status.tell()
    assert await stream.rest() == []
    assert (await gateway.client.get(f"/v1/generations/{run_id}/events")).status_code == 404


async def test_streams_over_the_bound_are_refused_until_one_ends(gateway):
    run_id = await submitted(gateway)
    streams = [follow(gateway, run_id) for _ in range(4)]  # half of the gateway's eight: one account's share
    for stream in streams:
        await stream.events(1)
    refused = await gateway.client.get(f"/v1/generations/{run_id}/events")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_streams")
    assert refused.headers["retry-after"] == "5"
    await streams.pop().leave()
    again = follow(gateway, run_id)
    await again.events(1)
    for stream in (*streams, again):
        await stream.leave()


async def test_a_drain_ends_streams_with_word_when_to_come_back(gateway):
    stream = follow(gateway, await submitted(gateway))
    await stream.events(1)
    gateway.parts.drain()
    assert [block.get("retry") for block in await stream.rest()] == ["1000"]


async def test_head_answers_without_a_stream(gateway):
    stream = follow(gateway, await submitted(gateway), method="HEAD")
    assert await stream.rest() == []
    assert (stream.status, gateway.parts.following.watches_count) == (200, 0)


async def test_a_status_that_is_away_means_503(gateway):
    run_id = await submitted(gateway)
    await gateway.servers["status"].drain(0)
    response = await gateway.client.get(f"/v1/generations/{run_id}/events")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")


@pytest.fixture
async def asks(gateway):
    """What is asked of the workers."""
    found = asyncio.Queue()

    async def hear(subject, _body):
        found.put_nowait(subject)

    subscription = await gateway.broker.subscribe(subjects.EVERY_PREVIEW_ASK, hear)
    yield found
    await subscription.close()


async def shows(gateway, run_id, step, attempt=1):
    preview = event_pb2.Preview(run_id=run_id, attempt=attempt, step=step, steps=20, webp=b"picture %d" % step)
    await gateway.broker.emit(subjects.preview(run_id), preview.SerializeToString())


def preview_of(run_id, step):
    image = "data:image/webp;base64," + base64.b64encode(b"picture %d" % step).decode()
    return {"event": "preview", "data": {"run_id": run_id, "step": step, "steps": 20, "image": image}}


async def test_previews_are_asked_for_while_the_run_is_running_and_shown_without_an_id(gateway, asks, monkeypatch):
    monkeypatch.setattr(previewing, "ASK_S", 0.02)
    run_id = await submitted(gateway)
    stream = follow(gateway, run_id, query="previews=true")
    await stream.events(1)
    assert asks.empty()
    gateway.status.change(run_id, status=RUNNING)
    await stream.events(1)
    assert [await asyncio.wait_for(asks.get(), SURELY_S) for _ in range(3)] == [subjects.preview_ask(run_id)] * 3

    await shows(gateway, run_id, 3)
    assert await stream.events(1) == [preview_of(run_id, 3)]
    await shows(gateway, run_id, 2)  # late: an older picture
    await shows(gateway, run_id, 1, attempt=2)
    assert await stream.events(1) == [preview_of(run_id, 1)]
    validator = OAS31Validator(GENERATION_SCHEMAS["Preview"])
    validator.validate(preview_of(run_id, 1)["data"])

    gateway.status.finish(run_id, b"image", "a" * 64)
    await shows(gateway, run_id, 9, attempt=3)
    assert [event["event"] for event in await stream.rest() if "event" in event][-1] == "status"
    while not asks.empty():
        asks.get_nowait()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asks.get(), 0.1)


async def test_previews_reach_only_those_who_ask_and_end_with_the_last_of_them(gateway, asks, monkeypatch):
    monkeypatch.setattr(previewing, "ASK_S", 0.02)
    run_id = await submitted(gateway)
    gateway.status.change(run_id, status=RUNNING)
    plain, first, second = (follow(gateway, run_id, query=query) for query in ("", "previews=true", "previews=true"))
    for stream in (plain, first, second):
        await stream.events(1)
    await asyncio.wait_for(asks.get(), SURELY_S)
    await shows(gateway, run_id, 1)
    assert await first.events(1) == await second.events(1) == [preview_of(run_id, 1)]
    await first.leave()
    await asyncio.wait_for(asks.get(), SURELY_S)
    await second.leave()
    gateway.status.change(run_id, progress=50)
    assert shown(await plain.events(1)) == [("progress", "running", 50)]  # it had no preview before
    while not asks.empty():
        asks.get_nowait()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asks.get(), 0.1)
    await plain.leave()


REFUSALS = {
    "revoked": lambda auth: setattr(auth, "is_revoked", True),
    "without the permission": lambda auth: setattr(auth, "refusal", errors.PermissionDenied()),
    "of another organization": lambda auth: setattr(auth, "organization_id", new_id("org")),
}


@pytest.mark.parametrize("refuse", REFUSALS.values(), ids=REFUSALS)
async def test_a_stream_ends_once_its_key_is_refused_and_shows_nothing_more(gateway, refuse):
    run_id = await submitted(gateway)
    streams = [follow(gateway, run_id) for _ in range(3)]
    for stream in streams:
        await stream.events(1)
    asked = len(gateway.auth.checks)

    refuse(gateway.auth)

    for stream in streams:
        assert await asyncio.wait_for(stream.rest(), SURELY_S) == []
    gateway.status.change(run_id, progress=50)  # nobody is there to be told
    assert gateway.parts.following.watches_count == 0
    again = gateway.auth.checks[asked:]
    assert all(check.is_uncounted for check in again)
    assert len(again) == 1, "one question for one key, however many streams"


async def test_a_stream_outlives_an_outage_of_auth_and_leaves_nothing_behind(gateway):
    run_id = await submitted(gateway)
    stream = follow(gateway, run_id)
    await stream.events(1)
    gateway.auth.on_check.clear()
    gateway.auth.refusal = errors.Unavailable()
    await asyncio.wait_for(gateway.auth.on_check.wait(), SURELY_S)
    await gateway.servers["auth"].drain(0)
    gateway.status.finish(run_id, b"image", "a" * 64)

    assert [event["data"]["status"] for event in await stream.events(1)] == ["completed"]
    assert await stream.rest() == []
    assert gateway.parts.vigil.holders_count == 0


async def test_a_wait_of_a_key_that_is_revoked_meanwhile_is_answered_as_the_run_stands(gateway):
    waiting = asyncio.create_task(gateway.generate(headers={"Prefer": "wait=60"}))
    await asyncio.wait_for(gateway.status.on_watch.wait(), SURELY_S)

    gateway.auth.is_revoked = True

    response = await asyncio.wait_for(waiting, SURELY_S)
    assert (response.status_code, response.json()["status"]) == (200, "queued")


async def test_a_slow_reader_gets_the_newest_preview_only(gateway, asks):
    run_id = await submitted(gateway)
    gateway.status.change(run_id, status=RUNNING)
    slow, quick = (follow(gateway, run_id, query="previews=true") for _ in range(2))
    await slow.events(1)
    await quick.events(1)
    await asyncio.wait_for(asks.get(), SURELY_S)
    for step in range(1, 10):
        await shows(gateway, run_id, step)
        assert await quick.events(1) == [preview_of(run_id, step)]
    gateway.status.finish(run_id, b"image", "a" * 64)
    found = [event["event"] for event in await slow.rest()]
    assert len(found) <= 4
    assert found[-1] == "status"


@pytest.mark.parametrize("value", ["false", "1", "True", "", "true&previews=true"])
async def test_previews_are_asked_for_with_true_alone(gateway, value):
    run_id = await submitted(gateway)
    response = await gateway.client.get(f"/v1/generations/{run_id}/events?previews={value}")
    assert (response.status_code, response.json()["error"]["param"]) == (400, "previews")
    assert gateway.parts.following.watches_count == 0
