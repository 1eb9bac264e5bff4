"""The routes over scripted peers: what a client sees, and what the peers are asked."""

import asyncio
import hashlib
import json
import re

import pytest
from imagineo import errors
from imagineo.v1 import account_pb2, generation_pb2, job_pb2
from openapi_schema_validator import OAS31Validator

from services.gateway.routes import ROUTES
from services.gateway.submission import read_submission
from tests.support.deadlines import SURELY_S, lived
from tests.support.gateway_peers import BASE, LORA, ORGANIZATION, OTHER_LORA, new_run_id, platform

RATE_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit-policy", "ratelimit")


@pytest.fixture
async def gateway():
    async with platform() as found:
        yield found


def problem(response, status, code):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code
    assert error["request_id"] == response.headers["x-request-id"]
    return error


async def test_a_submit_is_accepted_published_and_marked(gateway):
    response = await gateway.generate(
        lora_weight=0.8,
        seed=7,
        loras=[{"model_id": OTHER_LORA.model_id, "weight": 0.5}],
        headers={"Cancel-After": "60"},
    )
    answer = response.json()
    own = f"https://imagineo.test/v1/generations/{answer['run_id']}"
    assert response.status_code == 200
    assert answer == {
        "run_id": answer["run_id"],
        "status": "queued",
        "estimated_time": 9,
        "seed": 7,
        "urls": {"self": own, "events": f"{own}/events", "cancel": f"{own}/cancel"},
    }
    await asyncio.wait_for(gateway.status.on_published.wait(), SURELY_S)
    assert [mark.run_id for mark in gateway.status.published] == [answer["run_id"]]
    assert await gateway.broker.job_exists(gateway.status.published[0].stream_sequence, answer["run_id"])
    job = gateway.status.submissions[0].job
    assert (job.lane, job.base_model_slug, job.organization_id) == (job_pb2.LANE_PREMIUM, "starter", ORGANIZATION)
    assert [(one.model_id, one.weight) for one in job.adapters] == [(LORA.model_id, 0.8), (OTHER_LORA.model_id, 0.5)]
    assert job.deadline.seconds - job.accepted_at.seconds == 60
    assert (job.parameters.width, job.parameters.steps, job.parameters.scheduler) == (512, 20, "ddim")
    check = gateway.auth.checks[0]
    assert (check.reserve_run_id, check.permission) == (job.run_id, account_pb2.PERMISSION_GENERATIONS_WRITE)
    assert gateway.auth.released == []


async def test_a_base_model_is_drawn_without_a_lora(gateway):
    response = await gateway.generate(model_id=BASE.base_model_id)
    assert response.status_code == 200
    assert list(gateway.status.submissions[0].job.adapters) == []


async def test_every_authenticated_answer_has_rate_limit_and_request_id(gateway):
    answers = [
        await gateway.generate(),
        await gateway.generate(guidance=99),
        await gateway.client.get(f"/v1/generations/{new_run_id()}"),
        await gateway.client.get("/v1/models", headers={"X-Request-Id": "mine-1"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 400, 404, 200]
    assert all(name in answer.headers for answer in answers for name in RATE_HEADERS)
    assert answers[0].headers["ratelimit-policy"] == '"requests";q=100;w=60'
    assert answers[-1].headers["x-request-id"] == "mine-1"


async def test_an_insane_request_id_is_replaced(gateway):
    response = await gateway.client.get("/healthz", headers={"X-Request-Id": "a b\u007f"})
    assert response.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_api_key"),
        ({"X-API-Key": ""}, "missing_api_key"),
        ({"Authorization": "Basic abc"}, "missing_api_key"),
        ({"X-API-Key": "nonsense"}, "invalid_api_key"),
        ({"Authorization": "Bearer imag_short"}, "invalid_api_key"),
    ],
)
async def test_a_request_without_a_good_key_is_refused_before_anything_else(gateway, headers, code):
    gateway.client.headers.pop("x-api-key")
    response = await gateway.client.post("/v1/generate", content=b"not json", headers=headers)
    problem(response, 401, code)
    assert response.headers["www-authenticate"] == 'Bearer realm="imagineo"'
    assert gateway.auth.checks == []


