"""`python -m tests.bench [name …]`: runs the named benchmarks, or all of them.

Those of the engine run alone, in an environment such as a worker gives itself: name them.
"""

from __future__ import annotations

import importlib
import os
import sys

from services.worker.__main__ import BEFORE_START

#: Module and function by name; loaded late, since torch reads the environment.
BENCHMARKS = {
    "submit": "submit.run",
    "end_to_end": "end_to_end.run",
    "memory": "memory.run",
    "http_server": "http_server.run",
    "streams": "streams.run",
    "estimates": "estimates.run",
    "pages": "pages.run",
    "log_in": "log_in.run",
    "sdk": "sdk.run",
    "sdk_python": "sdk_python.run",
    "costs": "costs.run",
    "limits": "limits.run",
    "fleet": "fleet.bench.run",
    "fleet_seeds": "fleet.bench.run_seeds",
}
OF_THE_ENGINE = {
    "engine": "engine.run",
    "engine_images": "engine.run_images",
    "engine_latency": "engine.run_latency",
    "serving": "serving.run",
    "serving_litserve": "serving.run_litserve",
    "serving_bentoml": "serving.run_bentoml",
    "serving_ray": "serving.run_ray",
}


def main() -> None:
    """Run what the command line names."""
    names = sys.argv[1:] or list(BENCHMARKS)
    known = BENCHMARKS | OF_THE_ENGINE
    unknown = sorted(set(names) - set(known))
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(known)}")
    if set(names) <= set(OF_THE_ENGINE) and not BEFORE_START.keys() <= os.environ.keys():
        os.environ.update({name: value for name, value in BEFORE_START.items() if name not in os.environ})
        os.execv(sys.executable, [sys.executable, "-m", "tests.bench", *names])  # noqa: S606 - ourselves
    from tests.bench.report import Report  # noqa: PLC0415

    for name in names:
        module, function = known[name].rsplit(".", 1)
        getattr(importlib.import_module(f"tests.bench.{module}"), function)(Report(name))


if __name__ == "__main__":
    main()
