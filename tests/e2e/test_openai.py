"""The official OpenAI client against the platform, with only its address and key set."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import httpx
import openai
import pytest

from tests.support.deadlines import SURELY_S
from tests.support.pictures import farthest
from tests.support.platform import Platform, eventually
from tests.support.rest import Account


@pytest.fixture
def client(account: Account) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{account.url}/v1", api_key=account.key) as found:
        yield found


def test_images_come_as_links_and_each_is_the_same_as_its_seed_alone(client: openai.OpenAI, account: Account) -> None:
    own = {"seed": 5, "steps": 4, "lora_weight": 0.8, "guidance": 5}
    answer = client.images.generate(
        prompt="a red mug", model=account.lora(), n=3, size="64x64", user="u1", extra_body=own
    )

    pictures = [httpx.get(picture.url or "", trust_env=False).content for picture in answer.data or []]
    alone = account.image(account.draw(seed=6, lora_weight=0.8))

    assert len(set(pictures)) == 3
    assert farthest(pictures[1], alone) <= 1
    assert account.get("/v1/generations").json()["generations"][-1]["metadata"] == {"user": "u1"}
    assert account.get("/v1/limits").json()["queued_runs"]["remaining"] > 0


def test_an_image_comes_as_base64_in_its_format(client: openai.OpenAI, account: Account) -> None:
    answer = client.images.generate(
        prompt="a red mug",
        model=account.base_model(),
        size="64x64",
        response_format="b64_json",
        output_format="jpeg",
        extra_body={"steps": 2},
    )

    assert base64.b64decode((answer.data or [])[0].b64_json or "")[:3] == b"\xff\xd8\xff"


def test_errors_are_the_clients_own(client: openai.OpenAI, account: Account, platform: Platform) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.images.generate(prompt="a mug", model="dall-e-3")
    with pytest.raises(openai.BadRequestError) as wrong:
        client.images.generate(prompt="a mug", model=account.lora(), quality="hd")
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="nonsense").images.generate(prompt="a mug", model=account.lora())

    assert (unknown.value.code, wrong.value.param) == ("model_not_found", "quality")
    assert account.get("/v1/limits").json()["images_per_month"]["used"] == 0


def test_n_images_are_reserved_together_or_not_at_all(platform: Platform) -> None:
    with platform.account(images_per_month=2) as account:
        client = openai.OpenAI(base_url=f"{account.url}/v1", api_key=account.key, max_retries=0)
        with client, pytest.raises(openai.RateLimitError) as refused:
            client.images.generate(prompt="a mug", model=account.lora(), n=3, size="64x64")
        generations = account.get("/v1/generations").json()["generations"]
        eventually(
            lambda: account.get("/v1/limits").json()["images_per_month"]["reserved"] == 0,
            within_s=SURELY_S,
            what="what was held of the refused images is given back",
        )

    assert (refused.value.code, generations) == ("quota_exceeded", [])
