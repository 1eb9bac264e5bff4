"""The dashboard's pages, every one: how long each takes, one after the other, with a hundred runs to show."""

from __future__ import annotations

import re
import statistics
import time
from typing import Any

import httpx

from tests.bench.platform import platform
from tests.bench.report import Report
from tests.support import pages
from tests.support import platform as local
from tests.support.browsers import Login, new_person
from tests.support.rest import Account

_TIMES = 40
_PICTURES = 100
#: So many pages, so many times, stay within what one person may load in a minute.
_PAGES_OF_ONE = 5
_MUST_MS = 100.0


def run(report: Report) -> None:
    """Print the 95th percentile of each page, and the slowest page's."""
    with platform(workers=1) as ready, local.new_account(ready) as account:
        named = pages.things(account, batch_id=_drawn(account))
        with _browser(ready) as guest:
            p95s_ms = {path: _p95_ms(guest, path) for path in pages.OPEN}
        behind = [path for path in pages.SHOWN if path not in pages.OPEN]
        for first in range(0, len(behind), _PAGES_OF_ONE):
            with _browser(ready) as person:
                _log_in(person, new_person(ready["grpc"]["auth"], account, "owner", is_administrator=True))
                p95s_ms |= {
                    path: _p95_ms(person, pages.address(path, named)) for path in behind[first : first + _PAGES_OF_ONE]
                }
    for path, p95_ms in p95s_ms.items():
        name = re.sub(r"\W+", "_", path).strip("_")
        report.figure(f"page_p95_ms_{name}", p95_ms, "ms")
    report.figure("pages_slowest_p95_ms", max(p95s_ms.values()), "ms", at_most=_MUST_MS)


def _drawn(account: Account) -> str:
    """A batch whose pictures are there."""
    items = [account.body(seed=seed, steps=1) for seed in range(_PICTURES)]
    made = account.post("/v1/batches", {"items": items})
    assert made.status_code == httpx.codes.OK, made.text
    batch_id = str(made.json()["batch_id"])
    found = account.get("/v1/generations", params={"batch_id": batch_id, "limit": _PICTURES}).json()["generations"]
    for one in found:
        account.until(one["run_id"], within_s=300)
    return batch_id


def _browser(ready: dict[str, Any]) -> httpx.Client:
    return httpx.Client(base_url=ready["url"], headers={"accept": "text/html"}, trust_env=False, timeout=30)


def _log_in(browser: httpx.Client, person: Login) -> None:
    page = browser.get("/login").text
    token = re.search(r'name="csrf_token" value="([0-9a-f]+)"', page)
    assert token
    answer = browser.post("/login", data={"csrf_token": token[1], "email": person.email, "password": person.password})
    assert answer.status_code == httpx.codes.SEE_OTHER, answer.text


def _p95_ms(browser: httpx.Client, path: str) -> float:
    taken_ms = []
    for _ in range(_TIMES):
        started_s = time.perf_counter()
        assert browser.get(path).status_code == httpx.codes.OK, path
        taken_ms.append((time.perf_counter() - started_s) * 1e3)
    return statistics.quantiles(taken_ms, n=20)[-1]
