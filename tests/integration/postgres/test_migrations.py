"""Migrations on a real server: replayed, raced, broken, and started while the server is away."""

from __future__ import annotations

import threading

import asyncpg
import pytest
from imagineo.errors import FailedPrecondition, Unavailable
from imagineo.postgres.migrations import migrate

from tests.support.servers import PostgresServer, free_port

pytestmark = pytest.mark.integration

STEP = '''"""{words}"""

from imagineo.postgres.migrations import sql_file

revision = "{number}"
down_revision = {before!r}
upgrade = sql_file(__file__)
'''

FIRST = """
CREATE TABLE orders.items (id int PRIMARY KEY, words text);  -- 100% "quoted": 'literally; so'
CREATE FUNCTION orders.double(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  RETURN n * 2;  -- a semicolon inside
END
$$;
"""


def write(folder, number, before, sql):
    folder.mkdir(exist_ok=True)
    (folder / f"{number}_step.py").write_text(STEP.format(words="A step.", number=number, before=before))
    (folder / f"{number}_step.sql").write_text(sql)


@pytest.fixture
def versions(tmp_path):
    folder = tmp_path / "migrations 100%"
    write(folder, "0001", None, FIRST)
    return folder


@pytest.fixture
def sql(dsn, postgres):
    return lambda statement: postgres.sql(statement, dsn.rpartition("/")[2])


def test_migrating_makes_the_schema_and_keeps_the_version_inside_it(dsn, sql, versions):
    migrate(dsn, "orders", versions)
    assert sql("SELECT orders.double(21)") == "42"
    assert sql("SELECT version_num FROM orders.alembic_version") == "0001"


def test_migrating_again_changes_nothing_and_a_new_step_runs_once(dsn, sql, versions):
    migrate(dsn, "orders", versions)
    sql("INSERT INTO orders.items VALUES (1, 'kept')")
    migrate(dsn, "orders", versions)
    write(versions, "0002", "0001", "ALTER TABLE orders.items ADD COLUMN price int; UPDATE orders.items SET price = 5;")
    migrate(dsn, "orders", versions)
    migrate(dsn, "orders", versions)
    assert sql("SELECT words, price FROM orders.items") == "kept|5"
    assert sql("SELECT version_num FROM orders.alembic_version") == "0002"


def test_a_step_that_fails_leaves_nothing_of_all_new_steps(dsn, sql, versions):
    write(versions, "0002", "0001", "CREATE TABLE orders.more (id int); SELECT 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        migrate(dsn, "orders", versions)
    assert sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'orders'") == "0"


def test_replicas_that_start_together_migrate_once(dsn, sql, versions):
    problems = []

    def run():
        try:
            migrate(dsn, "orders", versions)
        except Exception as problem:  # noqa: BLE001  # told to the test's own thread
            problems.append(problem)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert sql("SELECT count(*) FROM orders.alembic_version") == "1"


def test_two_services_share_a_database_with_a_history_each(dsn, sql, versions, tmp_path):
    migrate(dsn, "orders", versions)
    write(tmp_path / "other", "0001", None, "CREATE TABLE stock (id int);")
    migrate(dsn, "depot", tmp_path / "other")
    assert sql("SELECT count(*) FROM depot.stock") == "0"
    assert sql("SELECT version_num FROM depot.alembic_version") == "0001"


def test_migrating_over_a_unix_socket_works(dsn, sql, postgres, versions):
    database = dsn.rpartition("/")[2]
    migrate(postgres.socket_dsn(database), "orders", versions)
    assert sql("SELECT orders.double(1)") == "2"


def test_a_server_that_is_away_is_unavailable(versions):
    with pytest.raises(Unavailable):
        migrate(f"postgresql://postgres@127.0.0.1:{free_port()}/postgres", "orders", versions)


def test_a_server_that_starts_while_it_is_waited_for_is_migrated(tmp_path, versions):
    server = PostgresServer(tmp_path / "late", port=free_port())
    server.prepare()
    starting = threading.Timer(0.5, server.start)
    starting.start()
    try:
        migrate(server.dsn("postgres"), "orders", versions, wait_s=60)
        assert server.sql("SELECT orders.double(4)") == "8"
    finally:
        starting.join()
        server.stop()


@pytest.fixture
def role(dsn, sql, postgres):
    """A service's own role: it may connect, and no more."""
    sql("CREATE ROLE orders_service LOGIN PASSWORD 'of-its-own'")
    yield f"postgresql://orders_service:of-its-own@127.0.0.1:{postgres.port}/{dsn.rpartition('/')[2]}"
    sql("DROP OWNED BY orders_service; DROP ROLE orders_service")


def test_a_role_that_may_not_make_schemas_migrates_the_one_that_is_its_own(role, sql, versions):
    sql("CREATE SCHEMA orders AUTHORIZATION orders_service")
    migrate(role, "orders", versions)
    migrate(role, "orders", versions)
    assert sql("SELECT orders.double(3)") == "6"


def test_a_role_without_a_schema_is_told_what_to_run(role, sql, versions):
    with pytest.raises(FailedPrecondition, match="run: CREATE SCHEMA orders AUTHORIZATION") as refused:
        migrate(role, "orders", versions)
    sql(refused.value.message.partition("run: ")[2])
    migrate(role, "orders", versions)
    assert sql("SELECT count(*) FROM orders.items") == "0"
