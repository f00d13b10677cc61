"""Row 32: the database goes away, somebody else changes a row, two transactions lock each other out, a kill between."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from sqlalchemy import make_url

from migrator.core.records import Recorded
from tests.faults import actions
from tests.faults.checker import Bucket
from tests.faults.harness import Migration, finish, kill, table
from tests.faults.line import Line
from tests.faults.proxy import Proxy, Rule
from tests.records.world import World, changes
from tests.servers import databases
from tests.servers.databases import TestDatabase

pytestmark = pytest.mark.faults

ROWS = 60
OBJECTS = r"/new/"
PATIENCE = 30.0
"""Seconds within which something must happen that nothing keeps from happening."""


# Every test has either database in `make faults`, and one of them in every check.
on_postgresql = pytest.mark.parametrize(
    "database", ["postgresql", pytest.param("mysql", marks=pytest.mark.slow)], indirect=True
)
on_mysql = pytest.mark.parametrize(
    "database", [pytest.param("postgresql", marks=pytest.mark.slow), "mysql"], indirect=True
)
on_both = pytest.mark.parametrize("database", ["postgresql", "mysql"], indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[TestDatabase]:
    """A table of rows whose `updates` the database itself counts."""
    made = {"postgresql": databases.postgresql, "mysql": databases.mariadb}
    with made[request.param]() as database:
        database.run(
            "CREATE TABLE images (id integer PRIMARY KEY, path varchar(50), s3_key varchar(100), bucket varchar(100),"
            " updates integer NOT NULL DEFAULT 0)",
            "INSERT INTO images (id, path, bucket) VALUES "
            + ", ".join(f"({number}, '{number}.bin', 'old')" for number in range(1, ROWS + 1)),
        )
        if database.dialect == "postgresql":
            database.run(
                "CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN NEW.updates := OLD.updates + 1; RETURN NEW; END $$",
                "CREATE TRIGGER counted BEFORE UPDATE ON images FOR EACH ROW EXECUTE FUNCTION counted()",
            )
        else:
            database.run(
                "CREATE TRIGGER counted BEFORE UPDATE ON images FOR EACH ROW SET NEW.updates = OLD.updates + 1"
            )
        yield database


def migration_of(folder: Path, bucket: Bucket, database: TestDatabase, *, port: int = 0, **more: Any) -> Migration:
    """Local files named by rows; `port` leads to the database by way of a proxy."""
    (folder / "tree").mkdir()
    for number in range(1, ROWS + 1):
        (folder / "tree" / f"{number}.bin").write_bytes(b"%d" % number)
    source = {
        "name": "images",
        "type": "table",
        "database_url_env": "ROWS_URL",
        "query": "SELECT id, path FROM images WHERE bucket = 'old'",
        "primary_key": ["id"],
        "location": "{path}",
        "root": str(folder / "tree"),
        "key": "new/{path}",
    }
    transfer = {"retries": 2} | more.pop("transfer", {})
    migration = Migration(folder, bucket, sources=[source], transfer=transfer, **more)
    update = {"table": "images", "set": {"s3_key": "{key}", "bucket": "{destination.bucket}"}}
    migration.config.write_text(migration.config.read_text() + table("[sources.update]", update))
    migration.environment["ROWS_URL"] = database.through(port) if port else database.url
    return migration


def until(happened: Callable[[], bool], what: str) -> None:
    """Waits for something that cannot be waited for otherwise."""
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def states(migration: Migration) -> dict[str, int]:
    """How many records of the ledger are in each state."""
    if not migration.ledger.exists():
        return {}
    try:
        return dict(migration.rows("SELECT state, count(*) FROM records GROUP BY 1"))
    except Exception:  # the ledger is only just being made
        return {}


def every_row_once(database: TestDatabase, bucket: Bucket) -> bool:
    """All rows point to their objects, and each was updated once."""
    rows = database.rows("SELECT id, s3_key, bucket, updates FROM images ORDER BY id")
    return rows == [(number, f"new/{number}.bin", bucket.name, 1) for number in range(1, ROWS + 1)]


@on_mysql
def test_row_32_objects_go_on_while_the_database_is_away(
    folder: Path, bucket: Bucket, proxy: Proxy, database: TestDatabase
) -> None:
    with Line(database.address) as line:
        migration = migration_of(folder, bucket, database, port=line.port, endpoint=proxy.url)
        proxy.rules.append(Rule(actions.delay(0.4), method="PUT", target=OBJECTS, times=None))
        process = migration.start()
        proxy.wait("PUT", OBJECTS, number=18)
        line.cut()
        proxy.wait("PUT", OBJECTS, number=ROWS)
        assert line.refused.wait(PATIENCE)
        assert process.poll() is None
        line.mend()
        finished = finish(process)
    assert finished.status == 0, finished.words
    assert every_row_once(database, bucket)


@on_postgresql
def test_row_32_a_database_that_stays_away_leaves_rows_for_the_next_run(
    folder: Path, bucket: Bucket, proxy: Proxy, database: TestDatabase
) -> None:
    with Line(database.address) as line:
        migration = migration_of(folder, bucket, database, port=line.port, endpoint=proxy.url)
        proxy.rules.append(Rule(actions.delay(0.4), method="PUT", target=OBJECTS, times=None))
        process = migration.start()
        proxy.wait("PUT", OBJECTS, number=18)
        line.cut()
        finished = finish(process)
        assert finished.status == 3, finished.words
        assert "Traceback" not in finished.words
        assert 'rows of the source "images" are left' in finished.words
        assert {state for state, _ in migration.items().values()} == {"stored"}, "every object has arrived"
        left = states(migration)
        assert left.get("failed", 0) == 0
        assert left.get("ready", 0) + left.get("intended", 0) > 0
        proxy.rules.clear()
        line.mend()
        finished = migration.run()
    assert finished.status == 0, finished.words
    assert every_row_once(database, bucket)


@on_mysql
def test_row_32_rows_of_somebody_else_are_left_alone(folder: Path, bucket: Bucket, database: TestDatabase) -> None:
    migration = migration_of(folder, bucket, database)
    assert migration.run("plan").status == 0
    database.run(
        "UPDATE images SET path = 'other.bin' WHERE id = 3",
        "UPDATE images SET bucket = 'theirs' WHERE id = 4",
        "DELETE FROM images WHERE id = 5",
    )
    finished = migration.run()
    assert finished.status == 1, finished.words
    assert set(migration.items()) == {f"new/{number}.bin" for number in range(1, ROWS + 1)}, "objects stay"
    assert states(migration) == {"recorded": ROWS - 3, "failed": 3}
    assert database.rows("SELECT id, s3_key, bucket FROM images WHERE id IN (3, 4) ORDER BY id") == [
        (3, None, "old"),
        (4, None, "theirs"),
    ]
    told = dict(migration.rows("SELECT primary_key, message FROM records WHERE state = 'failed'"))
    assert "somebody changed path since the scan" in told["[3]"]
    assert "the query no longer finds it" in told["[4]"]
    assert "it is no longer there" in told["[5]"]


@on_mysql
def test_row_32_a_kill_between_the_commit_and_the_ledger(folder: Path, bucket: Bucket, database: TestDatabase) -> None:
    with Line(database.address, hold_commit=True) as line:
        migration = migration_of(folder, bucket, database, port=line.port)
        process = migration.start()
        assert line.held.wait(PATIENCE)
        until(lambda: database.value("SELECT count(*) FROM images WHERE updates > 0") > 0, "the commit")
        kill(process)
    assert states(migration).get("recorded", 0) == 0
    migration.environment["ROWS_URL"] = database.url
    finished = migration.run()
    assert finished.status == 0, finished.words
    assert every_row_once(database, bucket), "what was committed is adopted, not made again"
    images = migration.rows("SELECT DISTINCT before_image FROM records")
    assert images == [('{"bucket":"old","s3_key":null}',)], "the way back is kept"


@on_both
def test_row_32_a_database_that_falls_silent_is_asked_again_on_another_connection(
    folder: Path, bucket: Bucket, database: TestDatabase
) -> None:
    """The line stays up and says no more, as behind a pooler that hangs or a router that has died."""
    with Line(database.address, hold_commit=True) as line:
        finished = migration_of(folder, bucket, database, port=line.port, transfer={"timeout": "1s"}).run()
        assert line.held.is_set()
    assert finished.status == 0, finished.words
    assert every_row_once(database, bucket), "what was committed without a word is adopted"


@on_postgresql
def test_row_32_a_kill_between_the_intent_and_the_update(folder: Path, bucket: Bucket, database: TestDatabase) -> None:
    migration = migration_of(folder, bucket, database)
    with closing(other_session(database)) as other:
        other.cursor().execute("UPDATE images SET updates = 0 WHERE id = 1")  # holds its lock
        process = migration.start()
        until(lambda: states(migration).get("intended", 0) > 0, "the intent")
        kill(process)
        other.rollback()
    finished = migration.run()
    assert finished.status == 0, finished.words
    assert every_row_once(database, bucket)


def other_session(database: TestDatabase) -> Any:
    """A connection of somebody else's, whose statements are one transaction."""
    url = make_url(database.url)
    if database.dialect == "postgresql":
        # Whoever waits longer than this looks for a deadlock and is its victim: that must be the tool.
        return psycopg.connect(
            host=url.host, port=url.port, user=url.username, dbname=url.database, options="-c deadlock_timeout=60s"
        )
    return pymysql.connect(host=url.host or "", port=url.port or 0, user=url.username, database=url.database)


