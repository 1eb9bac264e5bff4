"""Prometheus' own tool: it comes with Debian's package `prometheus`. Where it must be there, its lack is a failure."""

from __future__ import annotations

import os
import shutil

import pytest


def promtool() -> str:
    """The program's path; skips the test where it is not there, unless IMAGINEO_REQUIRE_PROMTOOL is set."""
    found = shutil.which("promtool")
    if found is None and os.environ.get("IMAGINEO_REQUIRE_PROMTOOL"):
        pytest.fail("promtool is not there, and IMAGINEO_REQUIRE_PROMTOOL is set")
    if found is None:
        pytest.skip("promtool is not there: it comes with Debian's package prometheus")
    return found