async def test_a_revoked_key_is_refused_even_with_a_bad_body(gateway):
    gateway.auth.secret, secret = "another", gateway.auth.secret
    response = await gateway.client.post("/v1/generate", content=b"not json", headers={"X-API-Key": secret})
    problem(response, 401, "invalid_api_key")


async def test_a_bearer_key_is_taken(gateway):
    gateway.client.headers.pop("x-api-key")
    response = await gateway.client.get("/v1/models", headers={"Authorization": f"Bearer {gateway.auth.secret}"})
    assert response.status_code == 200


@pytest.mark.parametrize("row", [row for row in ROUTES if row.permission], ids=lambda row: f"{row.method} {row.path}")
async def test_every_v1_route_asks_for_a_key(gateway, row):
    gateway.client.headers.pop("x-api-key")
    path = re.sub(r"{\w+}", new_run_id(), row.path)
    response = await gateway.client.request(row.method, path)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "missing_api_key")
    assert response.headers["www-authenticate"] == 'Bearer realm="imagineo"'


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"not json", "application/json", 400, "invalid_json"),
        (b"", "application/json", 400, "invalid_json"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b"{}", "", 415, "unsupported_media_type"),
        (b'{"positive_prompt": "' + b"x" * 2_000_000 + b'"}', "application/json", 413, "body_too_large"),
        (b"{}", "application/json; charset=utf-8", 400, "invalid_parameter"),
        (b'{"positive_prompt": "x", "model_id": "nobody", "width": 63}', "application/json", 400, "invalid_parameter"),
    ],
)
async def test_a_bad_body_reserves_nothing(gateway, content, content_type, status, code):
    response = await gateway.client.post("/v1/generate", content=content, headers={"Content-Type": content_type})
    problem(response, status, code)
    assert [check.reserve_run_id for check in gateway.auth.checks] == [""]
    assert gateway.status.submissions == []


async def test_a_body_in_chunks_is_read_no_further_than_the_limit(gateway):
    sent = 0

    async def chunks():
        nonlocal sent
        while sent < 10_000_000:
            sent += 1_000
            yield b"x" * 1_000

    messages = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/generate",
        "query_string": b"",
        "headers": [(b"x-api-key", gateway.auth.secret.encode()), (b"content-type", b"application/json")],
    }
    body = chunks()

    async def receive():
        return {"type": "http.request", "body": await anext(body), "more_body": True}

    async def send(message):
        messages.append(message)

    await gateway.app(scope, receive, send)
    assert messages[0]["status"] == 413
    assert (b"connection", b"close") in messages[0]["headers"]
    assert sent <= 67_000


@pytest.mark.parametrize(
    ("fields", "status", "code", "message"),
    [
        ({"width": 1032}, 400, "invalid_parameter", "Must be a multiple of 8 between 64 and 1024."),
        ({"height": 2048}, 400, "invalid_parameter", "Must be a multiple of 8 between 64 and 1024."),
        ({"steps": 51}, 400, "invalid_parameter", "Must be between 1 and 50."),
        ({"scheduler": "magic"}, 400, "invalid_parameter", "Must be one of ddim, euler."),
        ({"model_id": "model_nobody"}, 404, "model_not_found", "model_nobody"),
        ({"loras": [{"model_id": "model_nobody"}]}, 404, "model_not_found", "model_nobody"),
        ({"loras": [{"model_id": LORA.model_id}]}, 400, "invalid_parameter", "not asked for already"),
        (
            {"guidance": 21},
            400,
            "invalid_parameter",
            "Invalid value for parameter 'guidance'. Must be between 1 and 20.",
        ),
    ],
)
async def test_what_does_not_fit_the_model_is_refused_and_costs_nothing(gateway, fields, status, code, message):
    response = await gateway.generate(**fields)
    error = problem(response, status, code)
    assert message in error["message"]
    assert error["param"].startswith(next(iter(fields)))
    assert gateway.status.submissions == []
    if reserved := gateway.auth.checks[0].reserve_run_id:
        await asyncio.wait_for(gateway.auth.on_release.wait(), SURELY_S)
        assert gateway.auth.released == [reserved]


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (errors.RateLimited(retry_after_s=12.5), 429),
        (errors.QuotaExceeded(metadata={"limit": "100"}), 429),
        (errors.PermissionDenied(), 403),
    ],
)
async def test_a_refusal_of_auth_is_shown(gateway, refusal, status):
    gateway.auth.refusal = refusal
    response = await gateway.generate()
    error = problem(response, status, refusal.code)
    assert response.headers["x-ratelimit-limit"] == "100"
    assert ("retry-after" in response.headers) == (status == 429)
    assert error.get("details", {}) == refusal.metadata


