"""Pictures that begin from a picture, over the whole platform: uploads, variations, upscales, and how they look."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from tests.support.deadlines import SURELY_S
from tests.support.pictures import bomb, data_url, encoded, scene, sideways_jpeg, text_bomb
from tests.support.platform import Platform, eventually, sha256
from tests.support.rest import Account

SIZED = {"width": 256, "height": 256, "steps": 12}
PROMPT = "a red mug"


def picture(account: Account, generation: dict[str, Any]) -> Image.Image:
    image = Image.open(io.BytesIO(account.image(generation)))
    image.load()
    return image.convert("RGB")


def psnr_db(one: Image.Image, other: Image.Image) -> float:
    """Peak signal-to-noise ratio of two pictures of one size; infinite where they are the same."""
    squares = ImageStat.Stat(ImageChops.difference(one, other)).rms
    mean_square = sum(rms**2 for rms in squares) / len(squares)
    return math.inf if mean_square == 0 else 10 * math.log10(255**2 / mean_square)


def upload(account: Account, content: bytes, name: str = "mug.png") -> dict[str, Any]:
    answer = account.http.post("/v1/uploads", files={"file": (name, content)})
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def ended(account: Account, path: str, body: dict[str, Any], status: str = "completed") -> list[dict[str, Any]]:
    """Submit to a route and wait for all runs that it makes."""
    answer = account.post(path, body)
    assert answer.status_code == 200, answer.text
    accepted = answer.json()
    runs = [account.until(one["run_id"]) for one in accepted.get("generations", [accepted])]
    assert [run["status"] for run in runs] == [status] * len(runs), runs
    return runs


@pytest.fixture(scope="module")
def owner(platform: Platform) -> Iterator[Account]:
    with platform.account() as fresh:
        yield fresh


@pytest.fixture(scope="module")
def source(owner: Account) -> dict[str, Any]:
    """A run of a base model, drawn once for all tests that begin from it."""
    return owner.draw(positive_prompt=PROMPT, model_id=owner.base_model(), **SIZED)


def test_a_weak_variation_is_closer_to_its_source_than_a_strong_one(owner: Account, source: dict[str, Any]) -> None:
    path = f"/v1/generations/{source['run_id']}/variations"
    # Another prompt: a model that knows its subject well finds the source's own prompt's picture again.
    body = {"positive_prompt": "a green tree", "count": 2, "seed": 11}
    drawn = {strength: ended(owner, path, body | {"strength": strength}) for strength in (0.0, 0.3, 0.9)}
    original = picture(owner, source)
    nearness = {strength: [psnr_db(picture(owner, run), original) for run in runs] for strength, runs in drawn.items()}

    assert nearness[0.0] == [math.inf, math.inf]
    assert min(nearness[0.3]) > max(nearness[0.9]) + 0.4, nearness
    weak = drawn[0.3][0]
    assert weak["source"] == {
        "kind": "variation",
        "run_id": source["run_id"],
        "upload_id": None,
        "strength": 0.3,
        "scale": None,
    }
    kept = ("negative_prompt", "model_id", "guidance", "steps", "width", "height", "scheduler")
    assert {name: weak["parameters"][name] for name in kept} == {name: source["parameters"][name] for name in kept}


def test_image_k_of_several_is_what_its_seed_draws_alone(owner: Account, source: dict[str, Any]) -> None:
    path = f"/v1/generations/{source['run_id']}/variations"
    several = ended(owner, path, {"count": 3, "seed": 20, "strength": 0.7})
    alone = ended(owner, path, {"seed": 22, "strength": 0.7})[0]

    assert [run["seed"] for run in several] == [20, 21, 22]
    assert psnr_db(picture(owner, several[2]), picture(owner, alone)) > 50
    assert psnr_db(picture(owner, several[2]), picture(owner, several[0])) < 45


@pytest.mark.parametrize("scale", [2, 4])
def test_an_upscaled_picture_is_the_same_picture_larger(owner: Account, source: dict[str, Any], scale: int) -> None:
    large = ended(owner, f"/v1/generations/{source['run_id']}/upscale", {"scale": scale})[0]

    image, original = picture(owner, large), picture(owner, source)
    assert image.size == (256 * scale, 256 * scale)
    assert (large["image"]["width"], large["parameters"]["width"]) == (256 * scale, 256 * scale)
    assert psnr_db(image.resize(original.size, Image.Resampling.BOX), original) > 28
    assert large["source"]["scale"] == scale
    assert large["parameters"]["positive_prompt"] == source["parameters"]["positive_prompt"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_upload_is_kept_read_and_deleted(owner: Account, kind: str) -> None:
    content = encoded(scene(), kind)

    kept = upload(owner, content)

    assert (kept["width"], kept["height"], kept["format"]) == (96, 64, kind.lower())
    assert (kept["bytes"], kept["sha256"]) == (len(content), sha256(content))
    assert kept["expires_at"] > kept["created_at"]
    assert owner.get(f"/v1/uploads/{kept['upload_id']}").json() == kept
    assert owner.http.delete(f"/v1/uploads/{kept['upload_id']}").status_code == 204
    assert owner.get(f"/v1/uploads/{kept['upload_id']}").status_code == 404


def test_a_photo_held_sideways_is_enlarged_upright(owner: Account) -> None:
    kept = upload(owner, sideways_jpeg(scene(128, 96)))
    large = ended(owner, "/v1/upscales", {"upload_id": kept["upload_id"], "scale": 2})[0]

    image = picture(owner, large)
    assert image.size == (256, 192)
    assert psnr_db(image.resize((128, 96), Image.Resampling.BOX), scene(128, 96)) > 24
    assert b"SECRET" not in owner.image(large)
    assert large["source"]["upload_id"] == kept["upload_id"]


def test_an_upload_is_varied_in_its_own_aspect_with_loras_too(owner: Account) -> None:
    kept = upload(owner, encoded(scene(160, 80)))
    body = {"upload_id": kept["upload_id"], "model_id": owner.lora(), "positive_prompt": PROMPT, "steps": 8, "seed": 3}

    near, far = (ended(owner, "/v1/variations", body | {"strength": strength})[0] for strength in (0.25, 1.0))

    width, height = near["image"]["width"], near["image"]["height"]
    assert 1.8 < width / height < 2.2
    original = scene(160, 80).resize((width, height), Image.Resampling.LANCZOS)
    assert psnr_db(picture(owner, near), original) > psnr_db(picture(owner, far), original)
    assert near["loras"][0]["matched_keys"] > 0


def test_a_picture_may_come_with_the_request_or_be_named_in_source(owner: Account, source: dict[str, Any]) -> None:
    base = {"model_id": owner.base_model(), "positive_prompt": PROMPT, "steps": 4, "width": 64, "height": 64}

    inline = ended(owner, "/v1/variations", base | {"image": data_url(encoded(scene()))})[0]
    named = ended(owner, "/v1/variations", {"source": {"run_id": source["run_id"]}, "strength": 0.2})[0]

    assert inline["source"]["upload_id"].startswith("up_")
    assert inline["image"]["width"] == 64
    assert named["source"]["run_id"] == source["run_id"]
    assert named["parameters"]["positive_prompt"] == source["parameters"]["positive_prompt"]
    enlarged = ended(owner, "/v1/upscales", {"source": {"upload_id": inline["source"]["upload_id"]}, "scale": 2})[0]
    assert (enlarged["image"]["width"], enlarged["image"]["height"]) == (192, 128)


def test_each_result_is_one_image_and_a_key_makes_them_once(account: Account) -> None:
    first = account.draw()
    path, headers = f"/v1/generations/{first['run_id']}/variations", {"Idempotency-Key": "once"}
    body = {"count": 3, "seed": 1}

    answers = [account.post(path, body, headers=headers) for _ in range(2)]
    other = account.post(path, body | {"count": 2}, headers=headers)
    for one in answers[0].json()["generations"]:
        assert account.until(one["run_id"])["status"] == "completed"

    assert answers[0].content == answers[1].content
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert len(account.get("/v1/generations").json()["generations"]) == 4
    eventually(lambda: used(account) == (4, 0), within_s=SURELY_S, what="four images are used and none held")


def used(account: Account) -> tuple[int, int]:
    images = account.get("/v1/limits").json()["images_per_month"]
    return images["used"], images["reserved"]


def test_several_are_accepted_all_or_none(platform: Platform) -> None:
    with platform.account(images_per_month=3) as account:
        first = account.draw()
        path = f"/v1/generations/{first['run_id']}/variations"

        tried = account.post(path, {"count": 3, "dry_run": True})
        refused = account.post(path, {"count": 3})

        assert tried.json()["images"] == 3
        assert [block["code"] for block in tried.json()["blocked_by"]] == ["quota_exceeded"]
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "quota_exceeded")
        eventually(lambda: used(account) == (1, 0), within_s=SURELY_S, what="nothing is held")
        assert len(ended(account, path, {"count": 2, "strength": 0.3})) == 2


def test_prefer_wait_answers_with_the_pictures(owner: Account, source: dict[str, Any]) -> None:
    answer = owner.post(
        f"/v1/generations/{source['run_id']}/variations",
        {"count": 2, "strength": 0.2},
        headers={"Prefer": "wait=60"},
    )

    assert answer.headers["preference-applied"] == "wait=60"
    assert [one["status"] for one in answer.json()["generations"]] == ["completed", "completed"]


def test_a_source_that_vanishes_fails_its_run_and_no_other(platform: Platform, account: Account) -> None:
    kept = upload(account, encoded(scene()))
    body = {"upload_id": kept["upload_id"], "model_id": account.lora(), "positive_prompt": PROMPT, "steps": 4}
    ahead = account.submit(steps=100, width=256, height=256)
    account.until(ahead, "running")
    with platform.frozen("worker"):
        doomed = account.post("/v1/variations", body).json()["run_id"]
        neighbour = account.submit()
        assert account.http.delete(f"/v1/uploads/{kept['upload_id']}").status_code == 204

    failed = account.until(doomed)

    assert (failed["status"], failed["error"]["code"]) == ("failed", "source_missing")
    assert account.until(neighbour)["status"] == account.until(ahead)["status"] == "completed"
    eventually(lambda: used(account) == (2, 0), within_s=SURELY_S, what="the failed one costs nothing")


def test_sources_of_others_and_deleted_ones_are_not_there(platform: Platform, account: Account) -> None:
    drawn, kept = account.draw(), upload(account, encoded(scene()))
    base = {"model_id": account.base_model(), "positive_prompt": PROMPT}
    asks = [
        (f"/v1/generations/{drawn['run_id']}/upscale", {"scale": 2}),
        (f"/v1/generations/{drawn['run_id']}/variations", {}),
        ("/v1/variations", base | {"upload_id": kept["upload_id"]}),
        ("/v1/upscales", {"source": {"run_id": drawn["run_id"]}, "scale": 2}),
        ("/v1/upscales", {"upload_id": kept["upload_id"], "scale": 2}),
    ]
    with platform.account() as stranger:
        for path, body in asks:
            answer = stranger.post(path, body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), path
    account.http.delete(f"/v1/generations/{drawn['run_id']}")
    account.http.delete(f"/v1/uploads/{kept['upload_id']}")
    for path, body in asks:
        answer = account.post(path, body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), path
    eventually(lambda: used(account) == (1, 0), within_s=SURELY_S, what="nothing is held")


def test_a_run_that_is_not_completed_is_no_source(account: Account) -> None:
    run_id = account.submit(steps=100, width=512, height=512)

    for path, body in (("upscale", {"scale": 2}), ("variations", {})):
        answer = account.post(f"/v1/generations/{run_id}/{path}", body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "failed_precondition")

    account.post(f"/v1/generations/{run_id}/cancel")
    account.until(run_id)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("variations", {"count": 9}, "count"),
        ("variations", {"strength": 1.5}, "strength"),
        ("upscale", {"scale": 3}, "scale"),
    ],
)
def test_what_is_out_of_range_is_refused(
    owner: Account, source: dict[str, Any], path: str, body: dict[str, Any], param: str
) -> None:
    answer = owner.post(f"/v1/generations/{source['run_id']}/{path}", body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_parameter", param)


def test_a_result_over_4096_pixels_is_refused(owner: Account) -> None:
    kept = upload(owner, encoded(Image.new("RGB", (1_032, 516))))

    answer = owner.post("/v1/upscales", {"upload_id": kept["upload_id"], "scale": 4})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "scale")
    assert "4096" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (bomb(16_000, 16_000), 400, "invalid_file"),
        (bomb(7_150, 7_150), 400, "invalid_file"),
        (text_bomb(), 400, "invalid_file"),
        (encoded(scene())[:-20], 400, "invalid_file"),
        (encoded(scene()) + b"PK\x03\x04" + bytes(64), 400, "invalid_file"),
        (encoded(scene(), "GIF"), 400, "invalid_file"),
        (encoded(Image.new("RGB", (1, 1))), 400, "invalid_file"),
        (encoded(scene()) + bytes(21_000_000), 413, "body_too_large"),
        (bytes(40_000_000), 413, "body_too_large"),
    ],
    ids=["bomb", "51 megapixels", "text bomb", "cut", "polyglot", "gif", "1x1", "21 MB", "40 MB"],
)
def test_a_hostile_file_is_refused(owner: Account, content: bytes, status: int, code: str) -> None:
    answer = owner.http.post("/v1/uploads", files={"file": ("mug.png", content)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
