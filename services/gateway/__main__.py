"""`python -m services.gateway` serves the REST API until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import sys

from imagineo import process, settings
from imagineo.telemetry import logs, tracing

from services.gateway.app import serve
from services.gateway.settings import GatewaySettings


def main() -> None:
    """Read the environment and serve."""
    try:
        found = settings.read(GatewaySettings, os.environ, prefix="IMAGINEO_GATEWAY_")
    except settings.SettingsError as problem:
        sys.exit(str(problem))
    logs.configure("gateway", found.log_level)

    async def run(stop: asyncio.Event) -> None:
        await serve(found, stop)

    try:
        with tracing.exporting("gateway", found):
            process.run(run)
    except settings.SettingsError as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
