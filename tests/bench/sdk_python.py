"""What the Python client adds to a call: reading a run by it and by bare httpx, turn by turn on one connection each."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import httpx
from imagineo_client import Imagineo

from tests.bench.platform import platform
from tests.bench.report import Report
from tests.support.platform import new_account

_ROUNDS = 400
_WARM_UP = 50
_MUST = 1.10


def run(report: Report) -> None:
    """Print the ratios."""
    with platform(workers=0) as ready, new_account(ready) as account:
        run_id = account.submit()
        path = f"{account.url}/v1/generations/{run_id}"
        headers = {"X-API-Key": account.key}
        with httpx.Client(trust_env=False) as bare, Imagineo(account.key, account.url) as client:
            ours, floor = _in_turns(
                lambda: client.generations.get(run_id), lambda: bare.get(path, headers=headers).json()
            )
        report.figure("sdk_python_call", ours * 1e3, "ms")
        report.figure("sdk_python_over_httpx", ours / floor, "ratio", at_most=_MUST)


def _in_turns(*calls: Callable[[], object]) -> list[float]:
    """The median seconds of each call; they take turns, so that a neighbour's load meets both."""
    spent: list[list[float]] = [[] for _ in calls]
    for turn in range(_WARM_UP + _ROUNDS):
        for call, own in zip(calls, spent, strict=True):
            began = time.perf_counter()
            call()
            if turn >= _WARM_UP:
                own.append(time.perf_counter() - began)
    return [statistics.median(own) for own in spent]
