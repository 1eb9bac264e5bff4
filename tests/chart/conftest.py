"""Each profile of `ci/` is rendered once."""

from __future__ import annotations

import functools

import pytest

from tests.support.chart import PROFILES, Rendered, render

rendered = functools.cache(render)


@pytest.fixture(params=PROFILES)
def profile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def chart(profile: str) -> Rendered:
    return rendered(profile)
