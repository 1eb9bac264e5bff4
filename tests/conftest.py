"""Fixtures that many tiers share: real servers, one of each per run, and an empty database per test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support import node, servers, shares

# Tests fork servers while gRPC runs here; its fork handlers would now and then break the child. Read at its import.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

# The same examples in every run: a build fails for what changed. HYPOTHESIS_PROFILE=searching draws new ones. How long
# an example takes is the machine's affair: a loaded one holds any of them up.
_ANY_PACE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", _ANY_PACE, derandomize=True, database=None)
settings.register_profile("searching", _ANY_PACE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> shares.ShareScheduling:
    return shares.ShareScheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # one of several processes
        shares.put_in_order(items)


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.PostgresServer]:
    with servers.postgres_server() as server:
        yield server


@pytest.fixture
def dsn(postgres: servers.PostgresServer) -> str:
    return postgres.new_database()


@pytest.fixture(scope="session")
def nats() -> Iterator[servers.NatsServer]:
    with servers.nats_server() as server:
        yield server


@pytest.fixture(scope="session")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TypeScript client in a folder of its own, with its packages installed."""
    return node.installed(tmp_path_factory.mktemp("sdks"))


@pytest.fixture(scope="session")
def typescript_build(typescript: Path) -> Path:
    """The same folder, once its sources are compiled into `dist`."""
    node.ran("npm", "run", "build", cwd=typescript, within_s=200)
    return typescript