@on_both
def test_row_32_a_deadlock_is_tried_again(database: TestDatabase) -> None:
    """The tool holds rows and waits for the last; somebody who holds that one wants the first."""
    database.run("CREATE TABLE work (id integer PRIMARY KEY)")
    world = World(database, {"s3_key": "{key}"})
    world.rows.prepare()
    todo = changes(world.rows.inspect(world.tasks()))
    outcomes: list[object] = []
    with closing(other_session(database)) as other:
        cursor = other.cursor()
        # The server gives up who has done less.
        cursor.execute("INSERT INTO work VALUES " + ", ".join(f"({number})" for number in range(5000)))
        cursor.execute(f"UPDATE images SET bucket = 'old' WHERE id = {ROWS}")
        thread = threading.Thread(target=lambda: outcomes.extend(world.rows.apply(todo)))
        thread.start()
        until(lambda: database.value(WAITING[database.dialect]) > 0, "the tool to wait for the last row")
        cursor.execute("UPDATE images SET bucket = 'old' WHERE id = 1")
        other.rollback()
    thread.join(PATIENCE)
    assert outcomes == [Recorded()] * ROWS
    assert database.rows("SELECT DISTINCT s3_key, updates FROM images") == [("new/a b.jpg", 1)]
    assert deadlocks(database) > 0
    world.close()


WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND wait_event_type = 'Lock'",
    "mysql": "SELECT count(*) FROM information_schema.innodb_lock_waits",
}


def deadlocks(database: TestDatabase) -> int:
    """Deadlocks that the server has seen."""
    if database.dialect == "postgresql":
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        until(lambda: database.value(query) > 0, "the server's statistics")
        return int(database.value(query))
    return int(database.rows("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")[0][1])
