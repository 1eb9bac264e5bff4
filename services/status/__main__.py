"""Runs status: `python -m services.status` serves; `migrate` and `make-queues` are an operator's.

Queues are made by the workers that pull from them; whoever measures queues before there is a worker makes them first.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from imagineo import errors, process
from imagineo.broker.jetstream import JetStreamBroker
from imagineo.postgres.migrations import migrate
from imagineo.settings import SettingsError, read
from imagineo.telemetry import logs, tracing
from imagineo.telemetry import metrics as telemetry
from imagineo.telemetry.probes import Probes

from services.status import app
from services.status.metrics import StatusMetrics
from services.status.settings import PREFIX, MigrationSettings, QueueSettings, Settings

MIGRATIONS = Path(__file__).parent / "migrations"


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m services.status", description=__doc__)
    parser.set_defaults(command="serve")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="serve until SIGTERM (the default)")
    migrating = commands.add_parser("migrate", help="bring the schema to its newest version")
    migrating.add_argument(
        "--wait-s", type=float, default=0.0, help="how long to wait for a database that is away, in seconds"
    )
    queues = commands.add_parser("make-queues", help="make the queues of base models")
    queues.add_argument("slug", nargs="+")
    options = parser.parse_args(arguments)
    command = options.command
    try:
        if command == "make-queues":
            access = read(QueueSettings, environ, prefix=PREFIX)
            logs.configure("status", access.log_level)
            asyncio.run(_make_queues(access, options.slug))
            return 0
        if command == "migrate":
            admin = read(MigrationSettings, environ, prefix=PREFIX)
            logs.configure("status", admin.log_level)
            migrate(admin.postgres_dsn.reveal(), "status", MIGRATIONS, wait_s=options.wait_s)
            return 0
        settings = read(Settings, environ, prefix=PREFIX)
        logs.configure("status", settings.log_level)
        with tracing.exporting("status", settings):
            process.run(lambda stop: _serve(settings, stop))
    except (SettingsError, errors.ImagineoError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    return 0


async def _make_queues(settings: QueueSettings, slugs: list[str]) -> None:
    # Queues are the workers' own: the user `worker` may make them, and hears replies below its name.
    broker = await JetStreamBroker.connect(
        settings.nats_url, name="worker make-queues", access=settings.nats_access, makes_streams=False
    )
    try:
        for slug in slugs:
            await broker.make_queue(slug)
    finally:
        await broker.close()


async def _serve(settings: Settings, stop: asyncio.Event) -> None:
    probes = Probes()
    metrics_port = telemetry.serve(settings.metrics_listen, probes)
    async with (
        process.background(lambda: telemetry.watch_loop_lag("status", probes)),
        app.running(settings, StatusMetrics(), telemetry.RpcMetrics("status"), probes) as port,
    ):
        process.write_ports(settings.ports_file, listen=port, metrics=metrics_port)
        probes.begin()
        await stop.wait()
        probes.drain()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
