"""Brings a service's schema to its newest version: Alembic's Python API over the service's numbered SQL files.

A service keeps `NNNN_words.py` (revision, down_revision, `upgrade = sql_file(__file__)`) beside `NNNN_words.sql`. All
that is new runs in one transaction under an advisory lock: many starting replicas may call it, one does the work.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import asyncpg
from alembic import op
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from imagineo.errors import FailedPrecondition, Unavailable
from imagineo.postgres.pool import mapped_errors

log = logging.getLogger(__name__)

#: How long to reach the server; how long to wait for another replica that migrates.
_CONNECT_TIMEOUT_S: Final = 10.0
_TURN_TIMEOUT: Final = "120s"
#: A migration that waits for a table's lock blocks all who come after it: rather fail soon and be run again.
_LOCK_TIMEOUT: Final = "5s"
#: How long to rest before a server that was away is asked again.
_REST_S: Final = 2.0


def migrate(dsn: str, schema: str, versions: Path, *, wait_s: float = 0.0) -> None:
    """Create `schema` if need be and bring it to the newest version; nothing happens if it is there already.

    Raises:
        Unavailable: if the server is away or a lock could not be had in time, and still after `wait_s`; nothing was
            changed.
        FailedPrecondition: if the schema is not there and the role may not create it.
    """
    until_s = time.monotonic() + wait_s
    while True:
        try:
            with mapped_errors():
                asyncio.run(_migrate(dsn, schema, versions))
        except Unavailable as problem:
            if time.monotonic() + _REST_S > until_s:
                raise
            log.warning("the database is away and is asked again in %g s: %s", _REST_S, problem.__cause__ or problem)
            time.sleep(_REST_S)
        else:
            return


def sql_file(python_file: str) -> Callable[[], None]:
    """Give an `upgrade` that runs the .sql file beside `python_file`; it may hold many statements and functions."""
    path = Path(python_file).with_suffix(".sql")

    def upgrade() -> None:
        _run_script(op.get_bind(), path.read_text(encoding="utf-8"))

    return upgrade


def _run_script(connection: Connection, script: str) -> None:
    """Run many statements at once: the driver's own simple protocol, inside the transaction that stands."""
    adapted: Any = connection.connection.dbapi_connection
    adapted.run_async(lambda driver: driver.execute(script))


async def _migrate(dsn: str, schema: str, versions: Path) -> None:
    async def connect() -> asyncpg.Connection:
        # The driver reads the DSN itself: libpq's forms (unix sockets, sslmode) work here as they do in the pool.
        return await asyncpg.connect(
            dsn, timeout=_CONNECT_TIMEOUT_S, server_settings={"application_name": f"imagineo-{schema}-migrate"}
        )

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade, schema, versions)
    finally:
        await engine.dispose()


def _make_schema(connection: Connection, schema: str) -> None:
    """Looks first: the server asks for the right to create schemas even where `IF NOT EXISTS` has nothing to do."""
    if connection.exec_driver_sql("SELECT 1 FROM pg_namespace WHERE nspname = $1", (schema,)).first():
        return
    role, database, may = connection.exec_driver_sql(
        "SELECT current_user, current_database(), has_database_privilege(current_database(), 'CREATE')"
    ).one()
    if not may:
        raise FailedPrecondition(
            f"The role {role} may not make the schema {schema} in the database {database}. As its owner, run: "
            f'CREATE SCHEMA {schema} AUTHORIZATION "{role}"'
        )
    connection.exec_driver_sql(f'CREATE SCHEMA "{schema}"')


def _upgrade(connection: Connection, schema: str, versions: Path) -> None:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_TURN_TIMEOUT}'")
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", (f"imagineo.{schema}",))
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
    _make_schema(connection, schema)
    connection.exec_driver_sql(f'SET LOCAL search_path = "{schema}", public')

    config = Config()
    config.set_main_option("script_location", str(versions).replace("%", "%%"))
    config.set_main_option("version_locations", str(versions).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    script = ScriptDirectory.from_config(config)

    def steps(revision: Any, _context: Any) -> Any:
        return script._upgrade_revs("heads", revision)  # noqa: SLF001  # Alembic's own commands call it; there is no other

    with EnvironmentContext(config, script, fn=steps, destination_rev="heads") as environment:
        environment.configure(connection=connection, version_table_schema=schema)
        with Operations.context(environment.get_context()):
            environment.run_migrations()
