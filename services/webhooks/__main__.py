"""Runs webhooks: `python -m services.webhooks` serves; with `migrate` it brings the schema up to date."""

from __future__ import annotations

import argparse
import asyncio
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

from services.webhooks import app
from services.webhooks.metrics import WebhookMetrics
from services.webhooks.settings import PREFIX, MigrationSettings, Settings

MIGRATIONS = Path(__file__).parent / "migrations"


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m services.webhooks", description=__doc__)
    parser.add_argument("command", nargs="?", default="serve", choices=["serve", "migrate"])
    parser.add_argument(
        "--wait-s", type=float, default=0.0, help="how long to wait for a database that is away (migrate)"
    )
    options = parser.parse_args(arguments)
    try:
        if options.command == "migrate":
            admin = read(MigrationSettings, environ, prefix=PREFIX)
            logs.configure("webhooks", admin.log_level)
            migrate(admin.postgres_dsn.reveal(), "webhooks", MIGRATIONS, wait_s=options.wait_s)
            return 0
        settings = read(Settings, environ, prefix=PREFIX)
        logs.configure("webhooks", settings.log_level)
        with tracing.exporting("webhooks", settings):
            process.run(lambda stop: _serve(settings, stop))
    except (SettingsError, errors.ImagineoError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    return 0


async def _serve(settings: Settings, stop: asyncio.Event) -> None:
    probes = Probes()
    metrics_port = telemetry.serve(settings.metrics_listen, probes)
    async with (
        process.background(lambda: telemetry.watch_loop_lag("webhooks", probes)),
        app.running(settings, WebhookMetrics(), telemetry.RpcMetrics("webhooks"), probes) as port,
    ):
        process.write_ports(settings.ports_file, listen=port, metrics=metrics_port)
        probes.begin()
        await stop.wait()
        probes.drain()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
