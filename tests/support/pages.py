"""Every page of the dashboard by its address, out of the table that serves them: a new page is never left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.gateway.dashboard.routes import PAGES
from tests.support.rest import Account

#: What leads on to another page and has none of its own.
_LEADS_ON = {"/"}
#: The paths of all pages that are looked at.
SHOWN = tuple(page.path for page in PAGES if page.method == "GET" and page.path not in _LEADS_ON)
#: Those that nobody need be logged in for.
OPEN = tuple(page.path for page in PAGES if page.method == "GET" and page.path in SHOWN and page.permission is None)


def things(account: Account, **known: str) -> dict[str, str]:
    """One thing of each kind that pages are about, by the name that stands in their paths; made where it is missing."""
    found = {
        "run_id": known.get("run_id") or account.draw()["run_id"],
        "model_id": known.get("model_id") or account.lora(),
        "batch_id": known.get("batch_id") or _made(account, "/v1/batches", {"items": [account.body()]}, "batch_id"),
        "webhook_id": known.get("webhook_id") or _made(account, "/v1/webhooks", {"url": "https://hooks.example.com/1"}),
    }
    return known | found


def address(path: str, named: Mapping[str, str]) -> str:
    """Where a page lies.

    Raises:
        KeyError: if the path names a kind of thing that `things` does not know yet.
    """
    return path.format_map(named)


def _made(account: Account, path: str, body: dict[str, Any], name: str = "id") -> str:
    answer = account.post(path, body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()[name])
