"""The clients' hands: every scenario is played by each of them, against the platform of the end-to-end tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import node
from tests.support.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.platform import Platform
from tests.support.python_driver import Drive, played

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
