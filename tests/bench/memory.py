"""Memory: the idle platform without its worker, and the gateway before and after 100,000 requests."""

from __future__ import annotations

from tests.bench.load import Plan, send
from tests.bench.platform import platform, processes, pss_mb, unbounded_key
from tests.bench.report import Report
from tests.bench.submit import _model_id, _plan

_WARM_UP = 20_000
_REQUESTS = 100_000


def run(report: Report) -> None:
    """Print the figures of memory."""
    with platform(workers=0) as ready:
        members = processes(ready)
        for name, found in sorted(members.items()):
            report.figure(f"idle_memory_{name}", pss_mb(found), "MB")
        report.figure("idle_memory_without_worker", sum(map(pss_mb, members.values())), "MB", at_most=700)
        key = unbounded_key(ready)
        headers = {"X-API-Key": key}
        submit = _plan(ready["url"], key, _model_id(ready["url"], key))
        read = Plan(f"{ready['url']}/v1/generations", "GET", headers, "", 32, _WARM_UP // 2)
        send(read)
        send(Plan(**{**submit.__dict__, "requests": _WARM_UP // 2}))
        warm_mb = pss_mb(members["gateway"])
        send(Plan(**{**submit.__dict__, "requests": _REQUESTS // 2}))
        send(Plan(**{**read.__dict__, "requests": _REQUESTS // 2}))
        after_mb = pss_mb(members["gateway"])
        report.figure("gateway_memory_after_100k_requests", after_mb, "MB", at_most=120)
        report.figure("gateway_memory_growth", after_mb / warm_mb, "ratio", at_most=1.1, aim=1.0)
