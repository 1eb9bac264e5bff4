"""The catalog as an operator runs it: its command line, its start without a database, its healing."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from imagineo import errors
from imagineo.ids import new_id
from imagineo.rpc.channel import connect
from imagineo.rpc.client import call, call_with_stream, check_health
from imagineo.v1 import catalog_service_pb2 as pb
from imagineo.v1 import catalog_service_pb2_grpc

from tests.support import lora_files
from tests.support.deadlines import NOT_NEVER_S, PATIENT_S, SURELY_S, lived
from tests.support.model_hub import model_hub
from tests.support.servers import PostgresServer, postgres_server

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def environ(own_postgres: PostgresServer, tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT / 'libs'}:{ROOT}",
        "IMAGINEO_CATALOG_POSTGRES_DSN": own_postgres.dsn(),
        "IMAGINEO_BLOBS_URL": (tmp_path / "store").as_uri(),
        "IMAGINEO_CATALOG_PORTS_FILE": str(tmp_path / "ports.json"),
    }


async def _run(environ: dict[str, str], *arguments: str) -> tuple[int, str]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.catalog", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environ,
        cwd=ROOT,
    )
    output, _ = await child.communicate()
    return child.returncode or 0, output.decode()


@contextlib.asynccontextmanager
async def _serving(environ: dict[str, str], *, is_ended: bool = False) -> AsyncIterator[grpc.aio.Channel]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.catalog"), stderr=asyncio.subprocess.PIPE, env=environ, cwd=ROOT
    )
    assert child.stderr
    try:
        while b"catalog serves on port" not in (line := await child.stderr.readline()):
            assert line, "the catalog ended"
        drain = asyncio.create_task(child.stderr.read())
        channel = connect(f"127.0.0.1:{json.loads(Path(environ['IMAGINEO_CATALOG_PORTS_FILE']).read_text())['listen']}")
        yield channel
        await channel.close()
        if not is_ended:
            child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(SURELY_S):
            assert await child.wait() == 0
        await drain
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def test_the_command_line_migrates_seeds_and_adds(environ: dict[str, str], tmp_path: Path):
    starter = lora_files.write_starter(tmp_path / "starter")
    plain = lora_files.write_base(tmp_path / "My_Model v1")
    for attempt in range(2):
        assert (await _run(environ, "migrate"))[0] == 0, attempt
    code, seeded = await _run(environ, "seed", str(starter))
    assert code == 0, seeded
    code, added = await _run(environ, "add-base-model", str(plain))
    assert code == 0, added
    assert "my-model-v1" in added
    code, lora = await _run(
        environ, "add-lora", str(starter / "loras" / "style-1.safetensors"), "--base", "my-model-v1", "--name", "Own"
    )
    assert code == 0, lora
    async with _serving(environ) as channel:
        stub = catalog_service_pb2_grpc.CatalogServiceStub(channel)
        bases = (await call(stub.ListBaseModels, pb.ListBaseModelsRequest(), timeout_s=5)).base_models
        assert [base.slug for base in bases] == ["my-model-v1", "tiny"]
        loras = (await call(stub.ListLoras, pb.ListLorasRequest(organization_id="org_a"), timeout_s=5)).loras
        assert [lora.name for lora in loras] == ["Own", "Style 0"]
        removed = [await _run(environ, "remove-lora", loras[0].model_id) for _ in range(2)]
        assert [code for code, _ in removed] == [0, 1]
        assert f"There is no LoRA '{loras[0].model_id}'" in removed[1][1]
        loras = (await call(stub.ListLoras, pb.ListLorasRequest(organization_id="org_a"), timeout_s=5)).loras
        assert [lora.name for lora in loras] == ["Style 0"]


async def test_a_base_model_of_the_hub_is_fetched_once_and_then_only_what_changed(
    environ: dict[str, str], tmp_path: Path
):
    """An upgrade runs the chart's job again: it must not cost gigabytes."""
    folder = lora_files.write_base(tmp_path / "hub" / "owner" / "tiny.v1")
    weights = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors"))
    assert (await _run(environ, "migrate"))[0] == 0
    with model_hub(tmp_path / "hub") as hub:
        environ |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        answers = []
        for fetched in (weights, []):
            code, output = await _run(environ, "add-base-model", "owner/tiny.v1", "--slug", "tiny")
            assert code == 0, output
            answers.append(output.splitlines()[-1])
            assert sorted(hub.sent) == fetched
            hub.sent.clear()
        assert answers[0] == answers[1]

        changed = folder / weights[0]
        changed.write_bytes(changed.read_bytes() + b" ")
        code, output = await _run(environ, "add-base-model", "owner/tiny.v1", "--slug", "tiny")
        assert (code, hub.sent) == (0, [weights[0]]), output
        code, output = await _run(environ, "add-base-model", "owner/nothing")
        assert (code, "could not be fetched from the hub" in output) == (1, True), output
    stored = {path.name for path in (tmp_path / "store" / "bases").iterdir()}
    assert hashlib.sha256(changed.read_bytes()).hexdigest() in stored


