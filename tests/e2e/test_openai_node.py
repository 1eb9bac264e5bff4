"""The official OpenAI client for Node against the platform, with only its address and key set."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.rest import Account

PEER = Path(__file__).parent / "openai_node"
#: The packages of the virtual environment bring node and npm along.
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client, installed as its lock file says."""
    folder = tmp_path_factory.mktemp("node") / "peer"
    shutil.copytree(PEER, folder, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(command, cwd=folder, env={**os.environ, "PATH": PATH}, check=True, timeout=240, capture_output=True)
    return folder


def test_the_node_client_gets_links_inline_images_and_errors_of_its_own(peer: Path, account: Account) -> None:
    ran = subprocess.run(
        ["node", "images.mjs", account.lora()],
        cwd=peer,
        env={"PATH": PATH, "OPENAI_BASE_URL": f"{account.url}/v1", "OPENAI_API_KEY": account.key},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)

    pictures = [httpx.get(url, trust_env=False).content for url in told["links"]]
    assert [picture[:4] for picture in pictures] == [b"\x89PNG"] * 2
    assert pictures[0] != pictures[1]
    assert told["seeds"] == [5, 6]
    assert base64.b64decode(told["inline"])[8:12] == b"WEBP"
    assert told["refusals"] == [
        {"kind": "NotFoundError", "status": 404, "code": "model_not_found", "param": "model"},
        {"kind": "BadRequestError", "status": 400, "code": "invalid_parameter", "param": "quality"},
        {"kind": "BadRequestError", "status": 400, "code": "invalid_parameter", "param": "n"},
    ]
