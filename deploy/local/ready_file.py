"""The ready file: one JSON object that tells scripts and tests where everything is, rewritten after each restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploy.local.accounts import Account
from deploy.local.demo_user import DemoUser
from deploy.local.parts import GRPC_SERVICES, SERVICES, Parts, worker_names
from deploy.local.place import write_private


def describe(
    parts: Parts, accounts: dict[str, Account], user: DemoUser, workers: int, pids: dict[str, int]
) -> dict[str, Any]:
    """The content. The workers stand together under `worker` in `pids` and each by its own name in `metrics`."""
    names = worker_names(workers)
    return {
        "url": parts.url,
        "api_key": accounts["premium"].api_key,
        "free_key": accounts["free"].api_key,
        "dashboard": {"email": user.email, "password": user.password},
        "grpc": {service: parts.ports.address(service) for service in GRPC_SERVICES},
        "metrics": {name: f"http://{parts.ports.address(f'{name}.metrics')}/metrics" for name in (*SERVICES, *names)},
        "nats_url": parts.nats_url,
        "postgres_dsn": parts.postgres_dsn,
        "pids": {
            **{name: [pid] for name, pid in pids.items() if name not in names},
            "worker": [pids[name] for name in names if name in pids],
        },
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Write it whole or not at all, for its owner only: it holds keys."""
    write_private(path, content)
