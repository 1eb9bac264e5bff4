"""Runs auth: `python -m services.auth` serves; `migrate` and the commands of `administration` are an operator's."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from imagineo import errors, process
from imagineo.postgres.migrations import migrate
from imagineo.settings import SettingsError, read
from imagineo.telemetry import logs, tracing
from imagineo.telemetry import metrics as telemetry
from imagineo.telemetry.probes import Probes

from services.auth import administration, app
from services.auth.metrics import AuthMetrics
from services.auth.settings import PREFIX, AdminSettings, Settings

MIGRATIONS = Path(__file__).parent / "migrations"


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "serve":
            settings = read(Settings, environ, prefix=PREFIX)
            logs.configure("auth", settings.log_level)
            with tracing.exporting("auth", settings):
                process.run(lambda stop: _serve(settings, stop))
            return 0
        admin = read(AdminSettings, environ, prefix=PREFIX)
        logs.configure("auth", admin.log_level)
        if options.command == "migrate":
            migrate(admin.postgres_dsn.reveal(), "auth", MIGRATIONS, wait_s=options.wait_s)
        else:
            sys.stdout.write(json.dumps(administration.administer(admin, options, sys.stdin)) + "\n")
    except (SettingsError, errors.ImagineoError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.auth", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    parser.set_defaults(command="serve")
    commands.add_parser("serve", help="serve AuthService until SIGTERM (the default)")
    migrating = commands.add_parser("migrate", help="bring the schema to its newest version")
    migrating.add_argument(
        "--wait-s", type=float, default=0.0, help="how long to wait for a database that is away, in seconds"
    )
    administration.add_commands(commands)
    return parser


async def _serve(settings: Settings, stop: asyncio.Event) -> None:
    probes = Probes()
    metrics_port = telemetry.serve(settings.metrics_listen, probes)
    async with (
        process.background(lambda: telemetry.watch_loop_lag("auth", probes)),
        app.running(settings, AuthMetrics(), telemetry.RpcMetrics("auth"), probes) as port,
    ):
        process.write_ports(settings.ports_file, listen=port, metrics=metrics_port)
        probes.begin()
        await stop.wait()
        probes.drain()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
