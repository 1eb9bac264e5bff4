"""Runs auth: `python -m services.auth` serves; `migrate`, `create-organization` and `create-key` are an operator's.

The operator's commands speak to the database directly, need no running service, and print one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagineo import errors, process
from imagineo.postgres.migrations import migrate
from imagineo.postgres.pool import Database
from imagineo.settings import SettingsError, read
from imagineo.telemetry import logs, tracing
from imagineo.telemetry import metrics as telemetry
from imagineo.telemetry.probes import Probes

from services.auth import app
from services.auth.accounts import Permission
from services.auth.letters import Letters
from services.auth.metrics import AuthMetrics
from services.auth.people import Role
from services.auth.plans import Limits, Plan
from services.auth.registry import Registry
from services.auth.repository import Repository
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
            migrate(admin.postgres_dsn.reveal(), "auth", MIGRATIONS)
        else:
            sys.stdout.write(json.dumps(asyncio.run(_administer(admin, options))) + "\n")
    except (SettingsError, errors.ImagineoError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.auth", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    parser.set_defaults(command="serve")
    commands.add_parser("serve", help="serve AuthService until SIGTERM (the default)")
    commands.add_parser("migrate", help="bring the schema to its newest version")
    create = commands.add_parser(
        "create-organization", help="make an organization; an --id that exists is shown as it is"
    )
    create.add_argument("--name", required=True)
    create.add_argument("--plan", required=True, type=Plan, choices=list(Plan))
    create.add_argument("--id", default="", dest="organization_id", help="org_…; made if absent")
    update = commands.add_parser("update-organization", help="change plan or limits; a limit of 0 is the plan's")
    update.add_argument("organization_id")
    update.add_argument("--plan", type=Plan, choices=list(Plan))
    for name in Limits.__dataclass_fields__:
        update.add_argument("--" + name.replace("_", "-"), type=int)
    key = commands.add_parser("create-key", help="make a key and print its secret, this once")
    key.add_argument("organization_id")
    key.add_argument("--name", required=True)
    permission_help = "may be repeated; all of them if left out"
    key.add_argument(
        "--permission", action="append", default=[], type=Permission, choices=list(Permission), help=permission_help
    )
    user = commands.add_parser(
        "create-user", help="make a user, member of an organization; the password is read from the standard input"
    )
    user.add_argument("organization_id")
    user.add_argument("--email", required=True)
    user.add_argument("--name", required=True)
    user.add_argument("--role", type=Role, choices=list(Role), default=Role.OWNER)
    user.add_argument("--administrator", action="store_true", help="may see all organizations and set their plans")
    user.add_argument(
        "--existing",
        action="store_true",
        help="take a user who has the address already: sets their password and ends their sessions",
    )
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


async def _administer(settings: AdminSettings, options: argparse.Namespace) -> dict[str, Any]:
    database = await Database.open(settings.postgres_dsn.reveal(), application_name="imagineo-auth-admin", max_size=1)
    registry = Registry(Repository(database))
    try:
        if options.command == "create-key":
            key, secret = await registry.create_key(options.organization_id, options.name, options.permission)
            return {"key_id": key.key_id, "organization_id": key.organization_id, "secret": secret}
        if options.command == "create-user":
            return await _create_user(database, options)
        if options.command == "create-organization":
            made = await registry.create_organization(options.name, options.plan, options.organization_id)
        else:
            given = {name: getattr(options, name) for name in Limits.__dataclass_fields__}
            made = await _update(registry, options.organization_id, options.plan, given)
        return {"organization_id": made.organization_id, "name": made.name, "plan": made.plan}
    finally:
        await database.close()


async def _update(registry: Registry, organization_id: str, plan: Plan | None, given: dict[str, int | None]) -> Any:
    before = (await registry.organization(organization_id)).overrides
    overrides = {name: getattr(before, name) if value is None else value for name, value in given.items()}
    return await registry.update_organization(organization_id, plan, Limits(**overrides))


async def _create_user(database: Database, options: argparse.Namespace) -> dict[str, Any]:
    password = sys.stdin.readline().rstrip("\n")
    with app.reception(database, Letters(None, sender="", public_url=""), passwords_at_once=1) as people:
        user, was_created = await people.sign_in.create_user(
            options.email,
            password,
            options.name,
            options.organization_id,
            options.role,
            is_administrator=options.administrator,
            may_exist=options.existing,
        )
    shown = {"user_id": user.user_id, "email": user.email, "is_administrator": user.is_administrator}
    return shown | {"was_created": was_created}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