async def test_a_refused_acceptance_gives_the_reservation_back(gateway):
    gateway.status.refusal = errors.QueueFull(metadata={"limit": "20"}, retry_after_s=3)
    response = await gateway.generate()
    assert problem(response, 429, "queue_full")["details"] == {"limit": "20"}
    assert response.headers["retry-after"] == "3"
    await asyncio.wait_for(gateway.auth.on_release.wait(), SURELY_S)
    assert gateway.auth.released == [gateway.auth.checks[0].reserve_run_id]


async def test_a_replay_gives_the_same_bytes_and_its_reservation_back(gateway):
    key = {"Idempotency-Key": "once"}
    first = await gateway.generate(headers=key)
    second = await gateway.generate(headers=key)
    assert first.content == second.content
    await asyncio.wait_for(gateway.auth.on_release.wait(), SURELY_S)
    assert gateway.auth.released == [gateway.auth.checks[1].reserve_run_id]
    assert len(gateway.status.runs) == 1


async def test_a_reused_key_with_another_body_is_refused(gateway):
    key = {"Idempotency-Key": "once"}
    await gateway.generate(headers=key)
    problem(await gateway.generate(headers=key, seed=1), 422, "idempotency_key_reused")


@pytest.mark.parametrize("overtaken_by", ["quota", "model"])
async def test_a_repetition_is_answered_alike_though_it_could_not_be_accepted_any_more(gateway, overtaken_by):
    key = {"Idempotency-Key": "once"}
    first = await gateway.generate(headers=key)
    if overtaken_by == "quota":
        gateway.auth.refusal = errors.QuotaExceeded()
    else:
        gateway.catalog.loras.clear()
        gateway.parts.admission._resolver._known.clear()  # five seconds later
    again = await gateway.generate(headers=key)
    assert (again.status_code, again.content) == (200, first.content)
    problem(await gateway.generate(headers=key, seed=1), 422, "idempotency_key_reused")
    refused = await gateway.generate(headers={"Idempotency-Key": "new"})
    problem(refused, *((429, "quota_exceeded") if overtaken_by == "quota" else (404, "model_not_found")))
    assert len(gateway.status.submissions) == 1


async def test_a_repetition_does_not_pass_by_the_rate_limit_or_a_missing_permission(gateway):
    key = {"Idempotency-Key": "once"}
    await gateway.generate(headers=key)
    gateway.auth.refusal = errors.RateLimited()
    problem(await gateway.generate(headers=key), 429, "rate_limited")
    gateway.auth.refusal = errors.PermissionDenied()
    problem(await gateway.generate(headers=key), 403, "permission_denied")


async def test_a_broker_that_is_away_does_not_fail_a_submit(gateway):
    gateway.broker.disconnect()
    response = await gateway.generate()
    assert response.status_code == 200
    assert response.json()["run_id"] in gateway.status.runs
    assert gateway.status.published == []


@pytest.mark.parametrize("peer", ["auth", "catalog", "status"])
async def test_a_peer_that_is_away_means_503_within_three_seconds(gateway, peer):
    await gateway.servers[peer].drain(0)
    async with lived() as waited:
        response = await gateway.generate()
    problem(response, 503, "unavailable")
    assert int(response.headers["retry-after"]) >= 1
    assert waited.s < 3, "a submit is refused within its budget"


