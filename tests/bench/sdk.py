"""The clients: time of a call over the same call by the bare HTTP library, one after the other on one connection.

Both make the same request to the same platform and parse its answer; they take turns, a round of calls each, and what
counts is the median of the ratios of neighbours.
"""

from __future__ import annotations

import json

from tests.bench.platform import platform, unbounded_key
from tests.bench.report import Report
from tests.bench.submit import _model_id
from tests.support.node import REPOSITORY, ran

#: The most that a client may add to a call.
MOST_RATIO = 1.10
_TYPESCRIPT = REPOSITORY / "tests" / "bench" / "sdk_calls.mjs"


def run(report: Report) -> None:
    """Print what the clients add to a read and to a submit."""
    with platform(workers=0) as ready:
        key = unbounded_key(ready)
        told = json.dumps({"url": ready["url"], "api_key": key, "model_id": _model_id(ready["url"], key)})
        found = json.loads(ran("node", "--no-warnings", str(_TYPESCRIPT), stdin=told, within_s=300))
    for name, value in found.items():
        is_ratio = name.endswith("_ratio")
        report.figure(
            f"sdk_typescript_{name}", value, "ratio" if is_ratio else "ms", at_most=MOST_RATIO if is_ratio else None
        )
