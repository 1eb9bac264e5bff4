"""Owns the connections of a service: every call is bounded in time, and trouble with the server is `Unavailable`.

What a statement means is its repository's; errors of the statement itself (a unique violation) pass unchanged.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import asyncpg

from imagineo.errors import Unavailable

#: How long a caller waits for a free or a fresh connection.
ACQUIRE_TIMEOUT_S: Final = 1.0
#: How long one statement may take.
COMMAND_TIMEOUT_S: Final = 2.0
#: How long a call may take in all. asyncpg gives a connection back under a shield; only a deadline around acquire,
#: statement and release ends a call to a server that is frozen rather than gone.
CALL_TIMEOUT_S: Final = 2.4

_TROUBLE: Final = (
    OSError,  # refused, reset, no such socket; TimeoutError is one of them
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up, canceled by an operator
    asyncpg.InsufficientResourcesError,  # too many connections, disk full
    asyncpg.TransactionRollbackError,  # deadlock, serialization
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby, in a fail-over
)


class _Session(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection that costs no second round trip when it is given back.

    Statements here leave no session state to reset: settings are set for their transaction alone, locks are rows'.
    A transaction that was left open is rolled back all the same.
    """

    def get_reset_query(self) -> str:
        """Nothing to send."""
        return ""


async def open_pool(dsn: str, *, application_name: str, max_size: int = 8) -> asyncpg.Pool:
    """Make a pool that connects at the first use: it opens even while the server is down."""
    return await asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=max_size,
        connection_class=_Session,
        command_timeout=COMMAND_TIMEOUT_S,
        timeout=ACQUIRE_TIMEOUT_S,
        server_settings={"application_name": application_name},
    )


@contextlib.contextmanager
def mapped_errors() -> Iterator[None]:
    """Turn trouble with the server into `Unavailable`, with the cause kept; what the caller did wrong passes."""
    try:
        yield
    except _TROUBLE as problem:
        if _is_misuse(problem):
            raise
        raise Unavailable("The database is away for the moment.", metadata={"dependency": "postgres"}) from problem


def _is_misuse(problem: BaseException) -> bool:
    """Tell a wrong argument from trouble: asyncpg files both under InterfaceError."""
    if not isinstance(problem, asyncpg.InterfaceError):
        return False
    return isinstance(problem, ValueError | TypeError) or str(problem).startswith("the server expects")


class Database:
    """Runs statements on a pool; safe for any number of tasks of one event loop."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._given_back: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, dsn: str, *, application_name: str, max_size: int = 8) -> Database:
        """Make a database on a pool of its own; it opens even while the server is down."""
        return cls(await open_pool(dsn, application_name=application_name, max_size=max_size))

    @contextlib.asynccontextmanager
    async def connection(self, timeout_s: float = CALL_TIMEOUT_S) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection for at most `timeout_s`, all that the block does included.

        Raises:
            Unavailable: if no connection could be had, the server went away, or the time is up.
        """
        with mapped_errors():
            async with asyncio.timeout(timeout_s):
                connection = await self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
                try:
                    yield connection
                except BaseException:
                    self._give_back(connection)  # not waited for: of a frozen server it takes as long as the call
                    raise
                await asyncio.shield(self._give_back(connection))

    def _give_back(self, connection: asyncpg.Connection) -> asyncio.Task[None]:
        """Return a connection; whoever does not wait for it leaves its trouble to nobody."""
        task = asyncio.create_task(self._pool.release(connection))
        self._given_back.add(task)
        task.add_done_callback(self._note_given_back)
        return task

    def _note_given_back(self, task: asyncio.Task[None]) -> None:
        self._given_back.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, lest asyncio tells it as an error that nobody saw

    @contextlib.asynccontextmanager
    async def transaction(self, timeout_s: float = CALL_TIMEOUT_S) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection in a transaction that commits when the block ends and rolls back when it raises.

        An `Unavailable` that comes while the commit is on its way leaves the outcome unknown: read back by key.
        """
        async with self.connection(timeout_s) as connection, connection.transaction():
            yield connection

    async def fetch(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        """Run one statement and give all its rows."""
        async with self.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *args)
            return rows

    async def fetchrow(self, sql: str, *args: Any) -> asyncpg.Record | None:
        """Run one statement and give its first row, or None."""
        async with self.connection() as connection:
            return await connection.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """Run one statement and give the first value of its first row, or None."""
        async with self.connection() as connection:
            return await connection.fetchval(sql, *args)

    async def execute(self, sql: str, *args: Any) -> str:
        """Run one statement and give its command tag, such as `UPDATE 3`."""
        async with self.connection() as connection:
            tag: str = await connection.execute(sql, *args)
            return tag

    async def ping(self) -> None:
        """Ask the server for a sign of life.

        Raises:
            Unavailable: if there is none.
        """
        await self.execute("SELECT 1")

    async def close(self) -> None:
        """Close the pool; connections that do not end within a second are cut."""
        try:
            async with asyncio.timeout(ACQUIRE_TIMEOUT_S):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()
