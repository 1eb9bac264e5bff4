"""NATS with JetStream from the wheel, as a child process: its configuration file, its command line, when it is ready.

JetStream syncs to disk every two minutes, as is its default: Postgres holds the truth and `status` sends again what a
power cut takes.
"""

from __future__ import annotations

import asyncio
import os
import sysconfig
from functools import partial
from pathlib import Path

from deploy.local.process import Child, Program


def url(port: int, token: str) -> str:
    """The address of the server; the token is part of it."""
    return f"nats://{token}@127.0.0.1:{port}"


def binary() -> Path:
    """The server's program, as the wheel installs it."""
    return Path(sysconfig.get_path("scripts")) / "nats-server"


def program(data: Path, port: int, token: str, log: Path) -> Program:
    """The server that stores its streams under `data`."""
    return Program(
        name="nats",
        command=(str(binary()), "-c", str(data / "nats.conf")),
        log=log,
        environment={"PATH": os.defpath},
        ready=partial(_is_ready, port),
        before_start=partial(_configure, data, port, token),
    )


async def _is_ready(port: int, _child: Child) -> bool:
    """A server that is ready greets with its INFO line."""
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                greeting = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return greeting.startswith(b"INFO ") and b'"jetstream":true' in greeting


def _configure(data: Path, port: int, token: str) -> None:
    data.mkdir(parents=True, exist_ok=True)
    path = data / "nats.conf"
    path.touch(mode=0o600)
    path.write_text(
        f"""\
# Written by deploy/local at each start.
listen: "127.0.0.1:{port}"
authorization {{ token: "{token}" }}
max_payload: 8MB
jetstream {{ store_dir: "{data / "jetstream"}", max_memory_store: 64MB, max_file_store: 8GB }}
"""
    )