@pytest.mark.parametrize("peer", ["auth", "status"])
async def test_a_peer_that_is_frozen_means_503_within_three_seconds(gateway, peer):
    getattr(gateway, peer).open.clear()
    async with lived() as waited:
        responses = await asyncio.gather(*(gateway.generate() for _ in range(10)))
    assert waited.s < 3, "a submit is refused within its budget, and those beside it share their calls' deadlines"
    assert {response.status_code for response in responses} == {503}


async def test_a_run_that_was_accepted_without_an_answer_is_canceled(gateway):
    gateway.status.open.clear()
    problem(await gateway.generate(), 503, "unavailable")
    run_id = gateway.auth.checks[0].reserve_run_id
    gateway.status.runs[run_id] = generation_pb2.Generation(run_id=run_id, organization_id=ORGANIZATION)
    await asyncio.wait_for(gateway.status.on_cancel.wait(), SURELY_S)
    assert gateway.status.runs[run_id].status == generation_pb2.STATUS_CANCELED
    assert gateway.auth.released == []


@pytest.mark.parametrize("doubt", [errors.Unavailable(), errors.Internal()], ids=["unavailable", "internal"])
async def test_a_doubtful_acceptance_cancels_what_may_be_stored_and_releases_nothing(gateway, doubt):
    gateway.status.refusal = doubt
    answer = await gateway.generate()
    problem(answer, 503 if doubt.retryable else 500, doubt.code)
    run_id = gateway.auth.checks[0].reserve_run_id
    gateway.status.runs[run_id] = generation_pb2.Generation(run_id=run_id, organization_id=ORGANIZATION)
    await asyncio.wait_for(gateway.status.on_cancel.wait(), SURELY_S)
    assert gateway.status.runs[run_id].status == generation_pb2.STATUS_CANCELED
    assert gateway.auth.released == []


async def test_a_run_that_was_not_accepted_gives_its_reservation_back(gateway):
    gateway.status.open.clear()
    problem(await gateway.generate(), 503, "unavailable")
    await asyncio.wait_for(gateway.auth.on_release.wait(), SURELY_S)
    assert gateway.auth.released == [gateway.auth.checks[0].reserve_run_id]


async def test_many_submits_share_their_calls(gateway):
    responses = await asyncio.gather(*(gateway.generate() for _ in range(60)))
    assert {response.status_code for response in responses} == {200}
    assert len({response.json()["run_id"] for response in responses}) == 60
    assert gateway.auth.batches < 20
    assert len(gateway.catalog.asked) == 1


async def test_a_wait_answers_the_finished_generation(gateway):
    waiting = asyncio.create_task(gateway.generate(headers={"Prefer": "wait=60"}))
    await asyncio.wait_for(gateway.status.on_published.wait(), SURELY_S)
    run_id = next(iter(gateway.status.runs))
    gateway.status.finish(run_id, b"image", "a" * 64)
    response = await asyncio.wait_for(waiting, SURELY_S)
    assert response.headers["preference-applied"] == "wait=60"
    assert response.json()["status"] == "completed"
    assert response.json()["image_url"].startswith(f"https://imagineo.test/images/{run_id}.png?expires=")


async def test_a_wait_outlasts_a_status_that_ends_meanwhile(gateway):
    gateway.status.watches_to_break = 2
    waiting = asyncio.create_task(gateway.generate(headers={"Prefer": "wait=60"}))
    await asyncio.wait_for(gateway.status.on_watch.wait(), SURELY_S)
    gateway.status.finish(next(iter(gateway.status.runs)), b"image", "a" * 64)
    assert (await asyncio.wait_for(waiting, SURELY_S)).json()["status"] == "completed"


async def test_a_wait_that_runs_out_answers_the_run_as_it_stands(gateway):
    response = await gateway.generate(headers={"Prefer": "wait=1"})
    assert (response.status_code, response.json()["status"]) == (200, "queued")
    assert response.headers["preference-applied"] == "wait=1"


