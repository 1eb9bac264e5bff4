"""How a picture came about is told by its manifest and its file, and it comes about again."""

from __future__ import annotations

import hashlib
import io
import json

import pytest
from PIL import ExifTags, Image

from tests.support.platform import Platform
from tests.support.rest import Account


def test_a_manifest_names_all_that_decided_the_picture(account: Account) -> None:
    lora = account.lora()
    done = account.draw(model_id=lora, lora_weight=0.7)
    content = account.image(done)

    told = account.get(f"/v1/generations/{done['run_id']}/manifest").json()

    assert told["parameters"] == done["parameters"]
    assert [(one["model_id"], one["weight"]) for one in told["loras"]] == [(lora, 0.7)]
    assert len(told["loras"][0]["sha256"]) == len(told["base_model"]["sha256"]) == 64
    assert told["image"]["sha256"] == hashlib.sha256(content).hexdigest()
    with Image.open(io.BytesIO(content)) as image:
        assert told["image"]["pixels_sha256"] == hashlib.sha256(image.tobytes()).hexdigest()
    assert (told["device"], told["dtype"]) == ("cpu", "float32")
    assert {"imagineo", "torch", "diffusers"} <= told["versions"].keys()


@pytest.mark.parametrize("output_format", ["png", "webp", "jpeg"])
def test_an_image_file_tells_its_parameters(account: Account, output_format: str) -> None:
    done = account.draw(output_format=output_format, seed=99)
    with Image.open(io.BytesIO(account.image(done))) as image:
        image.load()
        if output_format == "png":
            told = json.loads(image.text["parameters"])
        else:
            comment = image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]
            told = json.loads(comment[8:].decode("utf-16-be"))
    assert (told["seed"], told["positive_prompt"]) == (99, done["parameters"]["positive_prompt"])


def test_a_generation_drawn_again_is_said_to_match(account: Account) -> None:
    done = account.draw(output_format="webp")
    path = f"/v1/generations/{done['run_id']}/replay"

    answer = account.post(path, {"metadata": {"why": "proof"}}, headers={"Prefer": "wait=60"})

    again = answer.json()
    assert answer.status_code == 200, answer.text
    assert again["run_id"] != done["run_id"]
    assert again["replay"] == {"run_id": done["run_id"], "result": "match", "psnr_db": None}
    assert (again["parameters"], again["metadata"]) == (done["parameters"], {"why": "proof"})
    assert account.image(again) == account.image(done)
    empty = account.http.post(path)
    assert empty.status_code == 200, empty.text
    assert account.until(empty.json()["run_id"])["replay"]["result"] == "match"


def test_a_variation_and_an_upscale_are_drawn_again_too(account: Account) -> None:
    done = account.draw()
    for route, body in (("variations", {"strength": 0.5, "seed": 3}), ("upscale", {"scale": 2})):
        made = account.post(f"/v1/generations/{done['run_id']}/{route}", body).json()
        first = account.until(made["run_id"])
        assert first["status"] == "completed", first
        again = account.post(f"/v1/generations/{first['run_id']}/replay", {}).json()
        assert account.until(again["run_id"])["replay"]["result"] == "match"


def test_what_is_not_completed_or_not_the_accounts_has_neither(platform: Platform, account: Account) -> None:
    waiting = account.submit(steps=100, width=1024, height=1024)
    for answer in (
        account.get(f"/v1/generations/{waiting}/manifest"),
        account.post(f"/v1/generations/{waiting}/replay", {}),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "failed_precondition")
    account.post(f"/v1/generations/{waiting}/cancel")
    done = account.draw()
    with platform.account() as stranger:
        assert stranger.get(f"/v1/generations/{done['run_id']}/manifest").status_code == 404
        assert stranger.post(f"/v1/generations/{done['run_id']}/replay", {}).status_code == 404
    refused = account.post(f"/v1/generations/{done['run_id']}/replay", {"seed": 5})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "seed")
