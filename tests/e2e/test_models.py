"""LoRAs of a user's own through REST: uploaded, drawn with, shared, changed, deleted; and every bad file refused."""

from __future__ import annotations

import io
import json
import pickle
import socket
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.deadlines import SURELY_S
from tests.support.lora_files import lora, safetensors
from tests.support.platform import REPOSITORY, Platform, eventually
from tests.support.rest import Account

LORAS = REPOSITORY / "libs" / "starter" / "weights" / "loras"
ENTRIES = {entry["file"]: entry for entry in json.loads((LORAS / "loras.json").read_text())}
DIFFUSERS = next(name for name, entry in ENTRIES.items() if entry["naming"] != "kohya" and entry["shared"])
KOHYA = next(name for name, entry in ENTRIES.items() if entry["naming"] == "kohya")


@pytest.fixture
def friend(platform: Platform) -> Iterator[Account]:
    with platform.account() as fresh:
        yield fresh


@pytest.fixture
def stranger(platform: Platform) -> Iterator[Account]:
    with platform.account() as fresh:
        yield fresh


def upload(account: Account, content: bytes, **fields: Any) -> httpx.Response:
    data = {"name": "Mine", "base_model_id": account.base_model(), **fields}
    return account.http.post("/v1/models", data=data, files={"file": ("a.safetensors", content)})


def uploaded(account: Account, content: bytes, **fields: Any) -> dict[str, Any]:
    answer = upload(account, content, **fields)
    assert answer.status_code == 200, answer.text
    model: dict[str, Any] = answer.json()
    return model


def named(account: Account, name: str) -> dict[str, Any]:
    models = account.get("/v1/models", params={"limit": 100}).json()["models"]
    return next(model for model in models if model["name"] == name)


def model_ids(account: Account) -> list[str]:
    return [model["id"] for model in account.get("/v1/models", params={"limit": 100}).json()["models"]]


