"""Every documented code becomes its class, in each language; most by the platform itself, the rest by the proxy."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from imagineo.errors import code_of

from services.gateway.errors import HTTP_STATUS
from tests.support.faulty_proxy import Broken, FaultyProxy
from tests.support.platform import Platform
from tests.support.python_driver import REQUEST, Drive
from tests.support.rest import Account

DOCUMENT = Path(__file__).parents[3] / "libs" / "sdks" / "openapi.json"
CODES = json.loads(DOCUMENT.read_text())["components"]["schemas"]["ErrorCode"]["enum"]
STATUS = {code_of(reason): status for reason, status in HTTP_STATUS.items()}
GROUPS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    429: "TooManyRequestsError",
    500: "ServerError",
    503: "ServerError",
}


def class_of(code: str) -> str:
    return "".join(word.capitalize() for word in code.removesuffix("_error").split("_")) + "Error"


def test_every_code_is_a_class_of_its_own(drive: Drive, proxy: FaultyProxy) -> None:
    for code in CODES:
        proxy.refuses(STATUS[code], code, path="/v1/limits")
        error = drive("call", proxy.url, "imag_any", method="limits.get", options={"max_retries": 0})["error"]

        assert error["class"] == class_of(code)
        assert (error["status"], error["code"], error["request_id"]) == (STATUS[code], code, "req_of_the_proxy")
        group = GROUPS.get(STATUS[code])
        assert error["parents"][-2:] == ["ApiError", "ImagineoError"]
        assert group in (None, error["class"], error["parents"][0])


def test_what_the_platform_refuses(drive: Drive, account: Account, platform: Platform) -> None:
    def refusal(scenario: str, key: str = account.key, **told: Any) -> tuple[str, str | None]:
        error = drive(scenario, account.url, key, options={"max_retries": 0}, **told)["error"]
        assert error["request_id"]
        return error["class"], error["param"]

    assert refusal("submit", request={**REQUEST, "width": 63}) == ("InvalidParameterError", "width")
    assert refusal("submit", request={**REQUEST, "colour": "blue"}) == ("UnknownFieldError", "colour")
    assert refusal("submit", request={**REQUEST, "model_id": "model_nobody"}) == ("ModelNotFoundError", "model_id")
    assert refusal("submit", "imag_wrong", request=REQUEST)[0] == "InvalidApiKeyError"
    assert refusal("call", method="generations.get", arguments={"run_id": "gen_nobody"})[0] == "NotFoundError"
    waiting = account.submit(width=1024, height=1024, steps=50)
    manifest = {"method": "generations.manifest", "arguments": {"run_id": waiting}}
    assert refusal("call", **manifest)[0] == "FailedPreconditionError"
    account.delete(f"/v1/generations/{waiting}")

    reader = account.post("/v1/keys", {"name": "reader", "scopes": ["generations:read"]}).json()["secret"]
    assert (
        refusal("submit", reader, request={**REQUEST, "model_id": account.base_model()})[0] == "PermissionDeniedError"
    )

    again = {"request": {**REQUEST, "idempotency_key": "one"}}
    drive("submit", account.url, account.key, **again)
    again["request"]["seed"] = 8
    assert refusal("submit", **again)[0] == "IdempotencyKeyReusedError"


@pytest.mark.parametrize(
    ("limits", "kind"),
    [({"requests_per_minute": 1}, "RateLimitedError"), ({"images_per_month": 1}, "QuotaExceededError")],
)
def test_what_is_used_up(drive: Drive, platform: Platform, limits: dict[str, int], kind: str) -> None:
    with platform.account(**limits) as account:
        model_id = "base_any" if "requests_per_minute" in limits else account.base_model()
        told = {"request": {**REQUEST, "model_id": model_id}, "options": {"max_retries": 0}}
        drive("submit", account.url, account.key, **told)
        told["request"]["seed"] = 8
        error = drive("submit", account.url, account.key, **told)["error"]

    assert error["class"] == kind
    assert error["retry_after_s"] >= 1
    assert error["parents"] == ["TooManyRequestsError", "ApiError", "ImagineoError"]


def test_a_batch_over_the_limit_is_too_large(drive: Drive, account: Account) -> None:
    items = [{**REQUEST, "metadata": {f"{n}": "x" * 500 for n in range(16)}} for _ in range(600)]

    error = drive("batch", account.url, account.key, items=items, options={"max_retries": 0})["error"]

    assert (error["class"], error["status"]) == ("BodyTooLargeError", 413)


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("absent/x.png", "FileNotFoundError"),
        ("folder", "IsADirectoryError"),
        ("file/x.png", "NotADirectoryError"),
        ("/proc/x.png", "FileNotFoundError"),
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_the_wait(
    drive: Drive, language: str, account: Account, tmp_path: Path, place: str, kind: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    path = str(tmp_path / place)
    run_id = account.submit(width=1024, height=1024, steps=50)

    error = drive("save", account.url, account.key, run_id=run_id, path=path)["error"]

    assert account.generation(run_id)["status"] in ("queued", "running")
    account.delete(f"/v1/generations/{run_id}")
    # The system's own errors in Python, where everybody expects them.
    expected = ("OutputError", "ImagineoError") if language == "typescript" else (kind, "OSError")
    assert (error["class"], error["parents"][-1]) == expected
    assert path in error["message"]
    assert ".part" not in error["message"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder"]


def test_a_full_disk_is_told(drive: Drive, language: str, account: Account) -> None:
    error = drive("save", account.url, account.key, request=REQUEST, path="/dev/full")["error"]

    assert error["class"] == ("OutputError" if language == "typescript" else "OSError")
    assert "/dev/full" in error["message"]
    assert "no space left on device" in error["message"].lower()
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_without_a_key_nothing_is_asked(drive: Drive, proxy: FaultyProxy) -> None:
    error = drive("submit", proxy.url, "", request=REQUEST)["error"]

    assert error["class"] == "MissingApiKeyError"
    assert "IMAGINEO_API_KEY" in error["message"]
    assert proxy.asked == []


def test_nobody_at_the_address(drive: Drive) -> None:
    error = drive("call", "http://127.0.0.1:1", "imag_any", method="limits.get", options={"max_retries": 1})["error"]

    assert (error["class"], error["parents"]) == ("ConnectionFailedError", ["ImagineoError"])
    assert "127.0.0.1:1" in error["message"]


def test_a_silent_server(drive: Drive, proxy: FaultyProxy) -> None:
    proxy.breaks(Broken.SILENT)
    error = drive("call", proxy.url, "imag_any", method="limits.get", options={"max_retries": 0, "timeout_s": 0.3})[
        "error"
    ]

    assert (error["class"], error["parents"]) == ("RequestTimeoutError", ["ConnectionFailedError", "ImagineoError"])


def test_somebody_elses_page(drive: Drive, proxy: FaultyProxy) -> None:
    proxy.answers(200, "<html>Sign in to the hotel's network</html>")
    error = drive("call", proxy.url, "imag_any", method="limits.get", options={"max_retries": 0})["error"]

    assert error["class"] == "UnexpectedAnswerError"
