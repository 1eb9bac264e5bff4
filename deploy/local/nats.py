"""NATS with JetStream from the wheel, as a child process: its configuration file, its command line, when it is ready.

Every service signs in as itself and may do what the chart's `nats-permissions.json` says; `operator` may do all.
JetStream syncs to disk every two minutes, as is its default: Postgres holds the truth and `status` sends again what a
power cut takes.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import sysconfig
from functools import partial
from pathlib import Path
from typing import Final

from deploy.local.process import Child, Program

#: What each service may publish and subscribe to: the chart's own list, so that what runs here is what it says.
PERMISSIONS: Final = Path(__file__).parents[1] / "helm" / "imagineo" / "files" / "nats-permissions.json"


def url(port: int) -> str:
    """The address of the server."""
    return f"nats://127.0.0.1:{port}"


def operator_url(port: int, token: str) -> str:
    """The address with what an operator signs in with."""
    return f"nats://operator:{token}@127.0.0.1:{port}"


def password(user: str, token: str) -> str:
    """What a service signs in with."""
    return hmac.new(token.encode(), user.encode(), hashlib.sha256).hexdigest()


def authorization(token: str) -> str:
    """The block of the server's configuration that says who may do what."""
    services = json.loads(PERMISSIONS.read_text())
    users: list[dict[str, object]] = [{"user": "operator", "password": token}]
    users += [{"user": name, "password": password(name, token), "permissions": may} for name, may in services.items()]
    return f"authorization: {json.dumps({'users': users})}"


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
{authorization(token)}
max_payload: 8MB
jetstream {{ store_dir: "{data / "jetstream"}", max_memory_store: 64MB, max_file_store: 8GB }}
"""
    )