def refusal(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == code
    return error


def test_an_upload_of_the_platforms_own_file_draws_the_same_picture(account: Account) -> None:
    platforms = named(account, ENTRIES[DIFFUSERS]["name"])

    mine = uploaded(account, (LORAS / DIFFUSERS).read_bytes(), name="Mine", trigger_words="flat, bright")

    assert (mine["owned"], mine["sharing"], mine["trigger_words"]) == (True, "private", ["flat", "bright"])
    assert (mine["sha256"], mine["rank"], mine["check"]) == (platforms["sha256"], platforms["rank"], platforms["check"])
    assert (mine["check"]["matched_ratio"], mine["check"]["ignored_keys"]) == (1.0, 0)
    one, other = (account.draw(model_id=model["id"], seed=11) for model in (mine, platforms))
    assert one["image"]["sha256"] == other["image"]["sha256"]
    assert one["loras"][0]["matched_keys"] == mine["check"]["matched_keys"]
    assert one["loras"][0]["ignored_keys"] == 0


def test_an_upload_in_kohyas_naming_changes_the_picture_by_its_weight(account: Account) -> None:
    mine = uploaded(account, (LORAS / KOHYA).read_bytes(), name="Kohya")

    assert mine["naming"] == "kohya"
    assert mine["check"]["alphas"] != []
    full, none = (account.draw(model_id=mine["id"], lora_weight=weight) for weight in (1, 0))
    base = account.draw(model_id=account.base_model())
    assert none["image"]["sha256"] == base["image"]["sha256"] != full["image"]["sha256"]
    assert full["loras"][0]["matched_keys"] == mine["check"]["matched_keys"]


def test_several_loras_draw_together(account: Account) -> None:
    mine = uploaded(account, (LORAS / KOHYA).read_bytes())
    theirs = named(account, ENTRIES[DIFFUSERS]["name"])

    drawn = account.draw(model_id=theirs["id"], loras=[{"model_id": mine["id"], "weight": 0.5}])

    assert [(use["model_id"], use["weight"], use["ignored_keys"]) for use in drawn["loras"]] == [
        (theirs["id"], 1.0, 0),
        (mine["id"], 0.5, 0),
    ]


def test_the_platform_draws_a_sample_that_whoever_sees_the_model_sees(account: Account, stranger: Account) -> None:
    mine = uploaded(account, (LORAS / DIFFUSERS).read_bytes(), trigger_words="flat", sharing="public")

    run = account.until(mine["sample_run_id"])

    assert (run["status"], run["parameters"]["positive_prompt"]) == ("completed", "flat, a red apple")
    assert run["metadata"] == {"sample_of": mine["id"]}
    for reader in (account, stranger):
        shown = reader.get(f"/v1/models/{mine['id']}").json()
        image = httpx.get(shown["sample_image_url"], trust_env=False)
        assert len(image.content) == run["image"]["bytes"]
        assert (shown["sample_run_id"] is None) == (reader is stranger)
    images = account.get("/v1/limits").json()["images_per_month"]
    assert images["used"] + images["reserved"] <= 1


def test_a_model_is_warm_once_it_was_drawn_with(account: Account) -> None:
    mine = uploaded(account, (LORAS / DIFFUSERS).read_bytes())
    account.draw(model_id=mine["id"])

    assert eventually(
        lambda: account.get(f"/v1/models/{mine['id']}").json()["warm"], within_s=SURELY_S, what="the model is warm"
    )


def test_sharing_decides_who_may_see_and_use_a_model(account: Account, friend: Account, stranger: Account) -> None:
    mine = uploaded(account, (LORAS / DIFFUSERS).read_bytes())
    path = f"/v1/models/{mine['id']}"
    assert mine["id"] in model_ids(account)

    for asker in (friend, stranger):
        assert mine["id"] not in model_ids(asker)
        refusal(asker.get(path), 404, "model_not_found")
        refusal(asker.post("/v1/generate", asker.body(model_id=mine["id"])), 404, "model_not_found")
        refusal(asker.http.patch(path, json={"name": "Stolen"}), 404, "model_not_found")
        refusal(asker.http.delete(path), 404, "model_not_found")

    change = {"sharing": "organizations", "shared_with": [friend.organization_id]}
    shared = account.http.patch(path, json=change).json()
    assert (shared["sharing"], shared["shared_with"]) == ("organizations", [friend.organization_id])
    assert mine["id"] in model_ids(friend)
    assert mine["id"] not in model_ids(stranger)
    assert friend.get(path).json()["shared_with"] is None
    eventually(lambda: usable(friend, mine["id"]), within_s=SURELY_S, what="the friend may use it")
    refusal(friend.http.patch(path, json={"name": "Stolen"}), 403, "permission_denied")
    refusal(friend.http.delete(path), 403, "permission_denied")
    assert not usable(stranger, mine["id"])

    account.http.patch(path, json={"sharing": "public"})
    assert mine["id"] in model_ids(stranger)
    eventually(lambda: usable(stranger, mine["id"]), within_s=SURELY_S, what="a stranger may use it")

    account.http.patch(path, json={"sharing": "private"})
    for asker in (friend, stranger):
        assert mine["id"] not in model_ids(asker)
        eventually(lambda a=asker: not usable(a, mine["id"]), within_s=SURELY_S, what="it is private again")
    assert usable(account, mine["id"])


def usable(account: Account, model_id: str) -> bool:
    answer = account.post("/v1/generate", account.body(model_id=model_id, dry_run=True))
    assert answer.status_code in (200, 404), answer.text
    return answer.status_code == 200


def test_a_model_is_renamed_filtered_and_deleted_for_good(account: Account) -> None:
    mine = uploaded(account, (LORAS / DIFFUSERS).read_bytes(), name="Old name", description="d")
    path = f"/v1/models/{mine['id']}"

    changed = account.http.patch(path, json={"name": "50% new", "trigger_words": ["steam"]}).json()
    assert (changed["name"], changed["description"], changed["trigger_words"]) == ("50% new", "d", ["steam"])
    for query, found in (({"q": "50% N"}, True), ({"q": "STEAM"}, True), ({"q": "old"}, False)):
        models = account.get("/v1/models", params=query).json()["models"]
        assert (mine["id"] in [model["id"] for model in models]) == found
    private = account.get("/v1/models", params={"sharing": "private"}).json()["models"]
    assert [model["id"] for model in private] == [mine["id"]]
    of_base = account.get("/v1/models", params={"base_model_id": account.base_model(), "limit": 100}).json()["models"]
    assert mine["id"] in [model["id"] for model in of_base]

    answer = account.http.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    refusal(account.get(path), 404, "model_not_found")
    refusal(account.http.delete(path), 404, "model_not_found")
    refusal(account.post("/v1/generate", account.body(model_id=mine["id"])), 404, "model_not_found")


def test_the_platforms_models_are_nobodys_to_change(account: Account) -> None:
    path = f"/v1/models/{account.lora()}"

    refusal(account.http.patch(path, json={"name": "Mine now"}), 403, "permission_denied")
    refusal(account.http.delete(path), 403, "permission_denied")


def test_a_key_without_the_scope_uploads_nothing(account: Account) -> None:
    made = account.post("/v1/keys", {"name": "reader", "scopes": ["models:read", "generations:write"]})
    assert made.status_code == 200, made.text
    with Account(account.url, made.json()["secret"]) as reader:
        error = refusal(upload(reader, (LORAS / DIFFUSERS).read_bytes()), 403, "permission_denied")
        assert error["details"]["permission"] == "models:write"
        refusal(reader.http.delete(f"/v1/models/{reader.lora()}"), 403, "permission_denied")


SOUND = (LORAS / DIFFUSERS).read_bytes()
LENGTH = struct.unpack("<Q", SOUND[:8])[0]
HEADER = json.loads(SOUND[8 : 8 + LENGTH])
DATA = SOUND[8 + LENGTH :]
NAME = next(name for name in HEADER if name != "__metadata__")


def changed(**fields: Any) -> bytes:
    return safetensors({**HEADER, NAME: {**HEADER[NAME], **fields}}, DATA)


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    return file.getvalue()


def twice() -> bytes:
    text = json.dumps(HEADER)
    return safetensors(text[:-1] + f', "{NAME}": {json.dumps(HEADER[NAME])}}}', DATA)


def with_nan() -> bytes:
    return SOUND[: 8 + LENGTH + 1000] + b"\x00\x7e" + SOUND[8 + LENGTH + 1002 :]


BAD = {
    "an empty file": (b"", "invalid_file"),
    "a truncated file": (SOUND[:-1], "invalid_file"),
    "a header that is cut": (SOUND[: 8 + LENGTH // 2], "invalid_file"),
    "a header length of 2^63": (struct.pack("<Q", 1 << 63) + SOUND[8:], "invalid_file"),
    "a header length of 0": (struct.pack("<Q", 0) + SOUND[8:], "invalid_file"),
    "offsets out of the file": (changed(data_offsets=[1 << 40, (1 << 40) + 100]), "invalid_file"),
    "overlapping offsets": (changed(data_offsets=[2, HEADER[NAME]["data_offsets"][1] + 2]), "invalid_file"),
    "a key twice": (twice(), "invalid_file"),
    "a wrong shape": (changed(shape=[1, 1]), "invalid_file"),
    "a wrong dtype": (changed(dtype="I64"), "invalid_file"),
    "bytes after the end": (SOUND + b"x", "invalid_file"),
    "a pickle renamed": (pickle.dumps({"weights": list(range(1000))}), "invalid_file"),
    "a zip of zeros": (zipped(), "invalid_file"),
    "NaN": (with_nan(), "invalid_file"),
    "Stable Diffusion XL's": (
        lora({f"unet.down_blocks.1.attentions.0.attn2.to_k.lora_{half}.weight": (2048, 2048) for half in "AB"}),
        "lora_incompatible",
    ),
    "full weights": (lora({"unet.conv_in.weight": (8, 8)}), "lora_incompatible"),
    "a DoRA": (
        lora({f"{NAME.replace('.lora_A.weight', '.dora_scale')}": (8,)}),
        "lora_incompatible",
    ),
    "a LoKr": (lora({"lora_unet_conv_in.lokr_w1": (8, 8)}), "lora_incompatible"),
}


@pytest.mark.parametrize(("content", "code"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_and_leaves_nothing(
    platform: Platform, shared_account: Account, content: bytes, code: str
) -> None:
    blobs = platform.data / "blobs" / "loras"
    before = sorted(blobs.iterdir())
    runs = shared_account.get("/v1/generations").json()["generations"]

    error = refusal(upload(shared_account, content), 400, code)

    assert error["param"] == "file"
    assert error["message"].startswith("The LoRA file is refused: ")
    assert shared_account.get("/v1/models", params={"sharing": "private"}).json()["models"] == []
    assert shared_account.get("/v1/generations").json()["generations"] == runs
    assert sorted(blobs.iterdir()) == before


def test_a_file_for_another_base_is_told_what_it_seems_to_be_for(shared_account: Account) -> None:
    error = refusal(upload(shared_account, BAD["Stable Diffusion XL's"][0]), 400, "lora_incompatible")

    assert "fits the base model 'Imagineo Starter'; it seems to be made for Stable Diffusion XL." in error["message"]


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"name": ""}, 400, "name"),
        ({"base_model_id": "base_01h2xcejqtf2nbrexx3vqjhp41"}, 404, "base_model_id"),
        ({"base_model_id": []}, 400, "base_model_id"),
        ({"sharing": "world"}, 400, "sharing"),
        ({"sharing": "organizations"}, 400, "shared_with"),
        ({"shared_with": "org_1"}, 400, "shared_with"),
        ({"nmae": "x"}, 400, "nmae"),
    ],
)
def test_a_wrong_field_is_named(shared_account: Account, fields: dict[str, Any], status: int, param: str) -> None:
    answer = upload(shared_account, SOUND, **fields)

    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["param"] == param
    assert shared_account.get("/v1/models", params={"sharing": "private"}).json()["models"] == []


def test_a_body_over_the_limit_is_refused_before_it_is_sent(shared_account: Account) -> None:
    url = httpx.URL(shared_account.url)
    head = [
        *("POST /v1/models HTTP/1.1", f"Host: {url.host}", f"X-API-Key: {shared_account.key}"),
        *("Content-Type: multipart/form-data; boundary=x", f"Content-Length: {600 << 20}", "", ""),
    ]
    with socket.create_connection((url.host, url.port), timeout=20) as connection:
        connection.sendall("\r\n".join(head).encode())
        received = b""
        while piece := connection.recv(65_536):  # the server answers and closes
            received += piece

    assert received.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"body_too_large"' in received


def test_the_same_file_is_stored_once(platform: Platform, account: Account, friend: Account) -> None:
    content = (LORAS / KOHYA).read_bytes()
    one, two = uploaded(account, content), uploaded(friend, content)

    assert one["sha256"] == two["sha256"]
    stored = [path.name for path in (platform.data / "blobs" / "loras").iterdir()]
    assert stored.count(f"{one['sha256']}.safetensors") == 1
