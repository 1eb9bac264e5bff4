"""What `helm test` runs: make a key, draw a picture through the REST API as a client would, revoke the key.

It runs in the control image, beside the services' own packages, and speaks to nothing but the gateway and auth.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from imagineo.errors import Unavailable
from imagineo.rpc.channel import connect
from imagineo.rpc.client import call
from imagineo.rpc.tls import TlsSettings
from imagineo.settings import read
from imagineo.v1 import account_pb2, auth_service_pb2, auth_service_pb2_grpc

URL = os.environ["IMAGINEO_URL"].rstrip("/")
UNTIL_S = time.monotonic() + float(os.environ["IMAGINEO_TIMEOUT_S"])
ORGANIZATION_ID = "org_helm_test"
#: Far enough apart that they stay inside the smallest plan's requests of a minute.
POLL_S = 8.0
PNG = b"\x89PNG\r\n\x1a\n"


def main() -> None:
    """Draw, and say what came; any failure ends with its reason and exit status 1."""
    size_bytes = asyncio.run(with_key(draw))
    sys.stdout.write(f"A picture of {size_bytes} bytes was drawn through {URL}.\n")


async def with_key(work: Any) -> Any:
    """Lend a key of an organization that only tests use."""
    tls = read(TlsSettings, os.environ, prefix="IMAGINEO_TEST_").tls_identity()
    async with connect(os.environ["IMAGINEO_AUTH_ADDRESS"], tls) as channel:
        auth = auth_service_pb2_grpc.AuthServiceStub(channel)
        wanted = auth_service_pb2.CreateOrganizationRequest(
            name="helm test", plan=account_pb2.PLAN_FREE, organization_id=ORGANIZATION_ID
        )
        await patiently(lambda: call(auth.CreateOrganization, wanted, timeout_s=10))
        request = auth_service_pb2.CreateKeyRequest(organization_id=ORGANIZATION_ID, name="helm test")
        key = await call(auth.CreateKey, request, timeout_s=10)
        try:
            return await asyncio.to_thread(work, key.secret)
        finally:
            revoked = auth_service_pb2.RevokeKeyRequest(organization_id=ORGANIZATION_ID, key_id=key.key.key_id)
            await call(auth.RevokeKey, revoked, timeout_s=10)


async def patiently(ask_auth: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until the time is over: the release may just have been installed."""
    while True:
        try:
            return await ask_auth()
        except Unavailable:
            if time.monotonic() > UNTIL_S:
                raise
            await asyncio.sleep(POLL_S)


def draw(secret: str) -> int:
    """Draw with the first base model that there is; gives the picture's size."""
    models = ask(secret, "/v1/base-models")["base_models"]
    if not models:
        sys.exit("The platform has no base model. Set models.starter or models.base.")
    body = {"positive_prompt": "a red apple", "model_id": models[0]["id"]}
    run = ask(secret, "/v1/generate", body, {"Prefer": "wait=20"})
    while run["status"] in ("queued", "running"):
        if time.monotonic() > UNTIL_S:
            sys.exit(f"The picture is still {run['status']}: {json.dumps(run)}")
        time.sleep(POLL_S)
        run = ask(secret, f"/v1/generations/{run['run_id']}")
    if run["status"] != "completed":
        sys.exit(f"The picture is {run['status']}: {json.dumps(run)}")
    link = urlsplit(run["image_url"])  # it begins with the public address, which may lead nowhere from in here
    picture = fetch(f"{URL}{link.path}?{link.query}", secret)
    if not picture.startswith(PNG):
        sys.exit(f"What came is no PNG: {picture[:40]!r}")
    return len(picture)


def ask(secret: str, path: str, body: dict[str, str] | None = None, headers: dict[str, str] | None = None) -> Any:
    """One call of the API: what it answers in JSON."""
    return json.loads(fetch(URL + path, secret, json.dumps(body).encode() if body else None, headers))


def fetch(url: str, secret: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
    """GET, or POST with a body."""
    headers = {"X-API-Key": secret, "Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - the URL is the release's own
    try:
        with urllib.request.urlopen(request, timeout=40) as answer:  # noqa: S310 - the same
            content: bytes = answer.read()
    except urllib.error.HTTPError as problem:
        sys.exit(f"{url}: {problem.code} {problem.read().decode(errors='replace')}")
    return content


if __name__ == "__main__":
    main()
