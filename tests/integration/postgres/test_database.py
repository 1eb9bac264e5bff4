"""The pool through the faults of its server, and what it lets pass."""

from __future__ import annotations

import asyncio
import gc

import asyncpg
import pytest
from imagineo.errors import Unavailable
from imagineo.postgres.pool import ACQUIRE_TIMEOUT_S, CALL_TIMEOUT_S, Database

from tests.support.deadlines import SURELY_S, lived
from tests.support.servers import PostgresServer, free_port, postgres_server

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def fragile():
    """A server of this module's own, to be hurt."""
    with postgres_server() as server:
        yield server


@pytest.fixture
async def database(fragile: PostgresServer):
    made = await Database.open(fragile.dsn(), application_name="test", max_size=4)
    yield made
    await made.close()


async def until_well(database):
    async with asyncio.timeout(SURELY_S):
        while True:
            try:
                return await database.ping()
            except Unavailable:
                await asyncio.sleep(0.02)


async def test_each_call_gives_what_it_says(database):
    assert await database.fetchval("SELECT $1::int + 1", 1) == 2
    assert [row["n"] for row in await database.fetch("SELECT generate_series(1, 3) AS n")] == [1, 2, 3]
    assert (await database.fetchrow("SELECT 1 AS one"))["one"] == 1
    assert await database.fetchrow("SELECT 1 WHERE false") is None
    assert await database.execute("CREATE TABLE IF NOT EXISTS things (id int PRIMARY KEY)") == "CREATE TABLE"
    assert await database.fetchval("SHOW application_name") == "test"


async def test_a_transaction_commits_at_its_end_and_rolls_back_when_its_block_raises(database):
    await database.execute("CREATE TABLE IF NOT EXISTS things (id int PRIMARY KEY)")
    await database.execute("DELETE FROM things")
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO things VALUES (1)")

    async def fail_after_insert():
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO things VALUES (2)")
            raise KeyError

    with pytest.raises(KeyError):
        await fail_after_insert()
    assert [row["id"] for row in await database.fetch("SELECT id FROM things")] == [1]


async def test_errors_of_the_statement_pass_unchanged(database):
    await database.execute("CREATE TABLE IF NOT EXISTS things (id int PRIMARY KEY)")
    await database.execute("INSERT INTO things VALUES (7) ON CONFLICT DO NOTHING")
    with pytest.raises(asyncpg.UniqueViolationError):
        await database.execute("INSERT INTO things VALUES (7)")
    with pytest.raises(asyncpg.UndefinedTableError):
        await database.fetch("SELECT * FROM nothing_here")
    with pytest.raises(asyncpg.DataError):
        await database.fetch("SELECT $1::int", "not a number")
    with pytest.raises(asyncpg.InterfaceError):
        await database.fetch("SELECT $1::int", 1, 2)


async def test_it_opens_while_the_server_is_down_and_says_unavailable():
    database = await Database.open(f"postgresql://postgres@127.0.0.1:{free_port()}/postgres", application_name="early")
    with pytest.raises(Unavailable) as refused:
        await database.ping()
    assert refused.value.__cause__ is not None
    await database.close()


async def test_it_speaks_over_a_unix_socket_and_takes_sslmode(fragile):
    database = await Database.open(fragile.socket_dsn(), application_name="socket")
    assert await database.fetchval("SELECT inet_server_addr() IS NULL") is True
    await database.close()


async def test_a_slow_statement_ends_in_time_and_the_pool_serves_on(database):
    async with lived() as waited:
        with pytest.raises(Unavailable):
            await database.fetch("SELECT pg_sleep(30)")
    assert waited.s < CALL_TIMEOUT_S + 0.5, "a statement is given up at its deadline"
    assert await database.fetchval("SELECT 1") == 1


async def test_a_pool_with_all_connections_lent_refuses_within_a_second(database):
    held, release = asyncio.Semaphore(0), asyncio.Event()

    async def hold():
        async with database.connection():
            held.release()
            await release.wait()

    holders = [asyncio.create_task(hold()) for _ in range(4)]
    for _ in holders:
        await held.acquire()
    async with lived() as waited:
        with pytest.raises(Unavailable):
            await database.ping()
    assert waited.s < 1.5 * ACQUIRE_TIMEOUT_S, "who finds no connection free is refused at the deadline of that wait"
    release.set()
    await asyncio.gather(*holders)
    await database.ping()


async def test_a_frozen_server_ends_every_call_in_time_and_the_pool_heals(fragile, database):
    await asyncio.gather(*(database.ping() for _ in range(4)))

    async def ended(call):
        with pytest.raises(Unavailable):
            await call()

    async def in_transaction():
        async with database.transaction() as connection:
            await connection.execute("SELECT 1")

    fragile.freeze()
    try:
        calls = [database.ping] * 6 + [in_transaction] * 2
        async with lived() as waited:
            await asyncio.gather(*(ended(call) for call in calls))
    finally:
        fragile.thaw()
    assert waited.s < CALL_TIMEOUT_S + 0.5, "each call ends at its deadline, its wait for a connection included"
    await until_well(database)
    assert await asyncio.gather(*(database.fetchval("SELECT 1") for _ in range(8))) == [1] * 8


async def test_a_transaction_left_open_is_rolled_back_before_the_next_caller_has_its_connection(fragile):
    alone = await Database.open(fragile.dsn(), application_name="alone", max_size=1)
    await alone.execute("CREATE TABLE IF NOT EXISTS left_open (id int PRIMARY KEY)")
    async with alone.connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute("INSERT INTO left_open VALUES (1)")
    assert await alone.fetchval("SELECT count(*) FROM left_open") == 0
    await alone.close()


async def test_a_caller_that_gives_up_early_is_free_at_once_and_leaves_no_failure_that_nobody_sees(
    fragile, database, caplog
):
    await database.ping()
    fragile.freeze()
    try:
        async with lived() as waited:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await database.ping()
        assert waited.s < 0.8, "giving the connection back holds the caller up"
        for _ in range(2):  # longer than giving the connection back may take
            with pytest.raises(Unavailable):
                await database.ping()
    finally:
        fragile.thaw()
    await until_well(database)
    gc.collect()  # asyncio complains of a lost exception when its task goes
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


async def test_the_pool_survives_a_kill_of_the_server(fragile, database):
    await asyncio.gather(*(database.ping() for _ in range(4)))
    fragile.kill()
    with pytest.raises(Unavailable):
        await database.ping()
    fragile.start()
    await until_well(database)
    assert await asyncio.gather(*(database.fetchval("SELECT 1") for _ in range(20))) == [1] * 20


async def test_the_pool_survives_terminated_sessions(fragile, database):
    await asyncio.gather(*(database.ping() for _ in range(4)))
    fragile.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test'")
    await until_well(database)
    assert await asyncio.gather(*(database.fetchval("SELECT 1") for _ in range(20))) == [1] * 20


async def test_a_server_gone_in_mid_transaction_is_unavailable(fragile, database):
    async def lose_the_server():
        async with database.transaction() as connection:
            await connection.execute("SELECT 1")
            fragile.kill()
            await connection.execute("SELECT 1")

    with pytest.raises(Unavailable):
        await lose_the_server()
    fragile.start()
    await until_well(database)
