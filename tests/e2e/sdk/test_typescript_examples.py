"""The TypeScript examples as their users run them: a CSV file, a webhook, a chat."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook

from tests.support.node import PATH, ran
from tests.support.rest import Account


@pytest.fixture
def examples(typescript_build: Path) -> Path:
    """The examples beside a built client, whose name they import."""
    return typescript_build / "examples"


def environment(account: Account, **more: str) -> dict[str, str]:
    return {"IMAGINEO_URL": account.url, "IMAGINEO_API_KEY": account.key, **more}


def test_a_csv_becomes_a_folder_of_pictures(examples: Path, account: Account, tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text(
        'name,prompt\n"Mug, ""blue""","A blue mug, on a table"\r\nApple,a red apple\n'
    )

    ran("node", str(examples / "product_shots.ts"), "products.csv", "out", cwd=tmp_path, env=environment(account))

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["Apple.png", "Mug_blue_.png"]
    prompts = {one["parameters"]["positive_prompt"] for one in account.get("/v1/generations").json()["generations"]}
    assert prompts == {"A blue mug, on a table", "a red apple"}


def test_a_chat_is_answered_with_pictures_and_with_what_is_wrong(
    examples: Path, account: Account, tmp_path: Path
) -> None:
    messages = f"hello\n/imagine a red apple\n/imagine {'x' * 2001}\n"

    command = ["node", str(examples / "chat_bot.ts"), "out"]
    printed = ran(*command, cwd=tmp_path, stdin=messages, env=environment(account))

    [picture] = (tmp_path / "out").iterdir()
    assert f"#1 here it is: out/{picture.name}" in printed
    assert "#1 completed 100 %" in printed
    assert "#2 sorry: Invalid value for parameter 'positive_prompt'." in printed


@pytest.fixture
def receiver(examples: Path, account: Account, tmp_path: Path) -> Iterator[str]:
    """Where the example listens."""
    secret = account.get("/v1/webhooks/secret").json()["secret"]
    started = subprocess.Popen(
        ["node", "--no-warnings", str(examples / "webhook_receiver.ts"), "0", "out"],
        cwd=tmp_path,
        env={**os.environ, "PATH": PATH, **environment(account, IMAGINEO_WEBHOOK_SECRET=secret)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert started.stdout is not None
    with started.stdout as printed:
        found = re.search(r"port: (\d+)", printed.readline())
        assert found
        yield f"http://127.0.0.1:{found[1]}/"
        os.killpg(started.pid, signal.SIGTERM)  # the wheel's `node` is a program that starts node
        started.wait(10)


def test_the_receiver_saves_what_was_signed_and_once(receiver: str, account: Account, tmp_path: Path) -> None:
    generation, now = account.draw(), datetime.now(tz=UTC)
    secret = account.get("/v1/webhooks/secret").json()["secret"]
    body = json.dumps({"type": "generation.completed", "timestamp": now.isoformat(), "data": generation})
    signed = {"webhook-id": "evt_1", "webhook-timestamp": str(int(now.timestamp()))}
    headers = {**signed, "webhook-signature": Webhook(secret).sign("evt_1", now, body)}

    def post(content: str) -> int:
        return httpx.post(receiver, content=content, headers=headers, trust_env=False, timeout=20).status_code

    assert post(body + " ") == 400
    assert not list((tmp_path / "out").iterdir())
    assert post(body) == 204
    saved = tmp_path / "out" / f"{generation['run_id']}.png"
    assert saved.read_bytes()[:4] == b"\x89PNG"
    saved.unlink()
    assert post(body) == 204
    assert not saved.exists()