async def test_a_wait_ends_at_a_drain(gateway):
    gateway.parts.drain()
    response = await asyncio.wait_for(gateway.generate(headers={"Prefer": "wait=60"}), SURELY_S)
    assert response.status_code == 200


async def test_a_generation_has_one_shape_that_fits_the_document(gateway):
    run_id = (await gateway.generate(metadata={"a": "b"}, lora_weight=0.5, seed=3)).json()["run_id"]
    queued = (await gateway.client.get(f"/v1/generations/{run_id}")).json()
    gateway.status.finish(run_id, b"image", "a" * 64)
    completed = (await gateway.client.get(f"/v1/generations/{run_id}")).json()
    listed = (await gateway.client.get("/v1/generations")).json()
    canceled = (await gateway.client.post(f"/v1/generations/{run_id}/cancel")).json()
    document = (await gateway.client.get("/openapi.json")).json()
    validator = OAS31Validator({"$ref": "#/components/schemas/Generation", "components": document["components"]})
    for shown in (queued, completed, canceled, *listed["generations"]):
        validator.validate(shown)
    assert (queued["image_url"], queued["queue_position"], queued["metadata"]) == (None, 0, {"a": "b"})
    assert (completed["progress"], completed["status"], completed["image"]["bytes"]) == (100, "completed", 5)
    assert listed["next_cursor"] == "two"
    again = read_submission(json.dumps(completed["parameters"]).encode())
    assert (again.lora_weight, again.seed, again.model_id) == (0.5, 3, LORA.model_id)


async def test_the_list_passes_its_filters_on(gateway):
    response = await gateway.client.get(
        "/v1/generations",
        params={"status": "queued,failed", "model": LORA.model_id, "created_after": "2026-01-01T00:00:00Z", "limit": 5},
    )
    assert response.status_code == 200
    asked = gateway.status.listed[0]
    assert list(asked.statuses) == [generation_pb2.STATUS_QUEUED, generation_pb2.STATUS_FAILED]
    assert (asked.organization_id, asked.page_size, asked.model_id) == (ORGANIZATION, 5, LORA.model_id)
    assert asked.created_after.ToJsonString() == "2026-01-01T00:00:00Z"
    assert not asked.HasField("created_before")


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/generations?cursor=forged", "cursor"),
        ("/v1/models?cursor=forged", "cursor"),
        ("/v1/generations?limit=0", "limit"),
        ("/v1/generations?status=done", "status"),
        ("/v1/generations?created_before=now", "created_before"),
        ("/v1/generations?model=%00", "model"),
        ("/v1/generations?modle=a", "modle"),
        ("/v1/base-models?x=1", "x"),
    ],
)
async def test_a_wrong_query_is_refused_by_name(gateway, path, param):
    response = await gateway.client.get(path)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_the_models_read_as_documented(gateway):
    page = (await gateway.client.get("/v1/models")).json()
    first = page["models"][0]
    assert {name: first[name] for name in ("name", "description", "created_at")} == {
        "name": "Coffee Machine LoRA",
        "description": "Custom LoRA for coffee machines",
        "created_at": "2023-09-15T14:22:31Z",
    }
    second = (await gateway.client.get("/v1/models", params={"cursor": page["next_cursor"]})).json()
    assert (second["models"][0]["id"], second["next_cursor"]) == (OTHER_LORA.model_id, None)
    assert (await gateway.client.get(f"/v1/models/{LORA.model_id}")).json() == first
    problem(await gateway.client.get("/v1/models/model_nobody"), 404, "model_not_found")
    bases = (await gateway.client.get("/v1/base-models")).json()["base_models"]
    assert [(base["id"], base["schedulers"]) for base in bases] == [(BASE.base_model_id, ["ddim", "euler"])]


async def test_the_limits_say_what_is_left(gateway):
    await gateway.generate()
    done = (await gateway.generate()).json()["run_id"]
    gateway.status.finish(done, b"", "")
    shown = (await gateway.client.get("/v1/limits")).json()
    assert shown["images_per_month"]["remaining"] == 990
    # One run is unfinished, though auth holds three images: those of two ended runs are not settled yet.
    assert shown["queued_runs"] == {"limit": 20, "remaining": 19}
    assert shown["requests_per_minute"]["remaining"] == 98
    assert shown["plan"] == "premium"


