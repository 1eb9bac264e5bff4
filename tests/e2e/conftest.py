"""One platform for all end-to-end tests, started as a user starts it; every test brings its own account."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import platform as local
from tests.support.platform import Platform
from tests.support.rest import Account


@pytest.fixture(scope="package")
def platform() -> Iterator[Platform]:
    with local.platform("--no-first-image") as running:
        yield running


@pytest.fixture
def account(platform: Platform) -> Iterator[Account]:
    """A fresh organization whose limits are out of reach."""
    with platform.account() as fresh:
        yield fresh


@pytest.fixture(scope="package")
def shared_account(platform: Platform) -> Iterator[Account]:
    """One organization for tests that only read, or that are refused."""
    with platform.account() as fresh:
        yield fresh


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/e2e" in item.path.as_posix():
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(600))  # the first one waits for the platform too
