"""`/v1/models` over scripted peers: what is asked of catalog, what a client sees, what a refusal leaves undone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from imagineo import errors
from imagineo.broker import subjects
from imagineo.ids import new_id
from imagineo.v1 import account_pb2, event_pb2, generation_pb2, model_pb2
from openapi_schema_validator import OAS31Validator

from tests.support.deadlines import SURELY_S
from tests.support.gateway_peers import BASE, LORA, ORGANIZATION, platform

FRIEND = new_id("org")
CONTENT = bytes(range(256)) * 9_000
FIELDS = {"name": "Mug LoRA", "base_model_id": BASE.base_model_id, "trigger_words": ["mug", "cup"]}


@pytest.fixture
async def gateway():
    async with platform() as found:
        yield found


def refused(response, status, code):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code
    return error


async def upload(gateway, *, content=CONTENT, **fields):
    return await gateway.client.post(
        "/v1/models", data={**FIELDS, **fields}, files={"file": ("a.safetensors", content)}
    )


async def test_an_upload_goes_to_catalog_in_pieces_and_its_sample_is_queued(gateway):
    response = await upload(gateway, sharing="organizations", shared_with=[FRIEND])
    assert response.status_code == 200, response.text
    ((owner, content, draft),) = gateway.catalog.uploaded
    assert (owner, content, draft.name) == (ORGANIZATION, CONTENT, "Mug LoRA")
    assert gateway.catalog.largest_chunk_bytes < len(CONTENT) / 2
    model = response.json()
    assert model["check"] == {
        "family": None,
        "ranks": [4],
        "alphas": [],
        "target_modules": ["to_q"],
        "matched_keys": 3,
        "ignored_keys": 1,
        "matched_ratio": 0.75,
    }
    assert (model["owned"], model["shared"], model["shared_with"]) == (True, False, [FRIEND])
    (submission,) = gateway.status.submissions
    assert submission.job.run_id == model["sample_run_id"] == draft.sample_run_id
    assert submission.job.parameters.positive_prompt == "mug, cup, a red apple"
    assert dict(submission.metadata) == {"sample_of": model["id"]}
    await asyncio.wait_for(gateway.status.on_published.wait(), SURELY_S)
    assert len(gateway.auth.checks) == 1
    assert gateway.auth.checks[0].permission == account_pb2.PERMISSION_MODELS_WRITE


async def test_the_sample_shows_once_it_is_drawn_and_while_it_is_there(gateway):
    model = (await upload(gateway)).json()
    assert model["sample_image_url"] is None
    gateway.status.finish(model["sample_run_id"], b"png", "c" * 64)
    await gateway.blobs.put(f"images/{model['sample_run_id']}", b"png", content_type="image/png")
    shown = (await gateway.client.get(f"/v1/models/{model['id']}")).json()
    image = await gateway.client.get(shown["sample_image_url"].removeprefix("https://imagineo.test"))
    assert image.content == b"png"
    del gateway.status.runs[model["sample_run_id"]]
    assert (await gateway.client.get(f"/v1/models/{model['id']}")).json()["sample_image_url"] is None


@pytest.mark.parametrize("why", ["images", "queue", "status"])
async def test_without_images_or_queue_there_is_a_model_and_no_sample(gateway, why):
    if why == "images":
        gateway.auth.images_used = 997
    elif why == "queue":
        gateway.status.refusal = errors.QueueFull()
    else:
        gateway.status.refusal = errors.Unavailable()
    response = await upload(gateway)
    assert response.status_code == 200
    assert gateway.status.submissions == []
    assert response.json()["sample_image_url"] is None


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        (errors.InvalidFile("No.", metadata={"param": "file"}), 400, "invalid_file"),
        (errors.LoraIncompatible("No.", metadata={"param": "file"}), 400, "lora_incompatible"),
        (errors.ModelNotFound("No.", metadata={"param": "base_model_id"}), 404, "model_not_found"),
        (errors.BodyTooLarge("No.", metadata={"param": "file"}), 413, "body_too_large"),
        (errors.TooManyStreams("No."), 429, "too_many_streams"),
        (errors.Unavailable(), 503, "unavailable"),
    ],
)
async def test_what_catalog_refuses_is_told_and_draws_no_sample(gateway, refusal, status, code):
    gateway.catalog.refusal = refusal
    error = refused(await upload(gateway), status, code)
    assert error.get("param") == refusal.metadata.get("param")
    assert gateway.status.submissions == []


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"name": ""}, "invalid_parameter", "name"),
        ({"base_model_id": []}, "invalid_parameter", "base_model_id"),
        ({"sharing": "all"}, "invalid_parameter", "sharing"),
        ({"organization_id": FRIEND}, "unknown_field", "organization_id"),
    ],
)
async def test_a_wrong_form_adds_nothing(gateway, fields, code, param):
    assert refused(await upload(gateway, **fields), 400, code)["param"] == param
    assert gateway.catalog.uploaded == []


async def test_another_content_type_is_refused(gateway):
    refused(await gateway.client.post("/v1/models", json=FIELDS), 415, "unsupported_media_type")
    response = await gateway.client.patch(f"/v1/models/{LORA.model_id}", content=b"{}")
    refused(response, 415, "unsupported_media_type")


async def test_a_body_over_the_limit_is_refused_before_it_is_read():
    async with platform(lora_limit_bytes=1_000_000) as gateway:
        refused(await upload(gateway), 413, "body_too_large")

        async def endless() -> AsyncIterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
            while True:
                yield bytes(65_536)

        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        response = await gateway.client.post("/v1/models", content=endless(), headers=headers)
        error = refused(response, 413, "body_too_large")
        assert error["details"] == {"allowed_bytes": str(1_000_000 + 131_072)}
        assert gateway.catalog.uploaded == []
        assert (await upload(gateway, content=bytes(999_000))).status_code == 200


async def test_a_client_without_a_key_uploads_nothing(gateway):
    response = await gateway.client.post("/v1/models", files={"file": b"x"}, headers={"X-API-Key": "nonsense"})
    refused(response, 401, "invalid_api_key")
    gateway.auth.refusal = errors.PermissionDenied()
    refused(await upload(gateway), 403, "permission_denied")
    assert gateway.catalog.uploaded == []


async def test_a_change_and_a_deletion_are_asked_of_catalog_and_forget_what_was_resolved(gateway):
    model = (await upload(gateway)).json()
    await gateway.generate(model_id=model["id"])
    assert (await gateway.generate(model_id=model["id"])).status_code == 200
    asked_before = len(gateway.catalog.asked)
    response = await gateway.client.patch(f"/v1/models/{model['id']}", json={"name": "New", "sharing": "public"})
    assert (response.status_code, response.json()["name"]) == (200, "New")
    (change,) = gateway.catalog.changes
    assert (change.organization_id, change.sharing.sharing) == (ORGANIZATION, model_pb2.SHARING_PUBLIC)
    await gateway.generate(model_id=model["id"])
    assert len(gateway.catalog.asked) == asked_before + 1
    response = await gateway.client.delete(f"/v1/models/{model['id']}")
    assert (response.status_code, response.content) == (204, b"")
    refused(await gateway.generate(model_id=model["id"]), 404, "model_not_found")
    refused(await gateway.client.delete(f"/v1/models/{model['id']}"), 404, "model_not_found")


async def test_the_platforms_models_are_not_changed_and_absent_ones_not_found(gateway):
    for method, options in (("PATCH", {"json": {"name": "x"}}), ("DELETE", {})):
        own = await gateway.client.request(method, f"/v1/models/{LORA.model_id}", **options)
        refused(own, 403, "permission_denied")
        for model_id in (new_id("model"), "model_nobody"):
            response = await gateway.client.request(method, f"/v1/models/{model_id}", **options)
            refused(response, 404, "model_not_found")


async def test_a_list_is_filtered_by_what_catalog_is_asked(gateway):
    wanted = {"base_model_id": BASE.base_model_id, "sharing": "public", "q": "50% mug", "limit": "7"}
    assert (await gateway.client.get("/v1/models", params=wanted)).status_code == 200
    listing = gateway.catalog.listed[-1]
    assert (listing.base_model_id, listing.text, listing.page_size) == (BASE.base_model_id, "50% mug", 7)
    assert listing.sharing == model_pb2.SHARING_PUBLIC
    for wrong in ({"sharing": "all"}, {"q": "x" * 101}, {"owner": "me"}, {"q": "\x00"}):
        assert (await gateway.client.get("/v1/models", params=wrong)).status_code == 400


async def test_a_model_that_is_gone_is_refused_within_the_seven_seconds_of_the_document(gateway, monkeypatch):
    """It goes by way of another gateway, of which this one is not told."""
    now_s = 0.0
    monkeypatch.setattr(gateway.parts.resolver, "_clock_s", lambda: now_s)
    for method in ("patch", "delete"):
        told = json.loads(gateway.parts.openapi)["paths"]["/v1/models/{model_id}"][method]
        assert "refused within 7 seconds" in f"{told['summary']} {told.get('description', '')}"
    assert (await gateway.generate()).status_code == 200
    del gateway.catalog.loras[LORA.model_id]
    now_s = 7.0
    refused(await gateway.generate(), 404, "model_not_found")


async def test_a_model_is_warm_while_a_live_worker_holds_it(gateway, monkeypatch):
    monkeypatch.setattr(gateway.parts.warmth, "_clock_s", lambda: 0.0)  # the worker's word counts, not its silence
    path = f"/v1/models/{LORA.model_id}"
    assert (await gateway.client.get(path)).json()["warm"] is False
    beat = event_pb2.WorkerBeat(worker_id="w1", warm_model_ids=[LORA.model_id])
    await gateway.broker.emit(subjects.worker("w1"), beat.SerializeToString())
    await gateway.broker.emit(subjects.worker("w1"), b"\xff")
    async with asyncio.timeout(SURELY_S):
        while not (await gateway.client.get(path)).json()["warm"]:
            pass
    cold = event_pb2.WorkerBeat(worker_id="w1")
    await gateway.broker.emit(subjects.worker("w1"), cold.SerializeToString())
    async with asyncio.timeout(SURELY_S):
        while (await gateway.client.get(path)).json()["warm"]:
            pass


async def test_every_answer_has_its_documented_shape(gateway):
    document = json.loads(gateway.parts.openapi)
    validator = OAS31Validator({"$ref": "#/components/schemas/Model", "components": document["components"]})
    uploaded = (await upload(gateway, sharing="public")).json()
    gateway.status.finish(uploaded["sample_run_id"], b"png", "c" * 64)
    page = (await gateway.client.get("/v1/models")).json()
    for model in (uploaded, *page["models"], (await gateway.client.get(f"/v1/models/{uploaded['id']}")).json()):
        validator.validate(model)
    assert gateway.status.runs[uploaded["sample_run_id"]].status == generation_pb2.STATUS_COMPLETED
