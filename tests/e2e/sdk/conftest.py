"""The clients' hands: every scenario is played by each of them, against the platform of the end-to-end tests."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import node
from tests.support.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.platform import Platform
from tests.support.python_driver import Drive, played
from tests.support.typescript_driver import TypescriptDriver, typescript_driver


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


@pytest.fixture(scope="package")
def node_program() -> Iterator[TypescriptDriver]:
    """One for all: node reads forty sources before it plays the first scenario."""
    with typescript_driver(node.TYPESCRIPT) as running:
        yield running


@pytest.fixture
def drive(language: str, request: pytest.FixtureRequest) -> Drive:
    """Plays a scenario for an account; gives `{"result": …}` or `{"error": …}`."""

    def play(scenario: str, url: str, api_key: str, **arguments: Any) -> dict[str, Any]:
        told = {"scenario": scenario, "url": url, "api_key": api_key, **arguments}
        if language != "typescript":
            return played(told, synchronous=language == "python")
        program: TypescriptDriver = request.getfixturevalue("node_program")
        return program.play(told)

    return play


@pytest.fixture
def proxy(platform: Platform) -> Iterator[FaultyProxy]:
    with faulty_proxy(platform.ready["url"]) as found:
        yield found
