"""Values of every usual type: read exactly, written as the column means them, refused where it cannot hold them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from migrator.core.errors import PreflightError
from migrator.core.records import Recorded, RowChange
from migrator.core.row_values import read_values
from migrator.records.preview import preview
from tests.records.world import World, changes, complaint
from tests.servers.databases import TestDatabase

POSTGRESQL: list[tuple[str, str, str, Any]] = [
    ("smallint", "-7", "-8", -8),
    ("bigint", "9007199254740993", "9223372036854775807", 2**63 - 1),
    ("numeric(10,2)", "1.10", "1.2", Decimal("1.20")),
    ("numeric", "0.30000000000000000000001", "1e3", Decimal("1e3")),
    ("real", "0.1", "1.1", 1.1),
    ("double precision", "'NaN'", "0.1", 0.1),
    ("boolean", "NULL", "yes", True),
    ("text", "'it''s \"%s\" \\ é'", "a 'quote' and %s \\", "a 'quote' and %s \\"),
    ("varchar(5)", "'abc'", "日本語日本", "日本語日本"),
    ("char(5)", "'ab'", "abc", "abc  "),
    ("bytea", "'\\x00ff'", "text", b"text"),
    ("uuid", "'00000000-0000-0000-0000-00000000000A'", "0" * 31 + "b", UUID(int=11)),
    ("mood", "'glad'", "sad", "sad"),
    ("json", '\'{"b": 1.10,  "a": [1]}\'', '{"key": "x"}', '{"key": "x"}'),
    ("jsonb", '\'{"b": 1.10,  "a": [1]}\'', '{"b": 1.5,"a":2}', '{"a": 2, "b": 1.5}'),
    ("date", "'2026-01-02'", "2026-01-31", date(2026, 1, 31)),
    ("timestamp", "'2026-01-02 03:04:05.000001'", "2026-01-31T01:02:03.4", datetime(2026, 1, 31, 1, 2, 3, 400000)),
    (
        "timestamptz",
        "'2026-01-02 03:04:05.000001+05:30'",
        "2026-01-31T01:02:03+02:00",
        datetime(2026, 1, 30, 23, 2, 3, tzinfo=UTC),
    ),
    ("interval", "'1 month 2 days'", "3 months", "3 mons"),
    ("text[]", "ARRAY['a,b', NULL]", '{"c d", e}', '{"c d",e}'),
    ("integer[]", "ARRAY[1, 2]", "{3}", "{3}"),
    ("inet", "'10.0.0.1/8'", "10.0.0.2", "10.0.0.2/32"),
    ("int4range", "'[1,5)'", "[2,3)", "[2,3)"),
    ("short", "'ab'", "abc", "abc"),
]
MARIADB: list[tuple[str, str, str, Any]] = [
    ("tinyint", "-7", "-8", -8),
    ("bigint unsigned", "9007199254740993", "18446744073709551615", 2**64 - 1),
    ("decimal(10,2)", "1.10", "1.2", Decimal("1.20")),
    ("float", "0.1", "1.5", 1.5),
    ("double", "0.1", "0.3", 0.3),
    ("boolean", "NULL", "true", 1),
    ("bit(1)", "b'0'", "true", b"\x01"),
    ("text", "'it''s \"%s\" é'", "a 'quote' and %s \\", "a 'quote' and %s \\"),
    ("varchar(5)", "'abc'", "日本語日本", "日本語日本"),
    ("varchar(5) CHARACTER SET latin1", "'é'", "ü", "ü"),
    ("varbinary(10)", "x'00ff'", "text", b"text"),
    ("uuid", "'00000000-0000-0000-0000-00000000000A'", "0" * 31 + "B", "00000000-0000-0000-0000-00000000000b"),
    ("enum('glad','sad')", "'glad'", "sad", "sad"),
    ("json", '\'{"b": 1.10,  "a": [1]}\'', '{"key": "x"}', '{"key": "x"}'),
    ("date", "'2026-01-02'", "2026-01-31", date(2026, 1, 31)),
    ("datetime(6)", "'2026-01-02 03:04:05.000001'", "2026-01-31T01:02:03.4", datetime(2026, 1, 31, 1, 2, 3, 400000)),
    ("datetime", "'2026-01-02 03:04:05'", "2026-01-31T01:02:03", datetime(2026, 1, 31, 1, 2, 3)),
    ("timestamp NULL", "'2026-01-02 03:04:05'", "2026-01-31T01:02:03", datetime(2026, 1, 31, 1, 2, 3)),
    ("time(3)", "'-01:02:03.5'", "01:02:03.25", timedelta(hours=1, minutes=2, seconds=3, milliseconds=250)),
    ("year", "2025", "2026", 2026),
    ("set('a','b')", "'a'", "a,b", "a,b"),
]
SQLITE: list[tuple[str, str, str, Any]] = [
    ("INTEGER", "-7", "-8", -8),
    ("BOOLEAN", "NULL", "true", 1),
    ("NUMERIC(10,2)", "1.10", "1.2", 1.2),
    ("REAL", "0.1", "1e1", 10.0),
    ("VARCHAR(3)", "'abc'", "abcdef", "abcdef"),
    ("TEXT", "'it''s \"%s\" é'", "a 'quote' and %s ?", "a 'quote' and %s ?"),
    ("BLOB", "x'00ff'", "text", b"text"),
    ("JSON", "'{\"b\": 1.10}'", '{"key": "x"}', '{"key": "x"}'),
    ("DATETIME", "'2026-01-02 03:04:05'", "2026-01-31T01:02:03Z", "2026-01-31T01:02:03Z"),
    ("", "'anything'", "7", "7"),
    ("TEXT", "x'ff00'", "text", "text"),
]
TYPES = {"postgresql": POSTGRESQL, "mysql": MARIADB, "sqlite": SQLITE}
AS_TEXT = ("json", "jsonb", "interval", "text[]", "integer[]", "inet", "int4range")
"""Types of PostgreSQL that are read as the server's own text."""


