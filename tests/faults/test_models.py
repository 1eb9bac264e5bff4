"""An upload of a model that a kill cuts in two: refused, nothing left of it, and the next one is taken."""

from __future__ import annotations

import contextlib
import socket

import httpx
import pytest

from tests.support.deadlines import SURELY_S
from tests.support.platform import REPOSITORY, Platform, eventually
from tests.support.rest import Account

FILE = next((REPOSITORY / "libs" / "starter" / "weights" / "loras").glob("*.safetensors"))


def form(account: Account) -> tuple[bytes, bytes]:
    """The head and the body of an upload."""
    fields = {"name": "Mine", "base_model_id": account.base_model()}
    request = account.http.build_request("POST", "/v1/models", data=fields, files={"file": FILE.read_bytes()})
    names = b"".join(name + b": " + value + b"\r\n" for name, value in request.headers.raw)
    return b"POST /v1/models HTTP/1.1\r\n" + names + b"Connection: close\r\n\r\n", request.read()


@pytest.mark.parametrize("name", ["catalog", "gateway"])
def test_an_upload_that_a_kill_cuts_in_two_leaves_nothing(platform: Platform, account: Account, name: str) -> None:
    stored = sorted((platform.data / "blobs" / "loras").iterdir())
    head, body = form(account)
    url = httpx.URL(account.url)
    received = b""
    with socket.create_connection((url.host, url.port), timeout=20) as connection:
        connection.sendall(head + body[: len(body) // 2])
        platform.kill(name)
        with contextlib.suppress(ConnectionError):  # the gateway is what was killed, or it closes while this sends
            connection.sendall(body[len(body) // 2 :])
            while piece := connection.recv(65_536):
                received += piece

    assert not received or (name == "catalog" and received.startswith(b"HTTP/1.1 503 ")), received[:500]
    eventually(lambda: listed(account) == [], within_s=SURELY_S, what="the list is served, and empty")
    assert sorted((platform.data / "blobs" / "loras").iterdir()) == stored
    assert account.get("/v1/generations").json()["generations"] == []
    again = eventually(lambda: uploaded(account), within_s=SURELY_S, what="the next upload is taken")
    assert listed(account) == [again]


def uploaded(account: Account) -> str | None:
    data = {"name": "Mine", "base_model_id": account.base_model()}
    answer = account.http.post("/v1/models", data=data, files={"file": FILE.read_bytes()})
    return str(answer.json()["id"]) if answer.status_code == 200 else None


def listed(account: Account) -> list[str] | None:
    try:
        answer = account.get("/v1/models", params={"sharing": "private"})
    except httpx.TransportError:
        return None
    return [model["id"] for model in answer.json()["models"]] if answer.status_code == 200 else None