async def test_unknown_paths_and_methods_need_no_key(gateway):
    gateway.client.headers.pop("x-api-key")
    problem(await gateway.client.get("/v2/generate"), 404, "not_found")
    problem(await gateway.client.get("/v1/generate/"), 404, "not_found")
    response = await gateway.client.get("/v1/generate")
    problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"
    assert (await gateway.client.delete("/v1/models")).headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize("run_id", ["gen_123456789", "x", "gen_%00", new_run_id()])
async def test_an_unknown_run_is_not_found(gateway, run_id):
    problem(await gateway.client.get(f"/v1/generations/{run_id}"), 404, "not_found")
    problem(await gateway.client.post(f"/v1/generations/{run_id}/cancel"), 404, "not_found")


async def test_readiness_names_what_is_away(gateway):
    ready = await gateway.client.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    gateway.broker.disconnect()
    without_nats = await gateway.client.get("/readyz")
    assert (without_nats.status_code, without_nats.json()["dependencies"]["nats"]["ok"]) == (200, False)
    await gateway.servers["catalog"].drain(0)
    response = await gateway.client.get("/readyz")
    assert response.status_code == 503
    found = response.json()["dependencies"]
    assert (found["catalog"]["ok"], found["auth"]["ok"], found["status"]["ok"]) == (False, True, True)
    assert (await gateway.client.get("/healthz")).json() == {"status": "ok"}


async def test_while_draining_requests_are_answered_and_their_connections_close(gateway):
    assert "connection" not in (await gateway.client.get("/healthz")).headers
    gateway.parts.draining.set()
    accepted = await gateway.generate()
    assert (accepted.status_code, accepted.headers["connection"]) == (200, "close")
    assert (await gateway.client.get("/nowhere")).headers["connection"] == "close"


async def test_readiness_says_no_while_draining(gateway):
    gateway.parts.drain()
    assert (await gateway.client.get("/readyz")).status_code == 503


IMAGE = bytes(range(256)) * 4000


async def image_link(gateway):
    run_id = (await gateway.generate()).json()["run_id"]
    await gateway.blobs.put(f"images/{run_id}", IMAGE, content_type="image/png")
    gateway.status.finish(run_id, IMAGE, hashlib.sha256(IMAGE).hexdigest())
    url = (await gateway.client.get(f"/v1/generations/{run_id}")).json()["image_url"]
    gateway.client.headers.pop("x-api-key")
    return url.removeprefix("https://imagineo.test")


