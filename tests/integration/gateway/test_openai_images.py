"""The OpenAI shape over scripted peers: one request for all images, the runs' ends, and the client's going."""

import asyncio
import json

import pytest
from imagineo import errors
from imagineo.v1 import generation_pb2
from openapi_schema_validator import OAS31Validator

from tests.support.deadlines import SURELY_S
from tests.support.gateway_peers import LORA, platform


@pytest.fixture
async def gateway():
    async with platform() as found:
        yield found


def ask(gateway, **fields):
    body = {"prompt": "a blue mug", "model": LORA.model_id} | fields
    return asyncio.create_task(gateway.client.post("/v1/images/generations", json=body))


async def accepted(gateway, count):
    async with asyncio.timeout(SURELY_S):
        while len(gateway.status.published) < count:
            gateway.status.on_published.clear()
            await gateway.status.on_published.wait()
    return [submission.job.run_id for submission in gateway.status.submissions]


async def test_n_images_are_one_request_of_n_runs_with_seeds_in_a_row(gateway):
    asking = ask(gateway, n=3, seed=9, size="256x128", user="u1", lora_weight=0.5)
    run_ids = await accepted(gateway, 3)
    for run_id in run_ids:
        await gateway.blobs.put(f"images/{run_id}", b"image", content_type="image/png")
        gateway.status.finish(run_id, b"image", "a" * 64)
    response = await asking
    shown = response.json()
    document = (await gateway.client.get("/openapi.json")).json()
    schema = {"$ref": "#/components/schemas/ImageAnswer", "components": document["components"]}
    OAS31Validator(schema).validate(shown)
    assert [(one["seed"], one["run_id"]) for one in shown["data"]] == list(zip((9, 10, 11), run_ids, strict=True))
    assert shown["size"] == "256x128"
    check = gateway.auth.checks[0]
    assert [check.reserve_run_id, *check.more_run_ids] == run_ids
    assert len(gateway.auth.checks) == 1
    assert [dict(one.metadata) for one in gateway.status.submissions] == [{"user": "u1"}] * 3
    assert gateway.status.submissions[0].job.adapters[0].weight == 0.5


async def test_a_client_that_goes_takes_its_runs_with_it(gateway):
    asking = asyncio.create_task(_raw(gateway, gone := asyncio.Event()))
    (run_id,) = await accepted(gateway, 1)
    await asyncio.wait_for(gateway.status.on_watch.wait(), SURELY_S)
    gone.set()
    await asyncio.wait_for(asking, SURELY_S)
    await asyncio.wait_for(gateway.status.on_cancel.wait(), SURELY_S)
    assert gateway.status.runs[run_id].status == generation_pb2.STATUS_CANCELED


async def _raw(gateway, gone):
    """One request through ASGI whose client goes at `gone`."""
    body = json.dumps({"prompt": "a mug", "model": LORA.model_id}).encode()
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    headers = [(b"x-api-key", gateway.auth.secret.encode()), (b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/images/generations",
        "query_string": b"",
        "headers": headers,
    }

    async def receive():
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError(message)

    await gateway.app(scope, receive, send)


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"n": 11}, 400, "invalid_parameter", "n"),
        ({"size": "100x100"}, 400, "invalid_parameter", "size"),
        ({"size": "large"}, 400, "invalid_parameter", "size"),
        ({"style": "vivid"}, 400, "invalid_parameter", "style"),
        ({"background": "transparent"}, 400, "invalid_parameter", "background"),
        ({"prompt": ""}, 400, "invalid_parameter", "prompt"),
        ({"stream": True}, 400, "unknown_field", "stream"),
        ({"model": "dall-e-3"}, 404, "model_not_found", "model"),
        ({"size": "2048x512"}, 400, "invalid_parameter", "size"),
    ],
)
async def test_a_refusal_is_in_openais_shape_and_leaves_nothing(gateway, fields, status, code, param):
    response = await ask(gateway, **fields)
    error = response.json()["error"]
    assert response.status_code == status
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
    assert set(error) == {"message", "type", "param", "code"}
    assert gateway.status.submissions == []


async def test_a_quota_that_does_not_suffice_gives_all_reservations_back(gateway):
    gateway.auth.refusal = errors.QuotaExceeded()
    response = await ask(gateway, n=2)
    assert (response.status_code, response.json()["error"]["type"]) == (429, "rate_limit_error")
    check = gateway.auth.checks[0]
    async with asyncio.timeout(SURELY_S):
        while len(gateway.auth.released) < 2:
            gateway.auth.on_release.clear()
            await gateway.auth.on_release.wait()
    assert sorted(gateway.auth.released) == sorted([check.reserve_run_id, *check.more_run_ids])


async def test_a_key_that_is_revoked_meanwhile_is_told_so_and_leaves_no_run(gateway):
    asking = ask(gateway)
    (run_id,) = await accepted(gateway, 1)
    await asyncio.wait_for(gateway.status.on_watch.wait(), SURELY_S)
    gateway.auth.is_revoked = True
    response = await asyncio.wait_for(asking, SURELY_S)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")
    await asyncio.wait_for(gateway.status.on_cancel.wait(), SURELY_S)
    assert gateway.status.runs[run_id].status == generation_pb2.STATUS_CANCELED


async def test_a_failed_run_fails_the_request_and_is_not_asked_for_again(gateway):
    asking = ask(gateway, n=2)
    first, second = await accepted(gateway, 2)
    gateway.status.change(first, status=generation_pb2.STATUS_FAILED)
    gateway.status.finish(second, b"", "")
    response = await asking
    assert (response.status_code, response.headers["x-should-retry"]) == (500, "false")
    assert response.json()["error"]["type"] == "server_error"
