"""The wheel: installed into an empty environment it draws by the README's quick start; the examples work."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import venv
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from standardwebhooks import Webhook

from tests.support import client_programs
from tests.support.client_programs import CLIENT, ran
from tests.support.deadlines import SURELY_S
from tests.support.platform import REPOSITORY, eventually
from tests.support.rest import Account


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel in it, as `make sdks` builds it; its dependencies are those here."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CLIENT)]
    subprocess.run(build, check=True, capture_output=True, timeout=100)
    [wheel] = folder.glob("*.whl")
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True, timeout=200)
    return python


def test_the_wheel_draws_by_the_quick_start_and_brings_the_command(
    installed: Path, account: Account, tmp_path: Path
) -> None:
    [script] = re.findall(r"## Quick start.*?```python\n(.*?)```", (CLIENT / "README.md").read_text(), re.DOTALL)
    assert len(script.splitlines()) <= 10
    (tmp_path / "quick_start.py").write_text(script)
    env = {**client_programs.environment(tmp_path, account.url, account.key), "PYTHONPATH": ""}

    done = ran("quick_start.py", cwd=tmp_path, env=env, python=str(installed))

    assert done.returncode == 0, done.stderr
    assert "completed: 100 %" in done.stdout
    assert "apple.png drawn with seed 7" in done.stdout
    assert (tmp_path / "apple.png").read_bytes()[:4] == b"\x89PNG"
    command = subprocess.run(
        [installed.parent / "imagineo", "limits", "--json"], env=env, capture_output=True, check=True
    )
    assert json.loads(command.stdout)["plan"] == "premium"
    code = (
        "import imagineo_client, pathlib; print((pathlib.Path(imagineo_client.__file__).parent / 'py.typed').exists())"
    )
    assert ran("-c", code, cwd=tmp_path, env=env, python=str(installed)).stdout == "True\n"


def test_product_shots_come_from_a_csv(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGINEO_URL", account.url)
    monkeypatch.setenv("IMAGINEO_API_KEY", account.key)
    products = tmp_path / "products.csv"
    products.write_text("sku,description,seed\nA1,a red mug,1\nB2,a blue chair,\n")

    assert example("product_shots").shoot(products, tmp_path / "shots", size=64, steps=2) == 0

    assert sorted(path.name for path in (tmp_path / "shots").iterdir()) == ["A1.png", "B2.png"]
    drawn = account.get("/v1/generations").json()["generations"]
    assert {one["metadata"]["sku"] for one in drawn} == {"A1", "B2"}


def test_the_webhook_receiver_keeps_the_picture_of_a_verified_event(account: Account, tmp_path: Path) -> None:
    secret = account.get("/v1/webhooks/secret").json()["secret"]
    generation, now = account.draw(), datetime.now(tz=UTC)
    body = json.dumps({"type": "generation.completed", "timestamp": now.isoformat(), "data": generation})
    signed = {"webhook-id": "evt_1", "webhook-timestamp": str(int(now.timestamp()))}
    headers = {**signed, "webhook-signature": Webhook(secret).sign("evt_1", now, body)}
    env = client_programs.environment(tmp_path, account.url, account.key, IMAGINEO_WEBHOOK_SECRET=secret)
    command = [sys.executable, CLIENT / "examples" / "webhook_receiver.py", "0", "kept"]
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            url = program.stdout.readline().strip()
            forged = httpx.post(url, content=body + " ", headers=headers, trust_env=False)
            twice = [httpx.post(url, content=body, headers=headers, trust_env=False) for _ in range(2)]
            kept = tmp_path / "kept" / f"{generation['run_id']}.png"
            eventually(kept.exists, within_s=SURELY_S, what="the picture is kept")
        finally:
            program.terminate()

    assert forged.status_code == 400
    assert [answer.status_code for answer in twice] == [204, 204]


async def test_the_bot_answers_each_user_with_a_picture(account: Account, tmp_path: Path) -> None:
    chat_bot, said = example("chat_bot"), []

    async def say(user: str, text: str) -> None:
        said.append((user, text))

    async with chat_bot.AsyncImagineo(account.key, account.url) as client:
        bot = chat_bot.Bot(client, say, tmp_path, size=64, steps=2)
        await chat_bot.asyncio.gather(
            bot.hear("ann", "!draw a red apple"),
            bot.hear("bob", "!draw a dog"),
            bot.hear("ann", "hello"),
            bot.hear("eve", "!draw"),
        )
        crooked = chat_bot.Bot(client, say, tmp_path, size=63)
        await crooked.hear("eve", "!draw a cat")

    answers = dict(said)
    assert all(Path(answers[user]).read_bytes()[:4] == b"\x89PNG" for user in ("ann", "bob"))
    assert any("!draw" in text for _, text in said)
    assert answers["eve"].startswith("I cannot draw that: Invalid value for parameter 'width'")
    assert len(said) == 4


def test_the_examples_have_strict_types() -> None:
    # With the repository's own settings, which are strict: what the check of all code has read is read from its cache.
    examples = [str(path.relative_to(REPOSITORY)) for path in (CLIENT / "examples").glob("*.py")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *examples], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert examples
    assert done.returncode == 0, done.stdout


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, CLIENT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
