"""Runs the worker: `python -m services.worker`. It sets what must stand in the environment before torch is loaded.

`MALLOC_…` is read by the C library at its start, so the process replaces itself once with it set; the pid stays.
`OMP_WAIT_POLICY=passive` keeps OpenMP's threads from spinning at barriers: on shared cores that costs seconds.
"""

from __future__ import annotations

import os
import sys

#: Environment of a process that draws.
BEFORE_START = {
    "MALLOC_ARENA_MAX": "2",
    # A step's buffers are taken again and again: given back to the system each time they would be zeroed each time.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "OMP_WAIT_POLICY": "passive",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def main() -> None:
    """Prepare the environment, then serve until SIGTERM."""
    missing = {name: value for name, value in BEFORE_START.items() if name not in os.environ}
    if missing:
        os.environ.update(missing)
        os.execv(sys.executable, [sys.executable, "-m", "services.worker", *sys.argv[1:]])  # noqa: S606 - ourselves
    # Late imports: they load torch, which reads the environment as it is now.
    from imagineo import process, settings  # noqa: PLC0415
    from imagineo.telemetry import logs, tracing  # noqa: PLC0415

    from services.worker.app import serve  # noqa: PLC0415
    from services.worker.settings import Settings  # noqa: PLC0415

    try:
        read = settings.read(Settings, os.environ, prefix="IMAGINEO_WORKER_")
    except settings.SettingsError as problem:
        sys.exit(f"The worker's settings are not complete:\n{problem}")
    logs.configure("worker", read.log_level)
    try:
        with tracing.exporting("worker", read):
            process.run(lambda stop: serve(read, stop))
    except settings.SettingsError as problem:
        sys.exit(str(problem))
    sys.stdout.flush()
    sys.stderr.flush()
    # A device step that hangs in native code must not hold up the end.
    os._exit(0)


if __name__ == "__main__":
    main()