@contextmanager
def column(database: TestDatabase, kind: str, value: str) -> Iterator[World]:
    """One row with one column of this type and value."""
    if database.dialect == "postgresql":
        database.run("CREATE TYPE mood AS ENUM ('glad', 'sad')", "CREATE DOMAIN short AS varchar(5)")
    database.run(
        f"CREATE TABLE images (id integer PRIMARY KEY, path varchar(9), held {kind})",
        f"INSERT INTO images VALUES (1, 'a', {value}), (2, 'a', NULL)",
    )
    world = World(database, {"held": "{value}"})
    world.rows.prepare()
    yield world
    world.close()


@pytest.mark.parametrize("number", range(max(map(len, TYPES.values()))))
def test_a_value_survives(database: TestDatabase, number: int) -> None:
    """Old value -> new value, and back from the before-image; both times nothing is taken for changed."""
    if number >= len(TYPES[database.dialect]):
        return
    kind, before, after, expected = TYPES[database.dialect][number]
    with column(database, kind, before) as world:
        cast = "held::text" if database.dialect == "postgresql" else "held"
        original = database.rows(f"SELECT {cast} FROM images ORDER BY id")
        tasks = world.tasks(fields={"value": after})
        todo = changes(world.rows.inspect(tasks))
        assert world.rows.apply(todo) == [Recorded()] * 2
        read = cast if kind in AS_TEXT else "held"
        assert database.rows(f"SELECT {read} FROM images") == [(expected,)] * 2
        assert world.rows.inspect(tasks) == [Recorded(adopted=True)] * 2, "the new value is known again"

        back = [
            RowChange(change.task, before=world.rows._spelled(row), after=change.before)
            for change, row in zip(todo, standing(world), strict=True)
        ]
        assert world.rows.apply(back) == [Recorded()] * 2
        assert database.rows(f"SELECT {cast} FROM images ORDER BY id") == original


def standing(world: World) -> list[tuple[Any, ...]]:
    """What stands in the set columns, as the tool reads it."""
    table = world.rows._ready_table()
    with world.client.reading() as connection:
        found = table.rows(connection, [(1,), (2,)])
    return [found[("1",)][0], found[("2",)][0]]


