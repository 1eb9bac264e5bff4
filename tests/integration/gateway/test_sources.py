"""Variations and upscales over scripted peers: what becomes of the picture's run, and what is left of a refusal."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest
from imagineo import errors
from imagineo.ids import new_id
from imagineo.v1 import generation_pb2
from openapi_schema_validator import OAS31Validator

from tests.support.deadlines import SURELY_S
from tests.support.gateway_peers import BASE, LORA, ORGANIZATION, OTHER_LORA, new_run_id, platform
from tests.support.pictures import data_url, encoded, png_of_size, scene

KINDS = generation_pb2
SEED = 40


@pytest.fixture
async def gateway():
    async with platform() as found:
        yield found


async def drawn(gateway, width=512, height=256, **fields):
    """A completed run."""
    body = {"lora_weight": 0.8, "seed": 7, "width": width, "height": height, "guidance": 6, "output_format": "webp"}
    answer = await gateway.generate(**(body | {"loras": [{"model_id": OTHER_LORA.model_id, "weight": 0.3}]} | fields))
    run_id = answer.json()["run_id"]
    gateway.status.finish(run_id, b"image", hashlib.sha256(b"image").hexdigest())
    gateway.status.runs[run_id].image.width, gateway.status.runs[run_id].image.height = width, height
    gateway.status.submissions.clear()
    gateway.auth.checks.clear()
    return run_id


async def uploaded(gateway, image=None):
    answer = await gateway.client.post("/v1/uploads", files={"file": ("a.png", encoded(image or scene()))})
    gateway.auth.checks.clear()
    return answer.json()["upload_id"]


async def vary(gateway, run_id, headers=None, **fields):
    return await gateway.client.post(f"/v1/generations/{run_id}/variations", json=fields, headers=headers)


async def upscale(gateway, run_id, headers=None, **fields):
    return await gateway.client.post(f"/v1/generations/{run_id}/upscale", json=fields, headers=headers)


def jobs(gateway):
    return [submission.job for submission in gateway.status.submissions]


async def released(gateway, count):
    async with asyncio.timeout(SURELY_S):
        while len(gateway.auth.released) < count:
            gateway.auth.on_release.clear()
            await gateway.auth.on_release.wait()
    return sorted(gateway.auth.released)


async def is_shaped(gateway, name, shown):
    document = (await gateway.client.get("/openapi.json")).json()
    OAS31Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]}).validate(shown)


async def test_variations_take_the_runs_parameters_and_seeds_in_a_row(gateway):
    run_id = await drawn(gateway)
    answer = await vary(gateway, run_id, count=3, strength=0.4, seed=SEED, positive_prompt="a red mug")
    shown = answer.json()
    assert answer.status_code == 200, answer.text
    await is_shaped(gateway, "SubmittedSeveral", shown)
    assert [one["seed"] for one in shown["generations"]] == [40, 41, 42]
    found = jobs(gateway)
    assert [job.run_id for job in found] == [one["run_id"] for one in shown["generations"]]
    for job in found:
        parameters = job.parameters
        assert (parameters.positive_prompt, parameters.guidance, parameters.steps) == ("a red mug", 6, 20)
        assert (parameters.width, parameters.height) == (512, 256)
        assert parameters.output_format == KINDS.OUTPUT_FORMAT_WEBP
        assert [(use.model_id, use.weight) for use in parameters.loras] == [
            (LORA.model_id, 0.8),
            (OTHER_LORA.model_id, 0.3),
        ]
        assert (parameters.source.kind, parameters.source.run_id) == (KINDS.SOURCE_KIND_VARIATION, run_id)
        assert (parameters.source.strength, parameters.source.scale) == (0.4, 0)
        assert parameters.source.image.store_key == f"images/{run_id}"
        assert len(job.adapters) == 2
    (check,) = gateway.auth.checks
    assert [check.reserve_run_id, *check.more_run_ids] == [job.run_id for job in found]


async def test_image_k_of_n_is_what_its_seed_gives_alone(gateway):
    run_id = await drawn(gateway)
    await vary(gateway, run_id, count=3, seed=SEED)
    await vary(gateway, run_id, seed=SEED + 2)
    several, alone = jobs(gateway)[2].parameters, jobs(gateway)[3].parameters
    assert several == alone


async def test_one_variation_answers_as_a_submit_does(gateway):
    run_id = await drawn(gateway)
    answer = await vary(gateway, run_id)
    shown = answer.json()
    await is_shaped(gateway, "Submitted", shown)
    assert jobs(gateway)[0].parameters.source.strength == 0.6
    assert jobs(gateway)[0].parameters.seed == shown["seed"] != 7  # its own seed would draw the picture again
    read = (await gateway.client.get(f"/v1/generations/{shown['run_id']}")).json()
    await is_shaped(gateway, "Generation", read)
    assert read["source"] == {"kind": "variation", "run_id": run_id, "upload_id": None, "strength": 0.6, "scale": None}


async def test_every_field_of_a_variation_is_taken(gateway):
    run_id = await drawn(gateway)
    fields = {"positive_prompt": "a red mug", "negative_prompt": "blurry", "guidance": 3, "steps": 9, "seed": 4.0}
    told = {"output_format": "jpeg", "webhook_url": "https://hooks.example/a", "metadata": {"a": "b"}}
    answer = await vary(gateway, run_id, lora_weight=1.5, count=2.0, strength=1, **fields, **told)
    assert answer.status_code == 200, answer.text
    submission = gateway.status.submissions[1]
    parameters = submission.job.parameters
    assert {name: getattr(parameters, name) for name in fields} == fields | {"seed": 5}
    assert (parameters.output_format, parameters.loras[0].weight) == (KINDS.OUTPUT_FORMAT_JPEG, 1.5)
    assert (submission.webhook_url, dict(submission.metadata)) == ("https://hooks.example/a", {"a": "b"})
    whole = await gateway.client.post(
        "/v1/variations",
        json=fields
        | told
        | {"source": {"run_id": run_id}, "model_id": BASE.base_model_id, "loras": [], "lora_weight": 0.5}
        | {"width": 256, "height": 128, "scheduler": "euler", "count": 1, "strength": 0.5, "dry_run": False},
    )
    assert whole.status_code == 200, whole.text
    parameters = jobs(gateway)[-1].parameters
    assert (parameters.width, parameters.height, parameters.scheduler, len(parameters.loras)) == (256, 128, "euler", 0)


async def test_an_upscale_has_the_runs_parameters_with_the_new_size(gateway):
    run_id = await drawn(gateway)
    answer = await upscale(gateway, run_id, scale=4, metadata={"a": "b"}, output_format="jpeg")
    assert answer.status_code == 200, answer.text
    await is_shaped(gateway, "Submitted", answer.json())
    (job,) = jobs(gateway)
    parameters = job.parameters
    assert (parameters.width, parameters.height, parameters.seed, parameters.steps) == (2048, 1024, 7, 20)
    assert (parameters.source.kind, parameters.source.scale) == (KINDS.SOURCE_KIND_UPSCALE, 4)
    assert (parameters.model_id, len(parameters.loras), len(job.adapters)) == (LORA.model_id, 2, 0)
    assert parameters.output_format == KINDS.OUTPUT_FORMAT_JPEG
    read = (await gateway.client.get(f"/v1/generations/{answer.json()['run_id']}")).json()
    await is_shaped(gateway, "Generation", read)
    assert read["source"] == {"kind": "upscale", "run_id": run_id, "upload_id": None, "strength": None, "scale": 4}
    assert dict(gateway.status.submissions[0].metadata) == {"a": "b"}


async def test_a_key_for_some_models_enlarges_what_it_may_draw_and_nothing_else(gateway):
    run_id, upload_id = await drawn(gateway), await uploaded(gateway)
    asks = (
        (f"/v1/generations/{run_id}/upscale", {"scale": 2}),
        (f"/v1/generations/{run_id}/variations", {}),
        ("/v1/upscales", {"upload_id": upload_id, "scale": 2}),
    )
    for allowed, statuses in (
        ([LORA.model_id, OTHER_LORA.model_id], [200, 200, 403]),
        ([LORA.model_id], [200, 403, 403]),
        ([BASE.base_model_id], [403, 403, 200]),
    ):
        gateway.auth.allowed_model_ids = allowed
        assert [(await gateway.client.post(path, json=body)).status_code for path, body in asks] == statuses


async def test_an_upload_is_varied_at_the_models_usual_area_in_its_own_aspect(gateway):
    upload_id = await uploaded(gateway, scene(90, 40))
    body = {"upload_id": upload_id, "model_id": LORA.model_id, "positive_prompt": "a mug", "count": 2, "seed": SEED}
    answer = await gateway.client.post("/v1/variations", json=body)
    assert [one["seed"] for one in answer.json()["generations"]] == [40, 41]
    parameters = jobs(gateway)[0].parameters
    assert (parameters.width, parameters.height) == (768, 344)
    assert parameters.source.upload_id == upload_id
    assert parameters.source.image == gateway.uploads.uploads[upload_id].image
    read = (await gateway.client.get(f"/v1/generations/{answer.json()['generations'][0]['run_id']}")).json()
    assert (read["source"]["upload_id"], read["source"]["run_id"]) == (upload_id, None)


async def test_a_source_may_be_named_either_way(gateway):
    run_id, upload_id = await drawn(gateway), await uploaded(gateway)
    asked = {"model_id": BASE.base_model_id, "positive_prompt": "a mug", "width": 256, "height": 256}
    for source in ({"run_id": run_id}, {"upload_id": upload_id}):
        answer = await gateway.client.post("/v1/variations", json=asked | {"source": source})
        assert answer.status_code == 200, answer.text
        parameters = jobs(gateway)[-1].parameters
        assert {name: getattr(parameters.source, name) for name in source} == source
        assert (parameters.width, parameters.model_id, len(parameters.loras)) == (256, BASE.base_model_id, 0)
    answer = await gateway.client.post("/v1/variations", json={"source": {"run_id": run_id}})
    assert answer.status_code == 200
    assert jobs(gateway)[-1].parameters.positive_prompt == "a blue mug"


async def test_a_picture_that_comes_with_the_request_is_kept_as_an_upload(gateway):
    body = {"image": data_url(encoded(scene())), "model_id": LORA.model_id, "positive_prompt": "a mug"}
    answer = await gateway.client.post("/v1/variations", json=body)
    assert answer.status_code == 200, answer.text
    (upload_id,) = gateway.uploads.uploads
    source = jobs(gateway)[0].parameters.source
    assert source.upload_id == upload_id
    assert await gateway.blobs.head(source.image.store_key)


async def test_an_upload_is_enlarged(gateway):
    upload_id = await uploaded(gateway)
    answer = await gateway.client.post("/v1/upscales", json={"upload_id": upload_id, "scale": 2})
    assert answer.status_code == 200, answer.text
    parameters = jobs(gateway)[0].parameters
    assert (parameters.width, parameters.height, parameters.base_model_id) == (192, 128, BASE.base_model_id)
    assert (parameters.source.kind, parameters.source.upload_id) == (KINDS.SOURCE_KIND_UPSCALE, upload_id)
    enlarged = answer.json()["run_id"]
    read = (await gateway.client.get(f"/v1/generations/{enlarged}")).json()
    await is_shaped(gateway, "Generation", read)
    gateway.status.finish(enlarged, b"image", "a" * 64)
    again = await vary(gateway, enlarged)
    error = again.json()["error"]
    assert (again.status_code, error["param"]) == (400, "positive_prompt")  # an upload was drawn by no prompt


async def test_a_picture_larger_than_the_model_draws_is_varied_at_its_largest(gateway):
    run_id = await drawn(gateway)
    gateway.status.runs[run_id].image.width, gateway.status.runs[run_id].image.height = 4096, 2048
    assert (await vary(gateway, run_id)).status_code == 200
    assert (jobs(gateway)[0].parameters.width, jobs(gateway)[0].parameters.height) == (1024, 512)


@pytest.mark.parametrize(
    ("route", "fields", "code", "param", "allowed"),
    [
        ("variations", {"count": 9}, "invalid_parameter", "count", "between 1 and 8"),
        ("variations", {"count": 0}, "invalid_parameter", "count", "between 1 and 8"),
        ("variations", {"strength": 1.5}, "invalid_parameter", "strength", "between 0 and 1"),
        ("variations", {"strength": -0.1}, "invalid_parameter", "strength", "between 0 and 1"),
        ("variations", {"strength": "1"}, "invalid_parameter", "strength", "a number between 0 and 1"),
        ("variations", {"steps": 99}, "invalid_parameter", "steps", "between 1 and 50"),
        ("variations", {"guidance": 0}, "invalid_parameter", "guidance", "between 1 and 20"),
        ("variations", {"model_id": "x"}, "unknown_field", "model_id", None),
        ("variations", {"upload_id": "x"}, "unknown_field", "upload_id", None),
        ("variations", {"webhook_url": "https://127.0.0.1/"}, "invalid_parameter", "webhook_url", None),
        ("upscale", {"scale": 3}, "invalid_parameter", "scale", "2 or 4"),
        ("upscale", {"scale": "2"}, "invalid_parameter", "scale", "2 or 4"),
        ("upscale", {"scale": True}, "invalid_parameter", "scale", "2 or 4"),
        ("upscale", {"scale": float("nan")}, "invalid_parameter", "scale", "2 or 4"),
        ("upscale", {}, "invalid_parameter", "scale", "2 or 4"),
        ("upscale", {"scale": 2, "count": 2}, "unknown_field", "count", None),
    ],
)
async def test_what_is_out_of_range_is_refused_and_reserves_nothing(gateway, route, fields, code, param, allowed):
    run_id = await drawn(gateway)
    answer = await gateway.client.post(
        f"/v1/generations/{run_id}/{route}", content=json.dumps(fields), headers={"Content-Type": "application/json"}
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param), answer.text
    if allowed:
        assert allowed in error["message"]
    assert jobs(gateway) == []
    reserved = [check.reserve_run_id for check in gateway.auth.checks if check.reserve_run_id]
    assert await released(gateway, len(reserved)) == sorted(reserved)


@pytest.mark.parametrize("path", ["/v1/variations", "/v1/upscales"])
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "upload_id"),
        ({"upload_id": "up_1", "image": "data:x"}, "image"),
        ({"upload_id": "up_1", "source": {"run_id": "gen_1"}}, "source"),
        ({"source": {}}, "source"),
        ({"source": {"run_id": "gen_1", "upload_id": "up_1"}}, "source"),
        ({"source": {"upload_id": 7}}, "source.upload_id"),
        ({"image": "https://example.org/a.png"}, "image"),
    ],
)
async def test_exactly_one_picture_is_named(gateway, path, fields, param):
    body = {"scale": 2} if path == "/v1/upscales" else {"model_id": LORA.model_id, "positive_prompt": "a mug"}
    answer = await gateway.client.post(path, json=body | fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_parameter", param)
    assert [check.reserve_run_id for check in gateway.auth.checks] == [""]


@pytest.mark.parametrize("missing", ["model_id", "positive_prompt"])
async def test_an_upload_is_varied_with_a_model_and_a_prompt(gateway, missing):
    upload_id = await uploaded(gateway)
    body = {"upload_id": upload_id, "model_id": LORA.model_id, "positive_prompt": "a mug"}
    del body[missing]
    error = (await gateway.client.post("/v1/variations", json=body)).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_parameter", missing)


async def test_a_result_that_would_be_too_large_is_refused(gateway):
    run_id = await drawn(gateway)
    image = gateway.status.runs[run_id].image
    image.width, image.height = 2048, 512
    error = (await upscale(gateway, run_id, scale=4)).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_parameter", "scale")
    assert "Must be 2" in error["message"]
    assert "4096" in error["message"]
    image.width = 2056
    assert (await upscale(gateway, run_id, scale=2)).status_code == 400
    assert jobs(gateway) == []


async def test_a_run_that_is_not_completed_answers_409_and_a_strangers_404(gateway):
    waiting = (await gateway.generate()).json()["run_id"]
    foreign = await drawn(gateway)
    gateway.status.runs[foreign].organization_id = "org_2"
    for ask, fields in ((vary, {}), (upscale, {"scale": 2})):
        refused = await ask(gateway, waiting, **fields)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "failed_precondition")
        for run_id in (foreign, new_run_id(), "gen_1", "x"):
            unknown = await ask(gateway, run_id, **fields)
            assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")
    for source in ({"upload_id": new_id("up")}, {"upload_id": "up_1"}, {"run_id": foreign}, {"run_id": "gen_1"}):
        answer = await gateway.client.post("/v1/upscales", json={"source": source, "scale": 2})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    reserved = [check.reserve_run_id for check in gateway.auth.checks if check.reserve_run_id]
    assert await released(gateway, len(reserved)) == sorted(reserved)
    assert jobs(gateway) == []


async def test_a_request_without_a_good_key_is_told_nothing_of_its_body(gateway):
    run_id = await drawn(gateway)
    gateway.client.headers.pop("x-api-key")
    for path in (f"/v1/generations/{run_id}/upscale", "/v1/generations/x/variations", "/v1/variations", "/v1/upscales"):
        answer = await gateway.client.post(path, content=b"not json")
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "missing_api_key")


async def test_a_key_answers_its_runs_again_and_its_picture_is_kept_once(gateway):
    headers = {"Idempotency-Key": "order-7"}
    body = {"image": data_url(encoded(scene())), "model_id": LORA.model_id, "positive_prompt": "a mug", "count": 3}
    first = await gateway.client.post("/v1/variations", json=body, headers=headers)
    again = await gateway.client.post("/v1/variations", json=body, headers=headers)
    assert first.status_code == again.status_code == 200
    assert first.content == again.content
    assert (len(jobs(gateway)), len(gateway.uploads.uploads)) == (3, 1)
    other = await gateway.client.post("/v1/variations", json=body | {"count": 2}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert len(gateway.uploads.uploads) == 1


async def test_the_same_body_of_another_run_is_another_request(gateway):
    headers = {"Idempotency-Key": "order-7"}
    one, other = await drawn(gateway), await drawn(gateway)
    assert (await upscale(gateway, one, headers=headers, scale=2)).status_code == 200
    refused = await upscale(gateway, other, headers=headers, scale=2)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "idempotency_key_reused")


async def test_a_key_answers_even_where_the_picture_is_gone_and_the_images_are_used_up(gateway):
    headers = {"Idempotency-Key": "order-7"}
    run_id = await drawn(gateway)
    first = await vary(gateway, run_id, headers=headers, count=2)
    del gateway.status.runs[run_id]
    assert (await vary(gateway, run_id, headers=headers, count=2)).content == first.content
    gateway.auth.refusal = errors.QuotaExceeded()
    assert (await vary(gateway, run_id, headers=headers, count=2)).content == first.content


@pytest.mark.parametrize("refusal", [errors.QueueFull(), errors.ModelNotFound(), errors.Unavailable()])
async def test_what_is_refused_in_the_end_leaves_no_picture(gateway, refusal):
    model_id = "model_06bqz0000000000000000000zz" if isinstance(refusal, errors.ModelNotFound) else LORA.model_id
    gateway.status.refusal = refusal
    body = {"image": data_url(encoded(scene())), "model_id": model_id, "positive_prompt": "a mug", "count": 2}
    answer = await gateway.client.post("/v1/variations", json=body)
    assert answer.json()["error"]["code"] == refusal.code
    if not isinstance(refusal, errors.Unavailable):  # else it may be accepted: retraction finds out
        assert gateway.uploads.uploads == {}
        assert len(await released(gateway, 2)) == 2


async def test_a_bad_picture_in_a_request_is_refused(gateway):
    for content, reason in ((b"hello", "no PNG"), (png_of_size(1, 1), "between 16"), (encoded(scene())[:-9], "cut")):
        body = {"image": data_url(content), "scale": 2}
        error = (await gateway.client.post("/v1/upscales", json=body)).json()["error"]
        assert (error["code"], error["param"]) == ("invalid_file", "image")
        assert reason in error["message"]
    assert gateway.uploads.uploads == {}
    assert len(await released(gateway, 3)) == 3


async def test_a_quota_that_does_not_suffice_for_all_takes_none(gateway):
    run_id = await drawn(gateway)
    gateway.auth.refusal = errors.QuotaExceeded()
    answer = await vary(gateway, run_id, count=4)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "quota_exceeded")
    assert len(await released(gateway, 4)) == 4
    assert jobs(gateway) == []


async def test_a_dry_run_stores_nothing(gateway):
    run_id = await drawn(gateway)
    for path, body in (
        (f"/v1/generations/{run_id}/variations", {"count": 3}),
        (f"/v1/generations/{run_id}/upscale", {"scale": 2}),
        ("/v1/upscales", {"image": data_url(encoded(scene())), "scale": 2}),
    ):
        answer = await gateway.client.post(path, json=body | {"dry_run": True})
        shown = answer.json()
        assert answer.status_code == 200, answer.text
        await is_shaped(gateway, "DryRun", shown)
        assert shown["images"] == body.get("count", 1)
    assert jobs(gateway) == []
    assert gateway.uploads.uploads == {}
    assert not any(check.reserve_run_id for check in gateway.auth.checks)


async def test_prefer_wait_answers_with_the_pictures(gateway):
    run_id = await drawn(gateway)
    asking = asyncio.create_task(vary(gateway, run_id, count=2, headers={"Prefer": "wait=20", "Cancel-After": "60"}))
    async with asyncio.timeout(SURELY_S):
        while len(gateway.status.published) < 3:
            gateway.status.on_published.clear()
            await gateway.status.on_published.wait()
    for job in jobs(gateway):
        assert job.HasField("deadline")
        gateway.status.finish(job.run_id, b"image", "a" * 64)
    answer = await asking
    await is_shaped(gateway, "GenerationsDrawn", answer.json())
    assert answer.headers["preference-applied"] == "wait=20"
    assert [one["status"] for one in answer.json()["generations"]] == ["completed", "completed"]
    assert gateway.status.submissions[0].job.organization_id == ORGANIZATION