async def test_of_a_hub_that_is_away_this_machines_copy_is_added(environ: dict[str, str], tmp_path: Path):
    lora_files.write_base(tmp_path / "hub" / "owner" / "tiny.v1")
    assert (await _run(environ, "migrate"))[0] == 0
    with model_hub(tmp_path / "hub") as hub:
        environ |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        copying = "import huggingface_hub; huggingface_hub.snapshot_download('owner/tiny.v1')"
        copied = await asyncio.create_subprocess_exec(sys.executable, "-c", copying, env=environ)
        assert await copied.wait() == 0

    code, output = await _run(environ, "add-base-model", "owner/tiny.v1", "--slug", "tiny")
    assert (code, "tiny" in output.splitlines()[-1]) == (0, True), output
    code, output = await _run(environ, "add-base-model", "owner/other", "--slug", "other")
    assert (code, "Traceback" in output) == (1, False), output
    assert "'owner/other' is not a directory, and could not be fetched from the hub" in output


async def test_the_command_line_refuses_with_a_sentence(environ: dict[str, str], tmp_path: Path):
    code, output = await _run({**environ, "IMAGINEO_CATALOG_POSTGRES_DSN": "postgresql://127.0.0.1:1/x"}, "migrate")
    assert (code, "Traceback" in output) == (1, False), output
    await _run(environ, "migrate")
    for arguments, why in (
        (("add-base-model", str(lora_files.write_base(tmp_path / "v", pipeline="VideoPipeline"))), "VideoPipeline"),
        (("add-base-model", str(tmp_path)), "model_index.json"),
        (("add-base-model", str(tmp_path / "none")), "There is no directory"),
        (("add-lora", str(tmp_path / "none.safetensors"), "--base", "tiny"), "Add it first"),
    ):
        code, output = await _run(environ, *arguments)
        assert code == 1
        assert why in output
        assert "Traceback" not in output


@pytest.mark.parametrize(("drain_s", "finishes"), [("0", False), ("30", True)])
async def test_an_upload_in_flight_has_its_drain_to_finish(
    environ: dict[str, str], tmp_path: Path, drain_s: str, finishes: bool
):
    assert (await _run(environ, "migrate"))[0] == 0
    code, added = await _run(environ, "add-base-model", str(lora_files.write_base(tmp_path / "tiny")))
    assert code == 0, added
    base_model_id = added.splitlines()[-1].split()[0]
    ended, content = asyncio.Event(), lora_files.lora(lora_files.peft_shapes())

    async def requests() -> AsyncIterator[pb.CreateLoraRequest]:
        yield pb.CreateLoraRequest(opening=pb.CreateLoraOpening(organization_id=new_id("org")))
        yield pb.CreateLoraRequest(chunk=content[:100])
        await ended.wait()
        yield pb.CreateLoraRequest(chunk=content[100:])
        yield pb.CreateLoraRequest(draft=pb.LoraDraft(name="Mine", base_model_id=base_model_id, sharing=1))

    uploads = tmp_path / "uploads"
    uploads.mkdir()
    given = {**environ, "IMAGINEO_CATALOG_DRAIN_S": drain_s, "IMAGINEO_CATALOG_UPLOAD_DIR": str(uploads)}
    expected = contextlib.nullcontext() if finishes else pytest.raises(errors.Unavailable)
    async with _serving(given, is_ended=True) as channel:
        stub = catalog_service_pb2_grpc.CatalogServiceStub(channel)
        upload = asyncio.create_task(call_with_stream(stub.CreateLora, requests(), timeout_s=30))
        async with asyncio.timeout(SURELY_S):
            while not list(uploads.iterdir()):  # noqa: ASYNC110  # the file announces itself nowhere
                await asyncio.sleep(0.01)
        (child,) = [one for one in psutil.Process().children() if "services.catalog" in one.cmdline()]
        child.send_signal(signal.SIGTERM)
        await _until_closed(json.loads(Path(environ["IMAGINEO_CATALOG_PORTS_FILE"]).read_text())["listen"])
        ended.set()
        with expected:
            await upload


async def _until_closed(port: int) -> None:
    """Wait until nobody is let in any more."""
    async with asyncio.timeout(SURELY_S):
        with contextlib.suppress(ConnectionRefusedError):
            while True:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                await asyncio.sleep(0.02)


async def test_a_database_that_is_away_is_told_quickly_and_heals(own_postgres: PostgresServer, environ: dict[str, str]):
    assert (await _run(environ, "migrate"))[0] == 0
    await asyncio.to_thread(own_postgres.kill)
    async with _serving(environ) as channel:
        await _expect_away(channel)
        await _until(channel, healthy=False)
        await asyncio.to_thread(own_postgres.start)
        await _expect_back(channel)
        await asyncio.to_thread(own_postgres.freeze)
        try:
            await _expect_away(channel)
        finally:
            await asyncio.to_thread(own_postgres.thaw)
        await _expect_back(channel)


async def _resolve(channel: grpc.aio.Channel) -> pb.ResolveResponse:
    stub = catalog_service_pb2_grpc.CatalogServiceStub(channel)
    return await call(
        stub.Resolve, pb.ResolveRequest(organization_id="org_a", model_id=new_id("base")), timeout_s=PATIENT_S
    )


async def _expect_away(channel: grpc.aio.Channel) -> None:
    async with lived() as waited:
        with pytest.raises(errors.Unavailable):
            await _resolve(channel)
    assert waited.s < NOT_NEVER_S, "the catalog answers by its own deadline, before the caller's ends"


async def _expect_back(channel: grpc.aio.Channel) -> None:
    await _until(channel, healthy=True)
    assert (await _resolve(channel)).HasField("error")


async def _until(channel: grpc.aio.Channel, *, healthy: bool) -> None:
    async with asyncio.timeout(SURELY_S):
        while True:
            try:
                await check_health(channel)
                answer = True
            except errors.Unavailable:
                answer = False
            if answer is healthy:
                return
