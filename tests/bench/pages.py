"""The dashboard's pages: how long each takes, one after the other, with a hundred runs to show."""

from __future__ import annotations

import re
import statistics
import time
from typing import Any

import httpx

from tests.bench.platform import platform
from tests.bench.report import Report
from tests.support.rest import Account

#: Times the pages below it stays within what one person may load in a minute.
_TIMES = 20
_PICTURES = 100
_MUST_MS = 100.0
_PAGES = (
    *("/playground", "/generations", "/models", "/batches", "/settings/api-keys", "/settings/members"),
    *("/settings/usage", "/settings/webhooks", "/settings/plan", "/settings/account", "/settings/audit"),
)


def run(report: Report) -> None:
    """Print the 95th percentile of each page, and the slowest page's."""
    with platform(workers=0) as ready:
        with Account(ready["url"], ready["api_key"]) as account:
            _fill(account)
        with httpx.Client(base_url=ready["url"], trust_env=False, timeout=30) as browser:
            _log_in(browser, ready["dashboard"])
            p95s_ms = {path: _p95_ms(browser, path) for path in _PAGES}
    for path, p95_ms in p95s_ms.items():
        report.figure(f"page_p95_ms{path.replace('/', '_').replace('-', '_')}", p95_ms, "ms")
    report.figure("pages_slowest_p95_ms", max(p95s_ms.values()), "ms", at_most=_MUST_MS)


def _fill(account: Account) -> None:
    items = [account.body(seed=seed) for seed in range(_PICTURES)]
    assert account.post("/v1/batches", {"items": items}).status_code == 200


def _log_in(browser: httpx.Client, person: dict[str, Any]) -> None:
    page = browser.get("/login").text
    token = re.search(r'name="csrf_token" value="([0-9a-f]+)"', page)
    assert token
    answer = browser.post("/login", data={"csrf_token": token[1], **person})
    assert answer.status_code == httpx.codes.SEE_OTHER, answer.text


def _p95_ms(browser: httpx.Client, path: str) -> float:
    taken_ms = []
    for _ in range(_TIMES):
        started_s = time.perf_counter()
        assert browser.get(path).status_code == httpx.codes.OK
        taken_ms.append((time.perf_counter() - started_s) * 1e3)
    return statistics.quantiles(taken_ms, n=20)[-1]
