"""The workers of these tests measure nothing at their start; the process of its own, in `test_process`, does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.steady_rows import steady_rows


@pytest.fixture(autouse=True, scope="package")
def _steady_rows() -> Iterator[None]:
    with steady_rows():
        yield