async def test_an_image_is_streamed_whole_in_part_and_not_at_all(gateway):
    link = await image_link(gateway)
    whole = await gateway.client.get(link)
    etag = whole.headers["etag"]
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, IMAGE, "image/png")
    assert whole.headers["cache-control"].startswith("private, max-age=3")
    part = await gateway.client.get(link, headers={"Range": "bytes=10-19", "If-Range": etag})
    assert (part.status_code, part.content) == (206, IMAGE[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(IMAGE)}"
    changed = await gateway.client.get(link, headers={"Range": "bytes=10-19", "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, IMAGE)
    kept = await gateway.client.get(link, headers={"If-None-Match": f'W/"x", {etag}'})
    assert (kept.status_code, kept.content) == (304, b"")
    outside = await gateway.client.get(link, headers={"Range": f"bytes={len(IMAGE)}-"})
    assert outside.headers["content-range"] == f"bytes */{len(IMAGE)}"
    assert problem(outside, 416, "invalid_parameter")["param"] == "Range"
    head = await gateway.client.head(link)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(IMAGE)))


async def test_an_image_needs_its_own_link(gateway):
    link = await image_link(gateway)
    path, _, signed = link.partition("?")
    problem(await gateway.client.get(path), 403, "permission_denied")
    problem(await gateway.client.get(f"/images/{new_run_id()}.png?{signed}"), 403, "permission_denied")
    problem(await gateway.client.get(path.replace(".png", ".webp") + "?" + signed), 403, "permission_denied")


async def test_an_image_that_is_gone_is_not_found(gateway):
    link = await image_link(gateway)
    await gateway.blobs.delete(f"images/{next(iter(gateway.status.runs))}")
    problem(await gateway.client.get(link), 404, "not_found")


async def test_a_bug_is_a_500_without_its_story(gateway, caplog):
    run_id = new_run_id()
    gateway.status.runs[run_id] = generation_pb2.Generation(run_id=run_id, organization_id=ORGANIZATION)
    response = await gateway.client.get(f"/v1/generations/{run_id}")
    error = problem(response, 500, "internal_error")
    assert error["message"] == "Something went wrong on the server."
    assert "Traceback" in caplog.text


async def test_the_access_log_holds_no_secret(gateway, caplog):
    caplog.set_level("INFO", logger="imagineo.gateway.access")
    await gateway.generate(positive_prompt="a secret garden")
    link = await image_link(gateway)
    await gateway.client.get(link)
    lines = [record.__dict__ for record in caplog.records if record.name == "imagineo.gateway.access"]
    assert {line["route"] for line in lines} >= {"/v1/generate", "/images/{name}"}
    text = repr(lines)
    assert all(
        secret not in text for secret in ("secret garden", gateway.auth.secret, "signature", link.split("=")[-1])
    )


async def test_a_dry_run_checks_prices_and_estimates_and_leaves_nothing_behind(gateway):
    response = await gateway.generate(
        dry_run=True, lora_weight=0.8, loras=[{"model_id": OTHER_LORA.model_id}], headers={"Idempotency-Key": "once"}
    )
    shown = response.json()
    document = (await gateway.client.get("/openapi.json")).json()
    schema = {"$ref": "#/components/schemas/DryRun", "components": document["components"]}
    OAS31Validator(schema).validate(shown)
    assert (response.status_code, shown["would_be_accepted"], shown["blocked_by"]) == (200, True, [])
    assert (shown["images"], shown["megapixel_steps"], shown["estimated_time"]) == (1, 5.24288, 11)
    assert [(lora["model_id"], lora["weight"], lora["rank"]) for lora in shown["loras"]] == [
        (LORA.model_id, 0.8, 4),
        (OTHER_LORA.model_id, 1.0, 8),
    ]
    again = read_submission(json.dumps(shown["parameters"]).encode())
    assert (again.width, again.steps, again.scheduler, again.lora_weight) == (512, 20, "ddim", 0.8)
    assert gateway.status.estimated[0].parameters.seed == again.seed
    assert shown["limits"] == (await gateway.client.get("/v1/limits")).json()
    assert [check.reserve_run_id for check in gateway.auth.checks] == ["", "", ""][: len(gateway.auth.checks)]
    assert (gateway.status.runs, gateway.status.submissions, gateway.auth.released) == ({}, [], [])
    assert (await gateway.generate(headers={"Idempotency-Key": "once"})).status_code == 200


async def test_a_dry_run_names_the_limits_that_would_refuse_it(gateway):
    gateway.auth.images_used = 997
    for _ in range(20):
        await gateway.generate()
    shown = (await gateway.generate(dry_run=True)).json()
    assert shown["would_be_accepted"] is False
    assert [block["code"] for block in shown["blocked_by"]] == ["quota_exceeded", "queue_full"]
    assert len(gateway.status.runs) == 20


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"steps": 51}, 400, "invalid_parameter"),
        ({"model_id": "model_nobody"}, 404, "model_not_found"),
        ({"dry_run": "yes"}, 400, "invalid_parameter"),
        ({"dry_run": 1}, 400, "invalid_parameter"),
    ],
)
async def test_a_dry_run_is_refused_as_the_run_would_be(gateway, fields, status, code):
    response = await gateway.generate(**{"dry_run": True} | fields)
    problem(response, status, code)
    assert [check.reserve_run_id for check in gateway.auth.checks] == [""]
