"""What a client can do with runs: draw, repeat, cancel, list; and what the numbers in a request mean."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from tests.support.deadlines import STARTED_WITHIN_S, SURELY_S
from tests.support.pictures import farthest
from tests.support.platform import Platform, eventually, sha256
from tests.support.rest import Account


def test_the_same_seed_gives_the_same_picture_and_another_seed_another_picture(account: Account) -> None:
    first, again, other = account.draw(seed=5), account.draw(seed=5), account.draw(seed=6)

    assert farthest(account.image(first), account.image(again)) <= 1
    assert farthest(account.image(first), account.image(other)) > 1


def test_a_weight_of_zero_is_the_base_models_picture_and_a_weight_of_one_is_not(account: Account) -> None:
    lora, base = account.lora(), account.base_model()

    plain = account.image(account.draw(model_id=base))
    unweighted = account.image(account.draw(model_id=lora, lora_weight=0))
    weighted = account.image(account.draw(model_id=lora, lora_weight=1))

    assert unweighted == plain
    assert weighted != plain


def test_a_seed_is_chosen_where_none_is_given_and_draws_the_same_again(account: Account) -> None:
    body = account.body()
    del body["seed"]
    answer = account.post("/v1/generate", body).json()
    chosen = account.until(answer["run_id"])

    assert chosen["seed"] == answer["seed"]
    assert farthest(account.image(account.draw(seed=answer["seed"])), account.image(chosen)) <= 1


def test_the_parameters_of_a_run_are_a_body_that_draws_it_again(account: Account) -> None:
    first = account.draw(scheduler="euler", negative_prompt="grey")

    answer = account.post("/v1/generate", first["parameters"])

    assert answer.status_code == 200, answer.text
    assert farthest(account.image(account.until(answer.json()["run_id"])), account.image(first)) <= 1


@pytest.mark.parametrize(("output_format", "kind"), [("png", "PNG"), ("webp", "WEBP"), ("jpeg", "JPEG")])
def test_a_picture_has_the_format_size_and_digest_that_the_run_says(
    account: Account, output_format: str, kind: str
) -> None:
    generation = account.draw(output_format=output_format, width=128, height=72)

    content = account.image(generation)

    assert generation["image"] == {
        "width": 128,
        "height": 72,
        "format": output_format,
        "bytes": len(content),
        "sha256": sha256(content),
    }
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == (kind, (128, 72))


def test_progress_only_grows_and_ends_at_one_hundred(account: Account) -> None:
    run_id = account.submit(steps=80, width=256, height=256)
    seen: list[int] = []

    def look() -> bool:
        generation = account.generation(run_id)
        seen.append(generation["progress"])
        return generation["status"] == "completed"

    eventually(look, within_s=STARTED_WITHIN_S, what="the run completes")

    assert seen == sorted(seen)
    assert seen[-1] == 100
    assert len(set(seen)) > 2


def test_metadata_is_handed_back_untouched(account: Account) -> None:
    metadata = {"order": "№ 7", "empty": ""}

    assert account.draw(metadata=metadata)["metadata"] == metadata


def test_an_idempotency_key_makes_one_run_however_often_it_is_sent(account: Account) -> None:
    headers = {"Idempotency-Key": "order-7"}
    body = account.body()

    first, again = (account.post("/v1/generate", body, headers=headers) for _ in range(2))
    other = account.post("/v1/generate", body | {"guidance": 6}, headers=headers)

    assert first.status_code == again.status_code == 200
    assert first.content == again.content
    assert other.status_code == 422
    assert other.json()["error"]["code"] == "idempotency_key_reused"
    account.until(first.json()["run_id"])
    assert len(account.get("/v1/generations").json()["generations"]) == 1
    images = eventually(
        lambda: found if (found := account.get("/v1/limits").json()["images_per_month"])["reserved"] == 0 else None,
        within_s=SURELY_S,
        what="the reservation is settled",
    )
    assert images["used"] == 1


def test_prefer_wait_answers_once_the_run_has_ended(account: Account) -> None:
    answer = account.post("/v1/generate", account.body(), headers={"Prefer": "wait=30"})

    assert answer.status_code == 200
    assert account.generation(answer.json()["run_id"])["status"] == "completed"


def test_a_running_run_is_canceled_at_its_next_step_and_charges_nothing(account: Account) -> None:
    run_id = account.submit(steps=100, width=512, height=512)
    account.until(run_id, "running")

    answer = account.post(f"/v1/generations/{run_id}/cancel")
    ended = account.until(run_id, within_s=SURELY_S)
    again = account.post(f"/v1/generations/{run_id}/cancel")

    assert answer.json()["status"] in ("canceling", "canceled")
    assert ended["status"] == again.json()["status"] == "canceled"
    assert ended["image_url"] is None
    eventually(
        lambda: account.get("/v1/limits").json()["images_per_month"]["reserved"] == 0,
        within_s=SURELY_S,
        what="the reservation is released",
    )
    assert account.get("/v1/limits").json()["images_per_month"]["used"] == 0


def test_a_queued_run_is_canceled_at_once(platform: Platform, account: Account) -> None:
    with platform.frozen("worker"):
        run_id = account.submit()

        answer = account.post(f"/v1/generations/{run_id}/cancel")

        assert answer.json()["status"] == "canceled"


def test_a_run_that_has_not_started_by_its_deadline_expires(platform: Platform, account: Account) -> None:
    with platform.frozen("worker"):
        late = account.submit(headers={"Cancel-After": "1"})

        assert account.until(late, within_s=STARTED_WITHIN_S)["status"] == "expired"


def test_the_list_is_newest_first_pages_without_gaps_and_filters(account: Account) -> None:
    lora, base = account.lora(), account.base_model()
    run_ids = [account.submit(model_id=base if number % 2 else lora, seed=number) for number in range(5)]
    for run_id in run_ids:
        account.until(run_id)

    listed: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = account.get("/v1/generations", params=query).json()
        listed += [generation["run_id"] for generation in page["generations"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert listed == run_ids[::-1]
    only_base = account.get("/v1/generations", params={"model": base}).json()["generations"]
    assert [generation["run_id"] for generation in only_base] == [run_ids[3], run_ids[1]]
    assert account.get("/v1/generations", params={"status": "failed"}).json()["generations"] == []
    assert account.get("/v1/generations", params={"cursor": "forged"}).status_code == 400
    assert account.get("/v1/generations", params={"limit": 0}).status_code == 400


def test_accounts_see_nothing_of_each_other(platform: Platform, account: Account) -> None:
    run_id = account.draw()["run_id"]

    with platform.account() as stranger:
        read = stranger.get(f"/v1/generations/{run_id}")
        canceled = stranger.post(f"/v1/generations/{run_id}/cancel")
        listed = stranger.get("/v1/generations").json()["generations"]

    assert read.status_code == canceled.status_code == 404
    assert read.json()["error"]["code"] == "not_found"
    assert listed == []
