"""The `imagineo` command line against the platform, started as a person starts it: files, progress, JSON, codes."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import client_programs
from tests.support.client_programs import imagineo
from tests.support.faulty_proxy import Broken, FaultyProxy
from tests.support.platform import eventually, sha256
from tests.support.rest import Account

SMALL = ("--width", "64", "--height", "64", "--steps", "4")
LORAS = Path(__file__).parents[3] / "libs" / "starter" / "weights" / "loras"


@pytest.fixture
def env(account: Account, tmp_path: Path) -> dict[str, str]:
    return client_programs.environment(tmp_path, account.url, account.key)


def test_generate_shows_a_progress_bar_and_leaves_the_picture(
    account: Account, tmp_path: Path, env: dict[str, str]
) -> None:
    terminal, inner = os.openpty()
    command = [
        sys.executable,
        "-m",
        "imagineo_client",
        "generate",
        "a red apple",
        "-o",
        "apple.png",
        "--seed",
        "7",
        *SMALL,
    ]
    with subprocess.Popen(
        command, cwd=tmp_path, env={**env, "TERM": "xterm"}, stdout=subprocess.PIPE, stderr=inner, text=True
    ) as program:
        os.close(inner)
        shown = b""
        while piece := _read(terminal):
            shown += piece
        assert program.stdout is not None
        printed = program.stdout.read()
    os.close(terminal)

    assert program.returncode == 0, shown
    assert printed == "apple.png\n"
    assert "━" in shown.decode()
    assert "completed" in shown.decode()
    assert "100%" in shown.decode()
    [generation] = account.get("/v1/generations").json()["generations"]
    assert sha256((tmp_path / "apple.png").read_bytes()) == generation["image"]["sha256"]
    assert generation["parameters"]["positive_prompt"] == "a red apple"
    assert [path.name for path in tmp_path.iterdir()] == ["apple.png"]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # the other end is gone
        return b""


def test_json_is_one_object_and_the_suffix_says_the_format(
    account: Account, tmp_path: Path, env: dict[str, str]
) -> None:
    lora = account.lora()
    options = ("--model", lora, "--lora-weight", "0.5", "--seed", "3", "--json")
    done = imagineo("generate", "a mug", "-o", "mug.webp", *SMALL, *options, cwd=tmp_path, env=env)

    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["path"] == "mug.webp"
    assert told["generation"]["model_id"] == lora
    assert told["generation"]["parameters"]["lora_weight"] == 0.5
    assert (tmp_path / "mug.webp").read_bytes()[8:12] == b"WEBP"

    run_id = told["generation"]["run_id"]
    assert json.loads(imagineo("runs", "show", run_id, "--json", cwd=tmp_path, env=env).stdout)["seed"] == 3
    assert run_id in imagineo("runs", "list", cwd=tmp_path, env=env).stdout
    assert json.loads(imagineo("usage", "--json", cwd=tmp_path, env=env).stdout)["total"]["images"] == 1


def test_login_keeps_a_key_that_works(account: Account, tmp_path: Path) -> None:
    env = client_programs.environment(tmp_path)
    done = imagineo("--url", account.url, "login", cwd=tmp_path, env=env, stdin=account.key + "\n")
    assert done.returncode == 0, done.stderr
    kept = tmp_path / "config.toml"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600

    listed = json.loads(imagineo("keys", "list", "--json", cwd=tmp_path, env=env).stdout)
    assert [key["id"] for key in listed] == [account.key_id]
    before = kept.read_text()
    wrong = imagineo("login", "--url", account.url, cwd=tmp_path, env=env, stdin="imag_wrong\n")
    assert (wrong.returncode, kept.read_text()) == (3, before)


def test_a_batch_becomes_a_folder(tmp_path: Path, env: dict[str, str]) -> None:
    line = {"width": 64, "height": 64, "steps": 2}
    requests = tmp_path / "requests.jsonl"
    requests.write_text(
        "".join(json.dumps({**line, "positive_prompt": prompt}) + "\n" for prompt in ("a cat", "a dog"))
    )

    done = imagineo("batch", "run", "requests.jsonl", "-o", "out/", "--json", cwd=tmp_path, env=env)

    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0000.png", "0001.png", "results.jsonl"]
    lines = [json.loads(one) for one in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert {one["file"]: one["status"] for one in lines} == {"0000.png": "completed", "0001.png": "completed"}
    assert json.loads(done.stdout)["completed"] == 2


def test_models_are_listed_and_uploaded(account: Account, tmp_path: Path, env: dict[str, str]) -> None:
    path = LORAS / "neon.safetensors"
    done = imagineo("models", "upload", str(path), "--name", "Mine", "--trigger-word", "glow", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    found = account.get(f"/v1/models/{done.stdout.strip()}").json()
    assert (found["name"], found["trigger_words"], found["owned"]) == ("Mine", ["glow"], True)
    assert "Mine" in imagineo("models", "list", "--search", "glow", cwd=tmp_path, env=env).stdout


def test_ctrl_c_cancels_the_run(account: Account, proxy: FaultyProxy, tmp_path: Path) -> None:
    env = client_programs.environment(tmp_path, proxy.url, account.key)
    command = [sys.executable, "-m", "imagineo_client", "generate", "slow", "-o", "slow.png", "--width", "1024"]
    with subprocess.Popen(
        [*command, "--height", "1024", "--steps", "100"], cwd=tmp_path, env=env, text=True, stderr=-1
    ) as program:
        running = lambda: account.get("/v1/generations", params={"status": "running"}).json()["generations"]  # noqa: E731
        [generation] = eventually(running, within_s=60, what="the run begins")
        follows = rf"/v1/generations/{generation['run_id']}/events"
        eventually(lambda: proxy.requests("GET", follows), within_s=60, what="the program knows of its run")
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=30)

    assert program.returncode == 130
    assert "Traceback" not in said
    assert proxy.requests("POST", f"/v1/generations/{generation['run_id']}/cancel$")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["generate", "batch"])
def test_ctrl_c_before_the_answer_leaves_nothing_behind(
    account: Account, proxy: FaultyProxy, tmp_path: Path, command: str
) -> None:
    env = client_programs.environment(tmp_path, proxy.url, account.key)
    (tmp_path / "two.jsonl").write_text('{"positive_prompt": "slow", "width": 1024, "height": 1024}\n' * 2)
    slow = ("slow", "-o", "slow.png", "--width", "1024", "--height", "1024", "--steps", "100")
    arguments = ("generate", *slow) if command == "generate" else ("batch", "run", "two.jsonl", "-o", "out")
    proxy.breaks(Broken.WITHHELD, method="POST", path="/v1/(generate|batches)$")
    with subprocess.Popen(
        [sys.executable, "-m", "imagineo_client", *arguments], cwd=tmp_path, env=env, text=True, stderr=-1
    ) as program:
        eventually(lambda: proxy.withheld, within_s=60, what="the platform has accepted it")
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=60)

    assert (program.returncode, "Traceback" in said) == (130, False)
    assert "is canceled" in said
    first, second = proxy.requests("POST", "/v1/(generate|batches)$")
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    runs = account.get("/v1/generations").json()["generations"]
    assert len(runs) == (1 if command == "generate" else 2)
    assert {run["status"] for run in runs} <= {"canceled", "canceling"}


@pytest.mark.parametrize("command", ["generate", "batch"])
def test_ctrl_c_before_the_answer_stays_one_where_nothing_can_be_canceled(
    account: Account, proxy: FaultyProxy, tmp_path: Path, command: str
) -> None:
    env = client_programs.environment(tmp_path, proxy.url, account.key)
    (tmp_path / "one.jsonl").write_text('{"positive_prompt": "x", "width": 64, "height": 64, "steps": 2}\n')
    arguments = ("generate", "x", *SMALL) if command == "generate" else ("batch", "run", "one.jsonl", "-o", "out")
    proxy.breaks(Broken.WITHHELD, method="POST", path="/v1/(generate|batches)$")
    with subprocess.Popen(
        [sys.executable, "-m", "imagineo_client", *arguments], cwd=tmp_path, env=env, text=True, stderr=-1
    ) as program:
        eventually(lambda: proxy.withheld, within_s=60, what="the platform has accepted it")
        proxy.refuses(403, "permission_denied", path="/v1/(generate|batches)$")
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=60)

    assert (program.returncode, "Traceback" in said) == (130, False)
    assert "What was just asked for could not be canceled" in said


def test_an_upload_that_is_cut_is_told(account: Account, proxy: FaultyProxy, tmp_path: Path) -> None:
    env = client_programs.environment(tmp_path, proxy.url, account.key)
    proxy.breaks(Broken.BEFORE, method="POST", path="/v1/models")

    done = imagineo("models", "upload", str(LORAS / "neon.safetensors"), cwd=tmp_path, env=env)

    assert done.returncode == 6, done.stderr
    assert "Error:" in done.stderr


def test_a_reader_that_has_enough_ends_the_command_quietly(tmp_path: Path, env: dict[str, str]) -> None:
    for arguments in (("limits",), ("limits", "--json")):
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "imagineo_client", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=env, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
        os.close(writing)

        assert (done.returncode, done.stderr) == (141, "")


def test_a_model_is_known_by_its_name(account: Account, tmp_path: Path, env: dict[str, str]) -> None:
    file = str(LORAS / "neon.safetensors")
    lora = imagineo("models", "upload", file, "--name", "My Style", cwd=tmp_path, env=env).stdout.strip()
    priced = imagineo("generate", "x", "-m", "my style", "--dry-run", "--json", cwd=tmp_path, env=env)
    assert json.loads(priced.stdout)["parameters"]["model_id"] == lora
    base = imagineo("generate", "x", "--lora-weight", "0.5", "--dry-run", cwd=tmp_path, env=env)
    assert (base.returncode, "--lora-weight has no effect" in base.stderr) == (0, True)

    assert imagineo("models", "delete", "My Style", cwd=tmp_path, env=env).returncode == 0
    gone = imagineo("generate", "x", "-m", "My Style", cwd=tmp_path, env=env)
    assert (gone.returncode, "There is no model 'My Style'" in gone.stderr) == (4, True)


def test_every_wrong_line_is_named(tmp_path: Path, env: dict[str, str]) -> None:
    lines = ('{"positive_prompt": "x"}', "", "{", '{"prompt": "x"}', '{"positive_prompt": "x", "width": 63}')
    (tmp_path / "ours.jsonl").write_bytes("\n".join([*lines, "7"]).encode() + b"\n\xff\n")
    ours = imagineo("batch", "run", "ours.jsonl", "-o", "out", cwd=tmp_path, env=env)
    assert ours.returncode == 2
    assert all(said in ours.stderr for said in ("Line 3 is no JSON", "Line 6 is no JSON object", "Line 7 is no UTF-8"))

    (tmp_path / "theirs.jsonl").write_text("\n".join([lines[0], "", lines[3], lines[4]]))
    theirs = imagineo("batch", "run", "theirs.jsonl", "-o", "out", cwd=tmp_path, env=env)
    assert theirs.returncode == 4
    assert "'line 3: prompt'" in theirs.stderr

    wide = '{"positive_prompt": "x", "width": 4096}'
    (tmp_path / "sizes.jsonl").write_text("\n".join([wide, lines[0], wide]))
    sizes = imagineo("batch", "run", "sizes.jsonl", "-o", "out", cwd=tmp_path, env=env)
    assert "'line 1: width'. Must be a multiple of 8 between 64 and 2048." in sizes.stderr
    assert "'line 3: width'" in sizes.stderr


@pytest.mark.parametrize(
    ("arguments", "changes", "code", "says"),
    [
        (("limits",), {"IMAGINEO_API_KEY": ""}, 3, "There is no API key"),
        (("limits",), {"IMAGINEO_API_KEY": "imag_wrong"}, 3, "unknown, revoked or expired"),
        (("generate", "x", "-o", "nowhere/x.png"), {}, 8, "nowhere: there is no such folder"),
        (("generate", "x", "-o", "."), {}, 8, "is a folder"),
        (("generate", "x", "-o", "/proc/x.png"), {}, 8, "/proc/x.png"),
        (("generate", "x", "-o", "cat.safetensors/x.png"), {}, 8, "cat.safetensors"),
        (("generate", "x", "-o", "x.gif"), {}, 2, "one of .png, .webp, .jpg, .jpeg"),
        (("generate", "x", "-o", "/dev/full", *SMALL), {}, 8, "/dev/full: No space left on device"),
        (("batch", "run", "one.jsonl", "-o", "cat.safetensors"), {}, 8, "cat.safetensors: File exists"),
        (("batch", "run", "no.jsonl", "-o", "out"), {}, 8, "no.jsonl: No such file"),
        (("generate", "x", "--width", "63"), {}, 4, "'width'"),
        (("generate", "x", "--lora", "a:b"), {}, 2, "ID:WEIGHT"),
        (("generate", "x", "--timeout", "0", "--width", "1024", "--height", "1024"), {}, 7, "it is canceled"),
        (("models", "upload", "no.safetensors"), {}, 8, "No such file"),
        (("models", "upload", "cat.safetensors"), {}, 4, "not a safetensors file"),
        (("batch", "run", "cat.safetensors", "-o", "out"), {}, 2, "Line 1 is no UTF-8"),
        (("runs", "show", "gen_nobody"), {}, 4, "no such generation"),
        (("--url", "ftp://x", "limits"), {}, 2, "http://"),
        (("limits", "--url", "http://x:99999"), {}, 2, "http://x:99999"),
        (("limits",), {"IMAGINEO_API_KEY": "imag_é"}, 2, "visible ASCII"),
        (("generate",), {}, 2, "Missing argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_input_is_one_clear_line_and_an_exit_code(
    tmp_path: Path, env: dict[str, str], arguments: tuple[str, ...], changes: dict[str, str], code: int, says: str
) -> None:
    (tmp_path / "cat.safetensors").write_bytes(b"\x89PNG\r\n" * 500)
    (tmp_path / "one.jsonl").write_text('{"positive_prompt": "x"}\n')

    done = imagineo(*arguments, cwd=tmp_path, env={**env, **changes})

    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert code == 2 or len([line for line in done.stderr.splitlines() if line.startswith("Error:")]) == 1
    assert done.stdout == ""


def test_what_stdout_cannot_take_is_told(tmp_path: Path, env: dict[str, str]) -> None:
    for arguments in (("limits",), ("limits", "--json"), ("generate", "x", "-o", "-", *SMALL)):
        with Path("/dev/full").open("w") as full:
            command = [sys.executable, "-m", "imagineo_client", *arguments]
            done = subprocess.run(
                command, cwd=tmp_path, env=env, stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )

        assert done.returncode == 8, done.stderr
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr


def test_a_stream_that_stays_cut_ends_the_command(proxy: FaultyProxy, account: Account, tmp_path: Path) -> None:
    env = client_programs.environment(tmp_path, proxy.url, account.key)
    for _ in range(8):
        proxy.answers(200, "retry: 1\n\n", path="/events")

    done = imagineo("generate", "x", "-o", "x.png", *SMALL, cwd=tmp_path, env=env)

    assert done.returncode == 6, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
    assert "The events of gen_" in line
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_broken_way_to_the_platform_is_told_too(proxy: FaultyProxy, account: Account, tmp_path: Path) -> None:
    env = client_programs.environment(tmp_path, proxy.url, account.key)
    proxy.refuses(413, "body_too_large", path="/v1/models")
    proxy.refuses(429, "quota_exceeded", path="/v1/generate", Retry_After="900")
    proxy.answers(200, "<html>", path="/v1/limits")
    nobody = imagineo("--url", "http://127.0.0.1:1", "limits", cwd=tmp_path, env=env)
    large = imagineo("models", "upload", str(LORAS / "neon.safetensors"), cwd=tmp_path, env=env)
    used = imagineo("generate", "x", "--json", cwd=tmp_path, env=env)
    page = imagineo("limits", cwd=tmp_path, env=env)
    proxy.cuts(1)
    cut = imagineo("generate", "x", "-o", "x.png", *SMALL, cwd=tmp_path, env=env)

    assert [done.returncode for done in (nobody, large, used, page, cut)] == [6, 4, 5, 6, 0]
    assert "no connection to http://127.0.0.1:1" in nobody.stderr
    assert "body_too_large" in large.stderr
    error = json.loads(used.stderr)["error"]
    assert (error["kind"], error["code"], error["retry_after_s"]) == ("QuotaExceededError", "quota_exceeded", 900)
    assert "is not the API's" in page.stderr
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"


def test_the_shells_can_complete(tmp_path: Path, env: dict[str, str]) -> None:
    done = imagineo(
        "--show-completion", "bash", cwd=tmp_path, env={**env, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    )

    assert done.returncode == 0, done.stderr
    assert "complete" in done.stdout
