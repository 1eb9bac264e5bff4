"""Fixtures that many tiers share: real servers, one of each per run, and an empty database per test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import servers


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
