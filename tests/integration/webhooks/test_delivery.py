"""What reaches a receiver, and what happens when it does not: real Postgres, NATS and HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import timedelta

import pytest
from imagineo import errors
from imagineo.ids import new_id
from imagineo.v1 import generation_pb2
from imagineo.v1 import webhook_pb2 as pb
from imagineo.v1 import webhook_service_pb2 as service

from services.webhooks.repository.deliveries import SQL as DELIVERIES
from services.webhooks.repository.endpoints import SQL as ENDPOINTS
from tests.support.deadlines import NOT_NEVER_S, SURELY_S
from tests.support.receiver import babbles, hangs_up, holds, receiver, says

DAY = timedelta(days=1)


def delivered(log):
    return log and all(line.state == pb.DELIVERY_STATE_DELIVERED for line in log)


async def test_every_query_prepares(database):
    async with database.connection() as connection:
        for sql in (*DELIVERIES.values(), *ENDPOINTS.values()):
            await connection.prepare(sql)


async def test_an_event_is_posted_signed_and_logged(hooks, target):
    webhook_id, secret = await hooks.create(target.url, "generation.completed")
    run_id = new_id("gen")

    event_id = await hooks.say(run_id=run_id)
    request = await target.next()

    assert request.line == "POST /hook HTTP/1.1"
    assert request.event_id == event_id
    assert request.headers["content-type"] == "application/json"
    content = request.verify(secret)
    assert (content["type"], content["data"]["run_id"]) == ("generation.completed", run_id)
    assert content["data"]["image_url"].startswith(f"https://imagineo.test/images/{run_id}.png?expires=")
    [line] = await hooks.until(delivered, webhook_id)
    assert (line.event_id, line.subject_id, line.attempts, line.status_code) == (event_id, run_id, 1, 200)
    assert (line.last_error, line.HasField("next_attempt_at"), line.url) == ("", False, target.url)


async def test_an_endpoint_is_told_of_what_it_asked_for_and_its_owner_only(hooks, target):
    _, failed = await hooks.create(f"{target.url}/failed", "generation.failed", "generation.expired")
    _, everything = await hooks.create(f"{target.url}/all", "*")
    await hooks.create(f"{target.url}/stranger", organization_id=new_id("org"))
    await hooks.create(f"{target.url}/off", disabled=True)

    await hooks.say(generation_pb2.STATUS_COMPLETED)
    assert (await target.next()).verify(everything)["type"] == "generation.completed"
    await hooks.say(generation_pb2.STATUS_FAILED)
    both = sorted([await target.next(), await target.next()], key=lambda request: request.line)

    assert [request.line.split()[1] for request in both] == ["/hook/all", "/hook/failed"]
    assert both[1].verify(failed)["type"] == "generation.failed"
    await hooks.until(lambda log: len(log) == 3 and delivered(log))


async def test_an_event_that_comes_twice_is_posted_once(hooks, target):
    await hooks.create(target.url)
    event_id = await hooks.say()
    await target.next()

    await hooks.say(event_id=event_id)
    last = await hooks.say()

    assert (await target.next()).event_id == last
    assert len(target.requests) == 2


async def test_a_runs_own_url_is_told_with_the_organizations_secret(hooks, target):
    event_id = await hooks.say(generation_pb2.STATUS_CANCELED, webhook_url=target.url)
    request = await target.next()

    secret = (await hooks(service.GetSigningSecretRequest(organization_id=hooks.owner))).secret.secret
    assert request.event_id == event_id
    content = request.verify(secret)
    assert content["type"] == "generation.canceled"
    assert "webhook_url" not in content["data"]
    [line] = await hooks.until(delivered)
    assert (line.webhook_id, line.url) == ("", target.url)


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (says(500, b"no\x00pe"), 500, "HTTP 500"),
        (says(404), 404, "HTTP 404"),
        (says(302, Location="http://127.0.0.1:1/"), 302, "HTTP 302: redirects are not followed"),
        (hangs_up, 0, "the connection broke before there was an answer"),
    ],
)
async def test_what_is_no_success_is_tried_again_under_the_same_id(hooks, clock, target, answer, status, error):
    webhook_id, _ = await hooks.create(target.url)
    target.answers.append(answer)
    event_id = await hooks.say()
    first = await target.next()

    [line] = await hooks.until(lambda log: log and log[0].attempts == 1, webhook_id)
    assert (line.state, line.status_code, line.last_error) == (pb.DELIVERY_STATE_PENDING, status, error)
    wait_s = line.next_attempt_at.seconds - line.attempted_at.seconds
    assert 2 <= wait_s <= 8
    assert (await hooks.webhook(webhook_id)).HasField("failing_since")
    clock.ahead += timedelta(seconds=10)
    second = await target.next()

    assert first.event_id == second.event_id == event_id
    assert second.headers["webhook-timestamp"] > first.headers["webhook-timestamp"]
    [line] = await hooks.until(delivered, webhook_id)
    assert (line.attempts, line.last_error) == (2, "")
    assert not (await hooks.webhook(webhook_id)).HasField("failing_since")
    if status == 302:
        assert target.connections == 2


async def test_a_receiver_that_says_nothing_is_left_after_the_time_limit(start, target):
    forever = asyncio.Event()
    target.answers.append(holds(forever))
    async with start(timeout_s=0.3) as hooks:
        webhook_id, _ = await hooks.create(target.url)
        await hooks.say()
        [line] = await hooks.until(lambda log: log and log[0].attempts == 1, webhook_id)
    assert (line.status_code, line.last_error) == (0, "no answer within 0.3 s")
    assert 300 <= line.duration_ms < NOT_NEVER_S * 1000, "a receiver that says nothing is waited for"


async def test_an_answer_without_end_is_read_to_its_first_kilobyte(hooks, target):
    target.answers.append(babbles)
    webhook_id, _ = await hooks.create(target.url)
    await hooks.say()
    [line] = await hooks.until(delivered, webhook_id)
    assert line.last_response == "x" * 1024


async def test_a_receiver_says_when_to_come_back(hooks, target):
    target.answers.append(says(429, Retry_After="600"))
    webhook_id, _ = await hooks.create(target.url)
    await hooks.say()
    [line] = await hooks.until(lambda log: log and log[0].attempts == 1, webhook_id)
    assert 595 <= line.next_attempt_at.seconds - line.attempted_at.seconds <= 605


async def test_after_three_days_it_is_given_up_and_can_be_asked_for_again(hooks, clock, target):
    webhook_id, _ = await hooks.create(target.url)
    target.answers += [says(500)] * 3
    event_id = await hooks.say()
    await target.next()
    await hooks.until(lambda log: log and log[0].attempts == 1, webhook_id)
    clock.ahead += timedelta(days=2, hours=23)
    await target.next()
    [line] = await hooks.until(lambda log: log[0].attempts == 2, webhook_id)
    assert line.state == pb.DELIVERY_STATE_PENDING
    clock.ahead += timedelta(hours=2)
    await target.next()
    [line] = await hooks.until(lambda log: log[0].state == pb.DELIVERY_STATE_FAILED, webhook_id)
    assert (line.attempts, line.HasField("next_attempt_at")) == (3, False)

    names = {"organization_id": hooks.owner, "webhook_id": webhook_id, "delivery_id": line.delivery_id}
    assert (await hooks(service.RedeliverRequest(**names))).delivery.state == pb.DELIVERY_STATE_PENDING
    assert (await target.next()).event_id == event_id
    [line] = await hooks.until(delivered, webhook_id)
    assert line.attempts == 4


async def test_a_delivery_is_asked_for_again_by_its_owner_only(hooks, target):
    webhook_id, _ = await hooks.create(target.url)
    await hooks.say()
    await target.next()
    [line] = await hooks.until(delivered, webhook_id)
    other, _ = await hooks.create(target.url)
    for names in (
        {"organization_id": new_id("org"), "webhook_id": webhook_id, "delivery_id": line.delivery_id},
        {"organization_id": hooks.owner, "webhook_id": other, "delivery_id": line.delivery_id},
        {"organization_id": hooks.owner, "webhook_id": webhook_id, "delivery_id": new_id("whd")},
        {"organization_id": hooks.owner, "webhook_id": webhook_id, "delivery_id": "\0"},
    ):
        with pytest.raises(errors.NotFound):
            await hooks(service.RedeliverRequest(**names))


async def test_events_of_one_run_keep_their_order_at_a_receiver_and_others_pass_them(hooks, clock, target):
    webhook_id, _ = await hooks.create(target.url)
    run_id, early, late, other = new_id("gen"), new_id("evt"), new_id("evt"), new_id("evt")
    target.answers.append(says(500))
    await hooks.say(run_id=run_id, event_id=early)
    assert (await target.next()).event_id == early
    await hooks.until(lambda log: log and log[0].attempts == 1, webhook_id)

    await hooks.say(run_id=run_id, event_id=late)
    await hooks.say(event_id=other)
    assert (await target.next()).event_id == other
    clock.ahead += timedelta(seconds=10)

    assert [(await target.next()).event_id, (await target.next()).event_id] == [early, late]
    await hooks.until(lambda log: len(log) == 3 and delivered(log), webhook_id)


async def test_a_dead_receiver_delays_nobody(start, target):
    never = asyncio.Event()
    bounds = {"timeout_s": 2 * SURELY_S, "attempts_at_once": 8, "attempts_of_one_owner": 6}
    async with receiver(*[holds(never)] * 1000) as dead, start(**bounds) as hooks:
        await hooks.create(dead.url)
        for _ in range(20):
            await hooks.say()
        for _ in range(4):
            await dead.next()
        _, secret = await hooks.create(target.url, "generation.failed")
        # The dead one has what is due first, and more of it than there are attempts at once.
        for _ in range(5):
            event_id = await hooks.say(generation_pb2.STATUS_FAILED)
            request = await target.next(within_s=SURELY_S)
            assert request.event_id == event_id
            request.verify(secret)
        assert dead.connections == 4


async def test_many_dead_receivers_of_one_owner_delay_no_other(start, target):
    never = asyncio.Event()
    bounds = {"timeout_s": 2 * SURELY_S, "attempts_at_once": 8, "attempts_of_one_owner": 4, "attempts_at_one_origin": 2}
    async with contextlib.AsyncExitStack() as stack:
        dead = [await stack.enter_async_context(receiver(*[holds(never)] * 9)) for _ in range(6)]
        hooks = await stack.enter_async_context(start(**bounds))
        for one in dead:
            await hooks.create(one.url)
        for _ in range(6):
            await hooks.say()
        async with asyncio.timeout(SURELY_S):
            while sum(one.connections for one in dead) < 4:  # noqa: ASYNC110 - six servers
                await asyncio.sleep(0.02)
        hooks.owner = new_id("org")
        _, secret = await hooks.create(target.url)
        for _ in range(5):
            await hooks.say()
            (await target.next(within_s=SURELY_S)).verify(secret)
        assert sum(one.connections for one in dead) == 4


async def test_a_receiver_gets_so_many_at_once_and_one_after_a_failure(start, clock):
    go_on = asyncio.Event()
    async with receiver(*[holds(go_on)] * 4) as slow, start(attempts_at_one_origin=4, timeout_s=5.0) as hooks:
        webhook_id, _ = await hooks.create(slow.url)
        for _ in range(12):
            await hooks.say()
        for _ in range(4):
            await slow.next()
        await hooks.until(lambda log: len(log) == 12, webhook_id)
        assert slow.connections == 4
        go_on.set()
        await hooks.until(lambda log: len(log) == 12 and delivered(log), webhook_id, within_s=SURELY_S)


async def test_a_success_after_failures_is_no_reason_to_switch_off(hooks, clock, target):
    webhook_id, _ = await hooks.create(target.url)
    for _ in range(3):
        target.answers.append(says(500))
        await hooks.say()
        await target.next()
        await hooks.until(lambda log: any(line.attempts and line.state == pb.DELIVERY_STATE_PENDING for line in log))
        clock.ahead += timedelta(days=2)
        await target.next()
        await hooks.until(delivered)
    assert (await hooks.webhook(webhook_id)).active


async def test_five_days_of_failure_switch_an_endpoint_off_and_the_owner_is_told(hooks, clock, target):
    async with receiver(*[says(503)] * 100) as broken:
        webhook_id, _ = await hooks.create(broken.url, "generation.failed")
        _, secret = await hooks.create(target.url, "webhook.disabled")
        await hooks.say(generation_pb2.STATUS_FAILED)
        await broken.next()
        await hooks.until(lambda log: log and log[0].attempts == 1, webhook_id)
        clock.ahead += timedelta(days=4)
        await broken.next()
        await hooks.until(lambda log: log[0].state == pb.DELIVERY_STATE_FAILED, webhook_id)
        assert (await hooks.webhook(webhook_id)).active
        clock.ahead += timedelta(days=1, hours=1)
        await hooks.say(generation_pb2.STATUS_FAILED)
        await broken.next()
        request = await target.next()

    assert request.is_signed_by(secret)
    told = json.loads(request.body)
    hook = await hooks.webhook(webhook_id)
    assert (hook.active, hook.disabled_reason) == (False, pb.DISABLED_REASON_FAILING)
    assert hook.HasField("disabled_at")
    assert (told["type"], told["data"]["id"]) == ("webhook.disabled", webhook_id)
    assert (told["data"]["active"], told["data"]["disabled_reason"]) == (False, "failing")
    note, last, first = await hooks.until(lambda log: len(log) == 3, webhook_id)
    assert (note.event_type, note.state) == ("webhook.disabled", pb.DELIVERY_STATE_DROPPED)
    assert "every attempt of five days failed" in note.last_error
    assert (first.state, last.state) == (pb.DELIVERY_STATE_FAILED, pb.DELIVERY_STATE_DROPPED)


async def test_410_switches_off_at_once_and_switching_on_begins_anew(hooks, target):
    target.answers.append(says(410))
    webhook_id, secret = await hooks.create(target.url)
    await hooks.say()
    await target.next()
    log = await hooks.until(lambda log: len(log) == 2, webhook_id)
    hook = await hooks.webhook(webhook_id)
    assert (hook.active, hook.disabled_reason) == (False, pb.DISABLED_REASON_GONE)
    names = {"organization_id": hooks.owner, "webhook_id": webhook_id}
    with pytest.raises(errors.FailedPrecondition):
        await hooks(service.RedeliverRequest(**names, delivery_id=log[-1].delivery_id))

    hook = (await hooks(service.UpdateWebhookRequest(**names, active=True))).webhook
    assert (hook.active, hook.disabled_reason, hook.HasField("failing_since")) == (True, 0, False)
    await hooks(service.RedeliverRequest(**names, delivery_id=log[-1].delivery_id))
    (await target.next()).verify(secret)


async def test_after_a_rotation_both_secrets_sign_until_the_old_one_is_over(hooks, clock, target):
    webhook_id, old = await hooks.create(target.url)
    names = {"organization_id": hooks.owner, "webhook_id": webhook_id}
    rotated = (await hooks(service.RotateSecretRequest(**names))).secret
    assert 86_390 <= rotated.previous_until.seconds - hooks.clock().timestamp() <= 86_400
    await hooks.say()
    request = await target.next()
    assert len(request.headers["webhook-signature"].split()) == 2
    assert request.verify(old) == request.verify(rotated.secret)

    clock.ahead += timedelta(hours=25)
    await hooks.say()
    request = await target.next()
    assert len(request.headers["webhook-signature"].split()) == 1
    assert request.is_signed_by(rotated.secret)
    assert not request.is_signed_by(old)


async def test_a_new_address_takes_along_what_waits(hooks, clock, target):
    async with receiver(*[says(500)] * 9) as before:
        webhook_id, _ = await hooks.create(before.url)
        event_id = await hooks.say()
        await before.next()
        await hooks.until(lambda log: log and log[0].attempts == 1, webhook_id)
    names = {"organization_id": hooks.owner, "webhook_id": webhook_id}
    await hooks(service.UpdateWebhookRequest(**names, url=target.url))
    clock.ahead += timedelta(seconds=10)
    request = await target.next()
    assert request.event_id == event_id


async def test_deliveries_are_kept_for_thirty_days(start, hooks, clock, target):
    webhook_id, _ = await hooks.create(target.url)
    await hooks.say()
    await hooks.until(delivered, webhook_id)
    clock.ahead += 29 * DAY
    async with start() as again:
        await again.until(delivered, webhook_id)
    clock.ahead += 2 * DAY
    async with start() as again:  # it sweeps at its start
        await again.until(lambda log: not log, webhook_id)


async def test_bad_messages_in_the_stream_hold_up_nobody(hooks, target):
    await hooks.create(target.url)
    for number, body in enumerate((b"\xff\xff", b"", b"{}", b"\x0a\x01x")):
        await hooks.broker.publish_event(f"imagineo.v1.events.ended.bad{number}", body, message_id=new_id("evt"))
    event_id = await hooks.say()
    assert (await target.next()).event_id == event_id


async def test_a_receiver_that_just_failed_gets_one_at_a_time(start, clock):
    go_on = asyncio.Event()
    async with receiver(says(500), holds(go_on)) as shaky, start(timeout_s=10.0) as hooks:
        webhook_id, _ = await hooks.create(shaky.url)
        await hooks.say()
        await shaky.next()
        await hooks.until(lambda log: log and log[0].attempts == 1, webhook_id)
        for _ in range(5):
            await hooks.say()
        await shaky.next()
        await hooks.until(lambda log: len(log) == 6, webhook_id)
        assert shaky.connections == 2
        clock.ahead += timedelta(minutes=11)
        for _ in range(3):  # that was long ago now
            await shaky.next()
        go_on.set()
        await hooks.until(lambda log: len(log) == 6 and delivered(log), webhook_id)
