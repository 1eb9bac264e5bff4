"""What the engine's tests share: one tiny base model, its oracle, and engines that measure nothing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.judged_engine import JudgedEngine
from tests.support.steady_rows import steady_rows
from tests.support.stock import Stock
from tests.support.tiny_models import tiny_base


@pytest.fixture(autouse=True, scope="session")
def _steady_rows() -> Iterator[None]:
    with steady_rows():
        yield


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base model; whoever changes it takes a copy."""
    with warnings.catch_warnings(action="ignore"):
        return tiny_base(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def stock(directory: Path) -> Stock:
    """The stock pipeline of the tiny base model; it remembers what it drew."""
    return Stock(directory)


@pytest.fixture(scope="module")
def place(directory: Path, stock: Stock) -> Iterator[JudgedEngine]:
    """An engine whose runs are held to the stock pipeline, one for each file."""
    made = JudgedEngine(directory, stock=stock)
    yield made
    made.close()
