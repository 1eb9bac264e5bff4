"""Keys with scopes, models and images of their own; what was drawn; the organization's settings."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator

import pytest
from PIL import Image

from tests.support.deadlines import SURELY_S
from tests.support.platform import Platform, eventually
from tests.support.rest import Account

Make = Callable[..., tuple[dict, Account]]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes a key; gives what was answered and an account that uses it."""
    with contextlib.ExitStack() as opened:

        def make_one(account: Account, **fields: object) -> tuple[dict, Account]:
            answer = account.post("/v1/keys", {"name": "test", **fields})
            assert answer.status_code == 200, answer.text
            made = answer.json()
            return made, opened.enter_context(Account(account.url, made["secret"]))

        yield make_one


def refusal(answer) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_key_is_shown_once_does_what_it_may_and_is_refused_once_revoked(account: Account, make: Make) -> None:
    made, reader = make(account, scopes=["generations:read"])
    assert made["secret"].startswith(made["prefix"])
    assert reader.get("/v1/generations").status_code == 200
    assert refusal(reader.post("/v1/generate", account.body())) == (403, "permission_denied")
    assert refusal(reader.get("/v1/keys")) == (403, "permission_denied")
    shown = account.get("/v1/keys", params={"limit": 1})
    assert made["secret"] not in shown.text
    [listed] = shown.json()["keys"]
    assert (listed["id"], listed["scopes"], listed["revoked_at"]) == (made["id"], ["generations:read"], None)
    assert shown.json()["next_cursor"]

    assert account.delete(f"/v1/keys/{made['id']}").status_code == 204

    eventually(
        lambda: reader.get("/v1/generations").status_code == 401, within_s=SURELY_S, what="the revoked key is refused"
    )
    assert account.delete(f"/v1/keys/{made['id']}").status_code == 204  # again: the same
    assert account.get("/v1/keys", params={"limit": 1}).json()["keys"][0]["revoked_at"] is not None


def test_a_key_draws_with_its_models_alone_and_no_more_images_than_its_own(account: Account, make: Make) -> None:
    lora, base = account.lora(), account.base_model()
    made, bound = make(account, allowed_models=[lora], monthly_images=1)
    assert (made["allowed_models"], made["monthly_images"], made["monthly_images_used"]) == ([lora], 1, 0)
    refused = bound.post("/v1/generate", account.body(model_id=base))
    assert refusal(refused) == (403, "permission_denied")
    assert refused.json()["error"]["param"] == "model_id"
    other = account.get("/v1/models").json()["models"][1]["id"]
    extra = bound.post("/v1/generate", account.body(model_id=lora, loras=[{"model_id": other}]))
    assert extra.json()["error"]["param"] == "loras[0].model_id"

    eventually(
        lambda: account.get("/v1/keys", params={"limit": 1}).json()["keys"][0]["monthly_images_used"] == 0,
        within_s=SURELY_S,
        what="the refused requests hold no image any more",
    )

    bound.draw(model_id=lora)

    assert refusal(bound.post("/v1/generate", account.body(model_id=lora))) == (429, "quota_exceeded")
    assert refusal(bound.post("/v1/keys", {"name": "free"})) == (403, "permission_denied")
    account.draw(model_id=base)  # the organization has its images still


def test_a_key_gives_no_scope_that_it_lacks(account: Account, make: Make) -> None:
    _, keeper = make(account, scopes=["keys:write", "models:read"])
    refused = keeper.post("/v1/keys", {"name": "more", "scopes": ["generations:write"]})
    assert refusal(refused) == (403, "permission_denied")
    assert keeper.post("/v1/keys", {"name": "same"}).json()["scopes"] == ["models:read", "keys:write"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": ""}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes[0]"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"allowed_models": ["mine"]}, "allowed_models"),
        ({"monthly_images": 0}, "monthly_images"),
        ({"monthly_images": True}, "monthly_images"),
        ({"secret": "imag_mine"}, "secret"),
    ],
)
def test_a_wrong_key_is_refused_by_its_field(shared_account: Account, fields: dict, param: str) -> None:
    refused = shared_account.post("/v1/keys", {"name": "test", **fields})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param


def test_a_key_of_somebody_else_is_not_there(platform: Platform, account: Account, make: Make) -> None:
    with platform.account() as stranger:
        made, _ = make(stranger)
        assert account.delete(f"/v1/keys/{made['id']}").status_code == 404
        assert stranger.get("/v1/keys", params={"limit": 1}).json()["keys"][0]["revoked_at"] is None
    assert account.delete("/v1/keys/nonsense").status_code == 404


def test_usage_counts_what_was_drawn_by_day_key_and_model(account: Account) -> None:
    lora = account.lora()
    account.draw(model_id=lora, width=128, height=64, steps=5)
    account.draw(model_id=lora, width=128, height=64, steps=5)

    used = eventually(
        lambda: (answer := account.get("/v1/usage").json())["total"]["images"] == 2 and answer,
        within_s=SURELY_S,
        what="both images are counted",
    )

    [row] = used["usage"]
    assert (row["model_id"], row["images"], row["megapixel_steps"]) == (lora, 2, 0.08192)
    assert row["device_seconds"] > 0
    assert row["key_id"] == account.get("/v1/keys").json()["keys"][0]["id"]
    assert used["next_cursor"] is None
    assert account.get("/v1/usage", params={"from": "2020-01-01"}).json()["error"]["param"] == "from"
    assert account.get("/v1/usage", params={"cursor": "x"}).json()["error"]["param"] == "cursor"


def test_an_organization_is_renamed_and_decides_what_its_images_tell(account: Account) -> None:
    before = account.get("/v1/organization").json()
    assert before["embed_parameters"] is True
    assert text_of(account.image(account.draw()))["parameters"]

    changed = account.http.patch("/v1/organization", json={"name": "Nord", "embed_parameters": False}).json()

    assert (changed["id"], changed["name"], changed["embed_parameters"]) == (before["id"], "Nord", False)
    eventually(
        lambda: "parameters" not in text_of(account.image(account.draw())),
        within_s=SURELY_S,
        what="images tell nothing",
    )
    refused = account.http.patch("/v1/organization", json={"plan": "premium"})
    assert refusal(refused) == (400, "unknown_field")


def text_of(content: bytes) -> dict[str, str]:
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return dict(image.text)
