"""Bad input gets a documented code and a sentence that names field and range; nothing is stored, charged or queued."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.deadlines import SURELY_S
from tests.support.platform import Platform, eventually
from tests.support.rest import Account

NO_SUCH_MODEL = "model_01h2xcejqtf2nbrexx3vqjhp41"
NO_SUCH_BASE = "base_01h2xcejqtf2nbrexx3vqjhp41"
NO_SUCH_RUN = "gen_01h2xcejqtf2nbrexx3vqjhp41"
UNKNOWN_KEY = "imag_" + "A" * 49

VALUES: list[tuple[str, Any, str]] = [
    ("guidance", "7", "a number between 1 and 20"),
    ("guidance", True, "a number between 1 and 20"),
    ("guidance", None, "a number between 1 and 20"),
    ("guidance", 0.99, "between 1 and 20"),
    ("guidance", 20.01, "between 1 and 20"),
    ("positive_prompt", "", "1 to 2000 characters"),
    ("positive_prompt", "x" * 2001, "1 to 2000 characters"),
    ("positive_prompt", 7, "1 to 2000 characters"),
    ("positive_prompt", ["a mug"], "1 to 2000 characters"),
    ("negative_prompt", "x" * 2001, "0 to 2000 characters"),
    ("negative_prompt", None, "0 to 2000 characters"),
    ("model_id", 7, "string"),
    ("model_id", "", "string"),
    ("lora_weight", -0.01, "between 0 and 2"),
    ("lora_weight", 2.01, "between 0 and 2"),
    ("lora_weight", "1", "a number between 0 and 2"),
    ("lora_weight", False, "a number between 0 and 2"),
    ("loras", {}, "at most 5"),
    ("loras", [{"model_id": f"{NO_SUCH_MODEL[:-1]}{digit}"} for digit in range(6)], "at most 5"),
    ("width", 1023, "a multiple of 8 between 64"),
    ("width", 56, "a multiple of 8 between 64"),
    ("width", 100_000, "a multiple of 8 between 64"),
    ("width", 512.5, "a multiple of 8 between 64"),
    ("width", "512", "a multiple of 8 between 64"),
    ("height", 1023, "a multiple of 8 between 64"),
    ("height", 0, "a multiple of 8 between 64"),
    ("height", True, "a multiple of 8 between 64"),
    ("steps", 0, "between 1 and 100"),
    ("steps", 101, "between 1 and 100"),
    ("steps", 4.5, "a whole number between 1 and 100"),
    ("steps", "4", "a whole number between 1 and 100"),
    ("seed", -1, "between 0 and 9007199254740991"),
    ("seed", 2**53, "between 0 and 9007199254740991"),
    ("seed", 0.5, "a whole number between 0 and 9007199254740991"),
    ("scheduler", "best", "one of"),
    ("scheduler", 3, "string"),
    ("output_format", "gif", "one of png, webp, jpeg"),
    ("output_format", 1, "one of png, webp, jpeg"),
    ("metadata", {str(number): "" for number in range(17)}, "at most 16"),
    ("metadata", {"a": 1}, "at most 16"),
    ("metadata", "a", "at most 16"),
]


@pytest.fixture(autouse=True)
def nothing_is_left(shared_account: Account):
    """Whatever a test of this file sends, the account has no run and no image used or held afterwards."""
    yield
    assert shared_account.get("/v1/generations").json()["generations"] == []
    # What only the base model could refuse was reserved before, and is released behind the answer.
    eventually(lambda: images_of(shared_account) == (0, 0), within_s=SURELY_S, what="nothing is used or held")


def images_of(account: Account) -> tuple[int, int]:
    images = account.get("/v1/limits").json()["images_per_month"]
    return images["used"], images["reserved"]


def refusal(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == code
    assert error["request_id"] == answer.headers["x-request-id"]
    assert error["message"].endswith((".", "?"))
    return error


def send(account: Account, content: bytes, content_type: str = "application/json") -> httpx.Response:
    return account.http.post("/v1/generate", content=content, headers={"Content-Type": content_type})


@pytest.mark.parametrize(("param", "value", "allowed"), VALUES, ids=lambda part: str(part)[:40])
def test_a_value_out_of_range_or_type_is_named_with_what_is_allowed(
    shared_account: Account, param: str, value: Any, allowed: str
) -> None:
    error = refusal(
        shared_account.post("/v1/generate", shared_account.body(**{param: value})), 400, "invalid_parameter"
    )

    assert error["param"] == param
    assert f"'{param}'" in error["message"]
    assert allowed in error["message"]


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400"])
def test_a_number_that_is_none_is_refused(shared_account: Account, literal: str) -> None:
    body = f'{{"positive_prompt": "x", "model_id": "{shared_account.lora()}", "guidance": {literal}}}'

    error = refusal(send(shared_account, body.encode()), 400, "invalid_parameter")

    assert error["message"] == "Invalid value for parameter 'guidance'. Must be between 1 and 20."


@pytest.mark.parametrize("missing", ["positive_prompt", "model_id"])
def test_a_missing_field_is_named(shared_account: Account, missing: str) -> None:
    body = shared_account.body()
    del body[missing]

    error = refusal(shared_account.post("/v1/generate", body), 400, "invalid_parameter")

    assert error["param"] == missing


def test_an_unknown_field_is_named(shared_account: Account) -> None:
    error = refusal(shared_account.post("/v1/generate", shared_account.body(guidence=7)), 400, "unknown_field")

    assert error["param"] == "guidence"


@pytest.mark.parametrize("content", [b"", b"  ", b"{", b"null", b"[]", b'"text"', b"\xff\xfe", b"[" * 20_000])
def test_a_body_that_is_no_json_object_is_refused(shared_account: Account, content: bytes) -> None:
    refusal(send(shared_account, content), 400, "invalid_json")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_another_content_type_is_refused(shared_account: Account, content_type: str) -> None:
    refusal(send(shared_account, b"{}", content_type), 415, "unsupported_media_type")


def test_a_body_of_two_megabytes_is_refused(shared_account: Account) -> None:
    error = refusal(send(shared_account, b'{"positive_prompt": "' + b"x" * 2_000_000 + b'"}'), 413, "body_too_large")

    assert "65536" in error["message"]


@pytest.mark.parametrize("model_id", [NO_SUCH_MODEL, NO_SUCH_BASE, "your-model-id", "model_1'; drop table"])
def test_a_model_that_is_not_there_is_not_found(shared_account: Account, model_id: str) -> None:
    error = refusal(shared_account.post("/v1/generate", shared_account.body(model_id=model_id)), 404, "model_not_found")

    assert error["param"] == "model_id"


def test_an_extra_model_that_is_not_there_is_named_by_its_place(shared_account: Account) -> None:
    body = shared_account.body(loras=[{"model_id": NO_SUCH_MODEL, "weight": 1}])

    error = refusal(shared_account.post("/v1/generate", body), 404, "model_not_found")

    assert error["param"] == "loras[0].model_id"


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (None, "missing_api_key"),
        ("", "missing_api_key"),
        ("nonsense", "invalid_api_key"),
        (UNKNOWN_KEY, "invalid_api_key"),
    ],
)
def test_no_key_or_a_wrong_one_is_unauthorized(platform: Platform, key: str | None, code: str) -> None:
    headers = {} if key is None else {"X-API-Key": key}

    answer = httpx.post(f"{platform.ready['url']}/v1/generate", json={}, headers=headers, trust_env=False)

    refusal(answer, 401, code)
    assert "www-authenticate" in answer.headers


def test_a_revoked_key_is_refused(platform: Platform) -> None:
    with platform.account() as account:
        assert account.get("/v1/limits").status_code == 200
        platform.revoke(account)
        answer = eventually(
            lambda: refused if (refused := account.get("/v1/limits")).status_code != 200 else None,
            within_s=SURELY_S,
            what="the key is refused",
        )

    refusal(answer, 401, "invalid_api_key")


@pytest.mark.parametrize("run_id", [NO_SUCH_RUN, "gen_123456789", "nonsense"])
def test_an_unknown_run_is_not_found(shared_account: Account, run_id: str) -> None:
    refusal(shared_account.get(f"/v1/generations/{run_id}"), 404, "not_found")
    refusal(shared_account.post(f"/v1/generations/{run_id}/cancel"), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/v1/generate", "POST"), ("DELETE", "/v1/models", "GET"), ("PUT", "/v1/generations", "GET")],
)
def test_a_wrong_method_is_answered_with_the_right_ones(
    shared_account: Account, method: str, path: str, allowed: str
) -> None:
    answer = shared_account.http.request(method, path)

    refusal(answer, 405, "method_not_allowed")
    assert allowed in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/v1/generate/", "/v1"])
def test_an_unknown_path_is_not_found(shared_account: Account, path: str) -> None:
    refusal(shared_account.get(path), 404, "not_found")
