"""The four examples of the public reference, word by word, against a running platform."""

from __future__ import annotations

import io
import json
import re

import httpx
from PIL import Image

from tests.support.platform import Platform
from tests.support.rest import Account

# As printed in the reference; only the model id is a real one.
GENERATE = """{
"positive_prompt": "A blue ceramic coffee mug on a wooden table",
"negative_prompt": "blurry, low quality",
"model_id": "your-model-id",
"lora_weight": 0.8,
"guidance": 7.5,
"width": 1024,
"height": 1024
}"""


def test_generate_answers_as_the_reference_prints_and_the_picture_can_be_polled_and_fetched(
    platform: Platform, account: Account
) -> None:
    body = GENERATE.replace("your-model-id", account.lora())
    headers = {"X-API-Key": account.key, "Content-Type": "application/json"}

    submitted = httpx.post(f"{platform.ready['url']}/v1/generate", content=body, headers=headers, trust_env=False)

    assert submitted.status_code == 200, submitted.text
    answer = submitted.json()
    assert re.fullmatch(r"gen_[0-9a-z]+", answer["run_id"])
    assert answer["status"] == "queued"
    assert type(answer["estimated_time"]) is int
    assert answer["estimated_time"] >= 1

    generation = account.until(answer["run_id"])

    assert generation["run_id"] == answer["run_id"]
    assert (generation["status"], generation["progress"]) == ("completed", 100)
    assert re.fullmatch(rf"http://[^/]+/images/{answer['run_id']}\.png\?.+", generation["image_url"])
    picture = httpx.get(generation["image_url"], trust_env=False)
    assert picture.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(picture.content)) as image:
        image.load()
        assert (image.format, image.size, image.mode) == ("PNG", (1024, 1024), "RGB")


def test_models_lists_id_name_description_and_creation_time(shared_account: Account) -> None:
    answer = shared_account.get("/v1/models")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    models = answer.json()["models"]
    assert models
    for model in models:
        assert re.fullmatch(r"model_[0-9a-z]+", model["id"])
        assert type(model["name"]) is str
        assert model["name"]
        assert type(model["description"]) is str
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", model["created_at"])


def test_an_error_has_the_documented_code_and_message(shared_account: Account) -> None:
    body = json.loads(GENERATE) | {"model_id": shared_account.lora(), "guidance": 21}

    answer = shared_account.post("/v1/generate", body)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "invalid_parameter"
    assert error["message"] == "Invalid value for parameter 'guidance'. Must be between 1 and 20."
