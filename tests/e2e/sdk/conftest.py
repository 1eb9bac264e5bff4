"""The clients' hands: every scenario is played by each of them, against the platform of the end-to-end tests."""

from __future__ import annotations

import gc
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import node
from tests.support.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.platform import Platform
from tests.support.python_driver import Drive, played


@pytest.fixture(autouse=True)
def _nothing_is_left_to_be_collected() -> Iterator[None]:
    """Collect here what a cut connection left: the loop of an asynchronous call ends before its sockets have closed."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


LANGUAGES = ("python", "python-async", "typescript")


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def drive(language: str, request: pytest.FixtureRequest) -> Drive:
    """Plays a scenario for an account; gives `{"result": …}` or `{"error": …}`."""

    def play(scenario: str, url: str, api_key: str, **arguments: Any) -> dict[str, Any]:
        told = {"scenario": scenario, "url": url, "api_key": api_key, **arguments}
        if language != "typescript":
            return played(told, synchronous=language == "python")
        folder: Path = request.getfixturevalue("typescript")
        printed = node.ran("node", "--no-warnings", "tests/driver.mjs", cwd=folder, stdin=json.dumps(told))
        answer: dict[str, Any] = json.loads(printed)
        return answer

    return play


@pytest.fixture
def proxy(platform: Platform) -> Iterator[FaultyProxy]:
    with faulty_proxy(platform.ready["url"]) as found:
        yield found
