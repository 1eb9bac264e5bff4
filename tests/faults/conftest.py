"""One platform for the tests that kill its parts; each test waits until it is healed from the one before."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from tests.support import platform as local
from tests.support.deadlines import STARTED_WITHIN_S
from tests.support.platform import Platform, eventually
from tests.support.rest import Account


@pytest.fixture(scope="package")
def platform() -> Iterator[Platform]:
    with local.platform("--no-first-image") as running:
        yield running


@pytest.fixture
def account(platform: Platform) -> Iterator[Account]:
    """A fresh organization whose limits are out of reach, on a platform that is whole."""
    eventually(platform.is_whole, within_s=STARTED_WITHIN_S, what="the platform is healed from the test before")
    with eventually(lambda: accepted(platform), within_s=STARTED_WITHIN_S, what="accounts are made again") as fresh:
        yield fresh


def accepted(platform: Platform) -> Account | None:
    try:
        return platform.account()
    except grpc.RpcError:
        return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/faults" in item.path.as_posix():
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.timeout(600))  # the first one waits for the platform too
