"""The container images: their recipe, their locks, and the control image's services started from it for real."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml
from cryptography.fernet import Fernet

from deploy.docker import images, locks
from deploy.docker.images import Builder, name_of
from tests.support.platform import eventually
from tests.support.servers import NatsServer, PostgresServer, free_port

DOCKERFILE = locks.FOLDER / "Dockerfile"
#: Names the variable that names a folder: storage of images, where the control image is built or lies.
FOLDER = "IMAGINEO_TEST_IMAGES"
SERVICES = ("auth", "catalog", "status", "webhooks", "gateway")


def locked(image: str) -> dict[str, str]:
    pairs = re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", locks.lock_path(image).read_text(), re.MULTILINE)
    return dict(pairs)


def test_the_linter_has_nothing_to_say() -> None:
    done = subprocess.run([_tool("hadolint"), str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_is_pinned_by_its_digest() -> None:
    base = re.search(r"^ARG BASE=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert base is not None
    assert re.fullmatch(r"docker\.io/library/debian:bookworm-slim@sha256:[0-9a-f]{64}", base[1])


def test_another_base_may_be_given_for_every_stage() -> None:
    """As the build without an engine does: the pinned one lies at a registry."""
    given, stages = set(), set()
    for base, stage in re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE.read_text(), re.MULTILINE):
        given |= {base} - stages
        stages.add(stage)
    assert given == {"${BASE}", "scratch"}


@pytest.mark.parametrize("image", sorted(locks.EXTRAS))
def test_the_lock_file_is_what_the_project_asks_for_now(
    image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    fresh = tmp_path / f"{image}.lock"
    shutil.copy(locks.lock_path(image), fresh)
    locks.resolve(image, fresh)
    assert fresh.read_text() == locks.lock_path(image).read_text(), "run python -m deploy.docker lock"


@pytest.mark.parametrize("image", sorted(locks.EXTRAS))
def test_every_locked_package_has_digests(image: str) -> None:
    text = locks.lock_path(image).read_text()
    blocks = re.split(r"\n(?=[a-z0-9])", text.strip())
    assert len(blocks) == len(locked(image))
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_control_image_holds_no_torch_and_the_worker_no_database() -> None:
    assert {"torch", "diffusers", "peft", "transformers"}.isdisjoint(locked("control"))
    assert {"torch", "diffusers", "peft"} <= locked("worker").keys()
    assert {"asyncpg", "starlette", "sqlalchemy"}.isdisjoint(locked("worker"))


def test_every_image_that_the_chart_names_is_a_target() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    named = yaml.safe_load((locks.REPOSITORY / "deploy/helm/imagineo/values.yaml").read_text())["image"]
    chosen = {str(named[kind]).removeprefix("imagineo-") for kind in ("control", "worker", "workerCompile")}
    assert chosen == set(images.IMAGES)
    assert chosen <= set(stages)


def test_what_a_build_sees_is_listed_where_every_builder_looks() -> None:
    """Engines read `<Dockerfile>.dockerignore` before any other; buildah is told."""
    ignored = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    sources = {source for line in copied for source in line.split() if not source.startswith("${")}
    allowed = tuple(line.removeprefix("!") for line in ignored if line.startswith("!"))
    assert ignored[1] == "*"
    assert {source for source in sources if not source.startswith(allowed)} == set()


def test_the_images_are_of_the_projects_version() -> None:
    project = tomllib.loads((locks.REPOSITORY / "pyproject.toml").read_text())
    assert f"ARG VERSION={project['project']['version']}\n" in DOCKERFILE.read_text()


def test_the_worker_draws_with_the_build_of_torch_that_the_tests_run() -> None:
    project = tomllib.loads((locks.REPOSITORY / "pyproject.toml").read_text())
    assert any(each.startswith("torch") for each in project["project"]["optional-dependencies"]["worker"])
    assert f"torch ?= torch=={locked('worker')['torch']}" in (locks.REPOSITORY / "Makefile").read_text().lower()


class Box:
    """Runs services in one container of the control image, on this machine's network."""

    def __init__(self, builder: Builder, container: str, folder: Path, environ: dict[str, str]) -> None:
        self._folder = folder
        variables = [f"--env={name}={value}" for name, value in environ.items()]
        flags = ["--isolation=chroot", "--user=65532:65532", f"--volume={folder}:/var/lib/imagineo", *variables]
        self._command = [*builder.command(), "run", *flags, container, "--", "python", "-m"]

    def run(self, *arguments: str) -> None:
        """Run a command to its end."""
        subprocess.run([*self._command, *arguments], check=True, timeout=100)

    @contextmanager
    def serving(self, service: str) -> Iterator[Callable[[str], None]]:
        """A service; gives how to wait until it answers at a URL."""
        log = self._folder / f"{service}.log"
        with log.open("wb") as lines:
            process = subprocess.Popen(
                [*self._command, f"services.{service}"], stdout=lines, stderr=lines, start_new_session=True
            )

        def until_ready(url: str) -> None:
            eventually(
                lambda: process.poll() is not None or answers(url),
                within_s=60,
                what=f"{service} is ready at {url}: {log.read_text()[-2000:]}",
            )
            assert process.poll() is None, log.read_text()[-4000:]

        try:
            yield until_ready
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