REFUSED = {
    "postgresql": [
        ("integer", "12a", '"12a" is no whole number'),
        ("smallint", "40000", "40000 is not within -32768 and 32767"),
        ("numeric(4,2)", "1.234", "1.234 has 3 decimals and the column keeps 2"),
        ("numeric(4,2)", "123", "123 has more than 2 digits before the point"),
        ("real", "nan", '"nan" is no finite number'),
        ("boolean", "maybe", '"maybe" is neither true nor false'),
        ("varchar(3)", "abcd", "it has 4 characters and the column holds 3"),
        ("text", "a\0b", "it holds a NUL character"),
        ("uuid", "x", '"x" is no UUID'),
        ("mood", "angry", '"angry" is none of glad, sad'),
        ("jsonb", "{", "it is no JSON"),
        ("date", "2026-02-30", '"2026-02-30" is no date such as 2026-01-31'),
        ("timestamp", "2026-01-01T00:00:00Z", "names a zone, and the column has none"),
        ("timestamptz", "2026-01-01T00:00:00", "names no zone, such as +00:00, and the column has one"),
        ("timestamp(0)", "2026-01-01T00:00:00.5", "the column keeps 0 digits of the second"),
    ],
    "mysql": [
        ("tinyint unsigned", "-1", "-1 is not within 0 and 255"),
        ("mediumint", "8388608", "8388608 is not within -8388608 and 8388607"),
        ("datetime", "2026-01-01T00:00:00.5", "the column keeps 0 digits of the second"),
        ("enum('a','b')", "A", '"A" is none of a, b'),
        ("varchar(3)", "abcd", "it has 4 characters and the column holds 3"),
    ],
    "sqlite": [("INTEGER", "x", '"x" is no whole number'), ("JSON", "x", "it is no JSON")],
}


def test_what_a_column_cannot_hold_is_refused_by_its_name(database: TestDatabase) -> None:
    for kind, text, message in REFUSED[database.dialect]:
        with column(database, kind, "NULL") as world:
            before = database.rows("SELECT * FROM images ORDER BY id")
            first, _ = world.rows.inspect(world.tasks(fields={"value": text}))
            assert complaint(first).startswith("invalid: row id=1 of images: held ("), kind
            assert message in complaint(first), kind
            assert database.rows("SELECT * FROM images ORDER BY id") == before
        drop(database)


LATE = {
    "postgresql": [
        ("integer[]", "no array", "malformed array literal"),
        ("interval", "soon", "invalid input syntax"),
        ("short", "abcdef", "value too long"),
    ],
    "mysql": [("tinytext", "x" * 300, "too long"), ("varchar(5) CHARACTER SET latin1", "日", "ncorrect string value")],
    "sqlite": [("integer CHECK (held > 5)", "3", "CHECK constraint failed")],
}


def test_what_only_the_database_refuses_is_told_too(database: TestDatabase) -> None:
    """Also by a server that is set to cut what is too long."""
    for kind, text, message in LATE[database.dialect]:
        with column(database, kind, "NULL") as world:
            outcomes = world.update(world.tasks(fields={"value": text}))
            assert all(message in complaint(outcome) for outcome in outcomes), outcomes
            assert complaint(outcomes[0]).startswith("invalid: row id=1 of images: ")
            assert database.value("SELECT count(*) FROM images WHERE held IS NULL") == 2
        drop(database)


def drop(database: TestDatabase) -> None:
    database.run("DROP TABLE images")
    if database.dialect == "postgresql":
        database.run("DROP DOMAIN short", "DROP TYPE mood")


def test_a_before_image_is_told_in_plain_values(postgresql: TestDatabase) -> None:
    with column(postgresql, "numeric(10,2)", "1.10") as world:
        first, second = changes(world.rows.inspect(world.tasks(fields={"value": "2"})))
        assert read_values(first.before) == {"held": Decimal("1.10")}
        assert read_values(second.before) == {"held": None}


def test_a_generated_column_is_refused_beforehand(postgresql: TestDatabase) -> None:
    postgresql.run(
        "CREATE TABLE images (id integer PRIMARY KEY, path text, held text GENERATED ALWAYS AS (path) STORED)"
    )
    world = World(postgresql, {"held": "{key}"})
    with pytest.raises(PreflightError, match="the database computes it"):
        world.rows.prepare()
    world.close()


def test_a_plan_shows_what_is_known(database: TestDatabase) -> None:
    with column(database, "varchar(9)", "'old'") as world:
        update = world.source.update
        assert update
        wanted = {"held": "{key}", "digest": "{sha256} of {destination.bucket}"}
        more = World(database, wanted, add_columns={"digest": "TEXT"})
        tasks = [type(task)(task.id, "photos", task.row, {"key": "k", "sha256": None}) for task in world.tasks()]
        first, second = preview(more.source, more.client, more.new_values, tasks)
        assert (first.row, [(c.name, c.before, c.after) for c in first.columns]) == (
            "id=1",
            [("held", "old", "k"), ("digest", "(new)", "<sha256> of in-use")],
        )
        assert second.columns[0].before == "NULL"
        more.close()
