"""The operator's commands: they speak to the database directly, need no running service, and answer one JSON object."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TextIO

from imagineo.postgres.pool import Database

from services.auth import app
from services.auth.accounts import Permission
from services.auth.letters import Letters
from services.auth.operator_repository import OperatorRepository, Standing
from services.auth.people import Role
from services.auth.plans import Limits, Plan
from services.auth.registry import Registry
from services.auth.repository import Repository
from services.auth.settings import AdminSettings

Shown = dict[str, Any]
Command = Callable[[Database, argparse.Namespace, TextIO], Awaitable[Shown]]


def add_commands(commands: Any) -> None:
    """Describe the commands to the program's parser."""
    _add_organizations(commands)
    _add_users(commands)


def _add_organizations(commands: Any) -> None:
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


def _add_users(commands: Any) -> None:
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
    for name, what in (
        ("set-password", "replace a user's password by one from the standard input; their sessions end"),
        ("disable-user", "let a user in no more: sessions end, log-ins and the keys that they made are refused"),
        ("enable-user", "let a disabled user in again"),
        ("grant-administrator", "make a user one of those who run the platform"),
        ("withdraw-administrator", "take that back"),
    ):
        commands.add_parser(name, help=what).add_argument("--email", required=True)


def administer(settings: AdminSettings, options: argparse.Namespace, typed: TextIO) -> Shown:
    """Run one command.

    Args:
        settings: where the database is.
        options: what the parser read.
        typed: where a password is read from.

    Raises:
        ImagineoError: saying what is wrong.
    """

    async def run() -> Shown:
        dsn = settings.postgres_dsn.reveal()
        database = await Database.open(dsn, application_name="imagineo-auth-admin", max_size=1)
        try:
            return await _COMMANDS[options.command](database, options, typed)
        finally:
            await database.close()

    return asyncio.run(run())


async def _create_organization(database: Database, options: argparse.Namespace, _typed: TextIO) -> Shown:
    made = await Registry(Repository(database)).create_organization(options.name, options.plan, options.organization_id)
    return {"organization_id": made.organization_id, "name": made.name, "plan": made.plan}


async def _update_organization(database: Database, options: argparse.Namespace, _typed: TextIO) -> Shown:
    registry = Registry(Repository(database))
    before = (await registry.organization(options.organization_id)).overrides
    given = {name: getattr(options, name) for name in Limits.__dataclass_fields__}
    overrides = {name: getattr(before, name) if value is None else value for name, value in given.items()}
    made = await registry.update_organization(options.organization_id, options.plan, Limits(**overrides))
    return {"organization_id": made.organization_id, "name": made.name, "plan": made.plan}


async def _create_key(database: Database, options: argparse.Namespace, _typed: TextIO) -> Shown:
    registry = Registry(Repository(database))
    key, secret = await registry.create_key(options.organization_id, options.name, options.permission)
    return {"key_id": key.key_id, "organization_id": key.organization_id, "secret": secret}


async def _create_user(database: Database, options: argparse.Namespace, typed: TextIO) -> Shown:
    with app.reception(database, _NO_LETTERS, passwords_at_once=1) as people:
        user, was_created = await people.sign_in.create_user(
            options.email,
            _password(typed),
            options.name,
            options.organization_id,
            options.role,
            is_administrator=options.administrator,
            may_exist=options.existing,
        )
    shown = {"user_id": user.user_id, "email": user.email, "is_administrator": user.is_administrator}
    return shown | {"was_created": was_created}


async def _set_password(database: Database, options: argparse.Namespace, typed: TextIO) -> Shown:
    with app.reception(database, _NO_LETTERS, passwords_at_once=1) as people:
        hashed = await people.sign_in.hash_new(_password(typed), options.email)
    return _shown(await OperatorRepository(database).set_password(options.email, hashed))


def _disabling(*, is_disabled: bool) -> Command:
    async def run(database: Database, options: argparse.Namespace, _typed: TextIO) -> Shown:
        return _shown(await OperatorRepository(database).set_disabled(options.email, is_disabled=is_disabled))

    return run


def _administrating(*, is_administrator: bool) -> Command:
    async def run(database: Database, options: argparse.Namespace, _typed: TextIO) -> Shown:
        repository = OperatorRepository(database)
        return _shown(await repository.set_administrator(options.email, is_administrator=is_administrator))

    return run


def _password(typed: TextIO) -> str:
    return typed.readline().rstrip("\n")


def _shown(standing: Standing) -> Shown:
    user = standing.user
    return {
        "user_id": user.user_id,
        "email": user.email,
        "is_administrator": user.is_administrator,
        "is_disabled": standing.is_disabled,
        "sessions_ended": standing.sessions_ended,
    }


_NO_LETTERS: Final = Letters(None, sender="", public_url="")
_COMMANDS: Final[Mapping[str, Command]] = {
    "create-organization": _create_organization,
    "update-organization": _update_organization,
    "create-key": _create_key,
    "create-user": _create_user,
    "set-password": _set_password,
    "disable-user": _disabling(is_disabled=True),
    "enable-user": _disabling(is_disabled=False),
    "grant-administrator": _administrating(is_administrator=True),
    "withdraw-administrator": _administrating(is_administrator=False),
}