@contextmanager
def container(builder: Builder, image: str) -> Iterator[str]:
    """A container of an image; gone at the end."""
    name = builder.buildah("from", "--pull-never", name_of(image), capture=True)
    try:
        yield name
    finally:
        builder.buildah("rm", name, capture=True)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310  # our own process
            return bool(reply.status == 200)
    except OSError:
        return False


@pytest.fixture
def builder() -> Builder:
    folder = os.environ.get(FOLDER)
    if folder is None:
        pytest.skip(f"it takes minutes: set {FOLDER} to a folder to build the control image in; it is kept")
    return Builder(Path(folder))


@pytest.mark.timeout(1_200)
def test_every_control_service_gets_ready_from_the_image(
    builder: Builder, postgres: PostgresServer, nats: NatsServer, dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if not builder.is_fresh("control"):
        builder.build("control")
    folder = tmp_path_factory.mktemp("control")
    folder.chmod(0o777)
    ports = {name: (free_port(), free_port()) for name in SERVICES}
    environ = {
        "IMAGINEO_POSTGRES_DSN": dsn,
        "IMAGINEO_NATS_URL": nats.url,
        "IMAGINEO_BLOBS_URL": "file:///var/lib/imagineo/blobs",
        "IMAGINEO_SIGNING_KEY": "a key for this test only",
        "IMAGINEO_PUBLIC_URL": "http://127.0.0.1:1",
        "IMAGINEO_WEBHOOKS_SECRET_KEYS": Fernet.generate_key().decode(),
    }
    environ |= {f"IMAGINEO_{name.upper()}_LISTEN": f"127.0.0.1:{ports[name][0]}" for name in SERVICES}
    environ |= {f"IMAGINEO_{name.upper()}_METRICS_LISTEN": f"127.0.0.1:{ports[name][1]}" for name in SERVICES}
    environ |= {f"IMAGINEO_{name.upper()}_ADDRESS": f"127.0.0.1:{ports[name][0]}" for name in SERVICES[:4]}
    with ExitStack() as stack:
        box = Box(builder, stack.enter_context(container(builder, "control")), folder, environ)
        for name in SERVICES[:4]:
            box.run(f"services.{name}", "migrate")
        waits = {name: stack.enter_context(box.serving(name)) for name in SERVICES}
        for name, until_ready in waits.items():
            until_ready(f"http://127.0.0.1:{ports[name][1]}/readyz")
        assert answers(f"http://127.0.0.1:{ports['gateway'][0]}/readyz")


def _tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)
