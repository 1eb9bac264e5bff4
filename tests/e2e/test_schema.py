"""The platform against its own `/openapi.json`, by a tool that tries what a schema allows and what it forbids.

All checks are on: no 500, no status, header or shape that is not documented, nothing wrong accepted, nothing right
refused, no way around the key. What a schema cannot say is told to the tool below, each with its reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deadlines import SURELY_S
from tests.support.pictures import encoded, scene
from tests.support.platform import eventually
from tests.support.rest import Account

REPOSITORY = Path(__file__).parents[2]
SEED = 7
EXAMPLES = 8

#: A cursor is opaque, so no generated one is right; an empty one asks for the first page.
CURSOR = {"query.cursor": ""}

#: Routes whose right requests may still be refused with 400, for what no schema can say.
REFUSES_MORE = {
    "POST /v1/keys": "an expiry must lie in the future",
    "GET /v1/usage": "the days must be in their order, at most a year apart",
    "POST /v1/generate": "a LoRA may be named once, a webhook's address must be a public one",
    "POST /v1/webhooks": "its address must be a public one",
    "PATCH /v1/webhooks/{webhook_id}": "its address must be a public one",
    "POST /v1/models": "a file must be a LoRA of the base model",
    "POST /v1/generations/{run_id}/variations": "a webhook's address must be a public one",
    "POST /v1/generations/{run_id}/replay": "an idempotency key comes with one body alone",
    "POST /v1/generations/{run_id}/upscale": "a webhook's address must be a public one, the result's size is bounded",
    "POST /v1/uploads": "a file must be a picture",
    "POST /v1/variations": "exactly one picture must be named, and with an upload a model and a prompt",
    "POST /v1/upscales": "exactly one picture must be named, the result's size is bounded",
    "POST /v1/batches": "a sweep may have too many combinations, an item's LoRA may be named once",
    "POST /v1/images/generations": "a LoRA may be named once",
}


@pytest.mark.timeout(1_500)
def test_every_route_does_what_its_schema_says_and_nothing_else(account: Account, tmp_path: Path) -> None:
    webhook_id = account.post("/v1/webhooks", {"url": "http://127.0.0.1:9/"}).json()["id"]
    drawn = account.draw()
    log = f"/v1/webhooks/{webhook_id}/deliveries"
    [delivery] = eventually(lambda: account.get(log).json()["deliveries"], within_s=SURELY_S, what="the log has a line")
    known = {
        "path.run_id": drawn["run_id"],
        "path.key_id": account.post("/v1/keys", {"name": "old"}).json()["id"],
        "path.model_id": account.lora(),
        "path.upload_id": account.http.post("/v1/uploads", files={"file": encoded(scene())}).json()["upload_id"],
        "path.batch_id": account.post("/v1/batches", {"items": [account.body()]}).json()["batch_id"],
        "path.webhook_id": webhook_id,
        "path.delivery_id": delivery["id"],
        "header.Last-Event-ID": f"{drawn['run_id']}:1",
        **CURSOR,
    }
    (tmp_path / "schemathesis.toml").write_text(_configuration(known))
    ran = subprocess.run(
        [
            *(Path(sys.executable).parent / "schemathesis", "run", f"{account.url}/openapi.json"),
            *("--header", f"X-API-Key: {account.key}", "--checks", "all", "--seed", str(SEED)),
            *("--max-examples", str(EXAMPLES), "--phases", "examples,coverage,fuzzing"),
            *("--request-timeout", "20", "--no-color", "--generation-database", "none"),
        ],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.support.schema_hooks", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=1_400,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-20_000:]


def _configuration(known: dict[str, str]) -> str:
    lines = ["[parameters]", *(f"{json.dumps(name)} = {json.dumps(value)}" for name, value in known.items())]
    for route in REFUSES_MORE:
        lines += [
            "[[operations]]",
            f"include-name = {json.dumps(route)}",
            'checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 401, 403, 404, 409, 422, 429]',
        ]
    return "\n".join(lines) + "\n"
