"""`python -m tests.bench [name …]`: runs the named benchmarks, or all of them."""

from __future__ import annotations

import sys

from tests.bench import end_to_end, engine, http_server, memory, streams, submit
from tests.bench.report import Report

BENCHMARKS = {
    "submit": submit.run,
    "end_to_end": end_to_end.run,
    "memory": memory.run,
    "http_server": http_server.run,
    "streams": streams.run,
    "engine": engine.run,
}


def main() -> None:
    """Run what the command line names."""
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    for name in names:
        BENCHMARKS[name](Report(name))


if __name__ == "__main__":
    main()
