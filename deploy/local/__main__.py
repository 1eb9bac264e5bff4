"""The command line: `python -m deploy.local`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from deploy.local.first_image import FirstImageError
from deploy.local.parts import REPOSITORY
from deploy.local.place import FolderError
from deploy.local.platform import Options, Platform
from deploy.local.ports import PortInUseError
from deploy.local.supervisor import StartError

_MAX_PORT: Final = 65535


def _options(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description="The whole platform on one machine.")
    parser.add_argument("--port", type=_port, default=8000, help="where to serve; 0: any free port (default: 8000)")
    parser.add_argument(
        "--data", type=Path, default=REPOSITORY / ".imagineo", help="where everything is kept (default: .imagineo)"
    )
    parser.add_argument("--workers", type=int, default=1, choices=range(9), metavar="0-8", help="default: 1")
    parser.add_argument("--no-first-image", action="store_true", help="do not draw a picture at the first start")
    parser.add_argument("--ready-file", type=Path, help="write a JSON object here once all is ready")
    parser.add_argument(
        "--weights",
        type=Path,
        default=REPOSITORY / "libs" / "starter" / "weights",
        help="the models of a new platform (default: the embedded starter)",
    )
    parser.add_argument(
        "--blobs", default="", metavar="URL", help="the object store: s3://bucket (default: a folder in the data)"
    )
    chosen = parser.parse_args(arguments)
    return Options(
        port=chosen.port,
        data=chosen.data,
        weights=chosen.weights.resolve(),
        blobs_url=chosen.blobs,
        workers=chosen.workers,
        first_image=not chosen.no_first_image,
        ready_file=chosen.ready_file.resolve() if chosen.ready_file else None,
    )


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) <= _MAX_PORT):
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {_MAX_PORT}, not '{text}'")
    return int(text)


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    """Run the platform; the exit code is 1 where it did not come up."""
    try:
        asyncio.run(Platform(_options(sys.argv[1:]), dict(os.environ), _say).run())
    except (FirstImageError, FolderError, PortInUseError, StartError) as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
