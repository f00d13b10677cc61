"""What the update of some rows costs the user's database does not grow with the other rows of the table.

A statement that reads the whole table for each batch passes every other test, and on MariaDB it locks what it reads.
"""

from typing import Any

import pytest
from sqlalchemy import event

from migrator.core.records import Recorded
from tests.faults.line import Line
from tests.records.world import World, changes
from tests.servers.databases import TestDatabase

FEW, MANY = 2_000, 100_000
"""Rows of the table."""
BATCH = 500
"""Rows that are updated: what the engine takes at a time."""
_EVERY = 100
"""SQLite's virtual machine reports each time that it has made so many steps."""

_COUNTS = {
    "postgresql": "SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0) FROM pg_stat_xact_user_tables",
    "mysql": "SELECT sum(variable_value) FROM information_schema.session_status"
    " WHERE variable_name LIKE 'handler_read%'",
}
"""What the server has read so far for the transaction or session that asks."""


class Reads:
    """Rows that a database reads for the statements of one client; steps of its machine where it is SQLite."""

    def __init__(self, world: World) -> None:
        self.made = 0
        self._before = 0
        self._dialect = world.client.dialect
        event.listen(world.client.engine, "before_cursor_execute", self._begin)
        event.listen(world.client.engine, "after_cursor_execute", self._end)

    def _begin(self, connection: Any, *_: object) -> None:
        if self._dialect == "sqlite":
            connection.connection.dbapi_connection.set_progress_handler(self._step, _EVERY)
        else:
            self._before = self._so_far(connection)

    def _end(self, connection: Any, *_: object) -> None:
        if self._dialect != "sqlite":
            self.made += self._so_far(connection) - self._before

    def _so_far(self, connection: Any) -> int:
        cursor = connection.connection.dbapi_connection.cursor()
        cursor.execute(_COUNTS[self._dialect])
        ((count,),) = cursor.fetchall()
        return int(count)

    def _step(self) -> int:
        self.made += _EVERY
        return 0


KEYS = {
    "integer": ("id", "id bigint"),
    "text": ("id", "id varchar(40)"),
    "tenant and integer": ("tenant, id", "tenant integer, id integer"),
    "tenant and text": ("tenant, id", "tenant varchar(20), id varchar(40)"),
}
"""Primary keys: the names of the columns, and how they are made."""

_OPTIONS = {"mysql": " COLLATE utf8mb4_general_ci"}
_ANALYSE = {"mysql": "ANALYZE TABLE images", "sqlite": "ANALYZE", "postgresql": "ANALYZE images"}
_DIGITS = "(SELECT 0 AS d" + "".join(f" UNION ALL SELECT {digit}" for digit in range(1, 10)) + ")"


def filled(database: TestDatabase, kind: str, rows: int) -> World:
    """A source of so many rows, all of one tenant where there are tenants."""
    names, columns = KEYS[kind]
    number = "+".join(f"{letter}.d*{10**place}" for place, letter in enumerate("abcdef"))
    text = f"CAST({number} AS char(9))" if database.dialect == "mysql" else f"CAST({number} AS varchar(9))"
    values = (["7"] if "tenant" in names else []) + [text if "text" in kind else number, text, "NULL"]
    database.run(
        "DROP TABLE IF EXISTS images",
        f"CREATE TABLE images ({columns}, path varchar(40), s3_key varchar(40), PRIMARY KEY ({names}))"
        + _OPTIONS.get(database.dialect, ""),
        f"INSERT INTO images SELECT {', '.join(values)} FROM {', '.join(f'{_DIGITS} AS {one}' for one in 'abcdef')}"
        f" WHERE {number} < {rows}",
        _ANALYSE[database.dialect],
    )
    key = tuple(names.split(", "))
    # Many a URL of MySQL's asks for the older character set: what it sends is then no text of the column's.
    url = f"{database.url}?charset=utf8" if database.dialect == "mysql" else ""
    return World(database, {"s3_key": "{key}"}, key=key, query=f"SELECT {names}, path FROM images", url=url)


def cost(database: TestDatabase, kind: str, rows: int) -> int:
    """What the update of some of so many rows reads."""
    world = filled(database, kind, rows)
    tasks = world.tasks()[:: rows // BATCH][:BATCH]
    world.rows.prepare()
    reads = Reads(world)
    assert world.rows.apply(changes(world.rows.inspect(tasks))) == [Recorded()] * BATCH
    world.close()
    assert database.value("SELECT count(*) FROM images WHERE s3_key IS NOT NULL") == BATCH
    return reads.made


@pytest.mark.parametrize("kind", KEYS)
def test_an_update_reads_its_own_rows(database: TestDatabase, kind: str) -> None:
    few, many = cost(database, kind, FEW), cost(database, kind, MANY)
    assert few > BATCH
    assert many < 3 * few


@pytest.mark.parametrize("together", [True, False])
def test_mysql_is_asked_for_many_updates_at_once(
    mariadb: TestDatabase, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server a millisecond away takes as long for each answer as an object takes to move."""
    if not together:  # as where something between us and the server takes one statement at a time
        monkeypatch.setattr("pymysql.constants.CLIENT.MULTI_STATEMENTS", 0)
    world = filled(mariadb, "integer", FEW)
    world.close()
    with Line(mariadb.address) as line:
        world = World(mariadb, {"s3_key": "{key}"}, url=mariadb.through(line.port))
        tasks = world.tasks()[:BATCH]
        world.rows.prepare()
        before = line.asked
        outcomes = world.rows.apply(changes(world.rows.inspect(tasks)))
        asked = line.asked - before
        world.close()
    assert outcomes == [Recorded()] * BATCH
    assert mariadb.value("SELECT count(*) FROM images WHERE s3_key IS NOT NULL") == BATCH
    assert asked < BATCH / 10 if together else asked > BATCH
