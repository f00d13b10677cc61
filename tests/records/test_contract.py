"""A row is updated when it still is what the scan saw, completely or not at all; the same on every database."""

import secrets
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from migrator.core.errors import PreflightError
from migrator.core.records import Recorded, RowChange
from migrator.core.row_values import read_values
from tests.records.world import World, changes, complaint
from tests.servers.databases import TestDatabase


@pytest.fixture
def world(database: TestDatabase) -> Iterator[World]:
    """Three rows; key, bucket and URL are to be set."""
    database.run(
        "CREATE TABLE images (id integer PRIMARY KEY, path varchar(100), s3_key varchar(100), bucket varchar(20),"
        " url varchar(200))",
        "INSERT INTO images VALUES (1, 'a.jpg', NULL, 'old', ''), (2, 'b.jpg', 'x', 'old', ''),"
        " (3, 'it''s \"%s\" %d \\x', NULL, 'old', '')",
    )
    world = World(database, {"s3_key": "{key}", "bucket": "{destination.bucket}", "url": "{url}"})
    yield world
    world.close()


def test_rows_take_their_new_values(world: World) -> None:
    assert world.update(world.tasks()) == [Recorded()] * 3
    assert (
        world.server.rows("SELECT s3_key, bucket, url FROM images")
        == [("new/a b.jpg", "in-use", "https://cdn.example.com/new/a%20b.jpg")] * 3
    )


def test_before_and_after_are_told(world: World) -> None:
    world.rows.prepare()
    first, second, _ = changes(world.rows.inspect(world.tasks()))
    assert read_values(first.before) == {"s3_key": None, "bucket": "old", "url": ""}
    assert read_values(second.before) == {"s3_key": "x", "bucket": "old", "url": ""}
    assert read_values(first.after)["s3_key"] == "new/a b.jpg"


def test_looking_writes_nothing(world: World) -> None:
    before = world.server.rows("SELECT * FROM images ORDER BY id")
    world.rows.prepare()
    world.rows.inspect(world.tasks())
    assert world.server.rows("SELECT * FROM images ORDER BY id") == before


def test_what_holds_the_new_values_is_adopted(world: World) -> None:
    tasks = world.tasks()
    world.update(tasks)
    assert world.rows.inspect(tasks) == [Recorded(adopted=True)] * 3


def test_what_was_updated_meanwhile_is_adopted_when_it_is_applied(world: World) -> None:
    world.rows.prepare()
    todo = changes(world.rows.inspect(world.tasks()))
    assert world.rows.apply(todo) == [Recorded()] * 3
    assert world.rows.apply(todo) == [Recorded(adopted=True)] * 3


def test_a_row_that_is_gone_is_a_conflict(world: World) -> None:
    tasks = world.tasks()
    world.server.run("DELETE FROM images WHERE id = 2")
    first, second, third = world.update(tasks)
    assert first == third == Recorded()
    assert complaint(second) == "conflict: row id=2 of images: it is no longer there"


def test_a_row_that_goes_between_looking_and_updating_is_a_conflict(world: World) -> None:
    world.rows.prepare()
    todo = changes(world.rows.inspect(world.tasks()))
    world.server.run("DELETE FROM images WHERE id = 2")
    first, second, third = world.rows.apply(todo)
    assert first == third == Recorded()
    assert complaint(second) == "conflict: row id=2 of images: it is no longer there"


def test_a_row_that_was_changed_since_the_scan_is_a_conflict(world: World) -> None:
    tasks = world.tasks()
    world.server.run("UPDATE images SET path = 'other.jpg' WHERE id = 1")
    first, second, _ = world.update(tasks)
    assert complaint(first) == "conflict: row id=1 of images: somebody changed path since the scan"
    assert second == Recorded()
    assert world.server.value("SELECT bucket FROM images WHERE id = 1") == "old"


def test_a_row_that_the_query_no_longer_finds_is_a_conflict(database: TestDatabase, world: World) -> None:
    narrow = World(database, {"s3_key": "{key}"}, query="SELECT id, path FROM images WHERE bucket = 'old'; -- all\n")
    tasks = narrow.tasks()
    database.run("UPDATE images SET bucket = 'elsewhere' WHERE id = 3")
    assert complaint(narrow.update(tasks)[2]).startswith("conflict: row id=3 of images: the query no longer finds it")
    narrow.close()


@pytest.mark.parametrize("value", ["'X'", "'x '", "NULL", "'xé'"])
def test_a_column_that_changes_between_looking_and_updating_is_a_conflict(world: World, value: str) -> None:
    """Also where the database itself takes both for the same."""
    world.rows.prepare()
    todo = changes(world.rows.inspect(world.tasks()))
    world.server.run(f"UPDATE images SET s3_key = {value} WHERE id = 2")
    first, second, third = world.rows.apply(todo)
    assert first == third == Recorded()
    assert complaint(second) == "conflict: row id=2 of images: somebody changed s3_key while it was being updated"
    assert world.server.value("SELECT bucket FROM images WHERE id = 2") == "old"


def test_a_row_that_was_changed_after_its_update_was_begun_is_a_conflict(world: World) -> None:
    world.rows.prepare()
    (change, *_) = changes(world.rows.inspect(world.tasks()))
    world.server.run("UPDATE images SET s3_key = 'theirs' WHERE id = 1")
    again = [type(change.task)(1, "photos", change.task.row, change.task.values, before=change.before)]
    (outcome,) = world.rows.inspect(again)
    assert complaint(outcome) == "conflict: row id=1 of images: somebody changed s3_key since its update was begun"


def test_a_row_that_was_put_back_already_is_adopted(world: World) -> None:
    """A rollback was killed after its commit: the row holds what it held before, NULL too."""
    world.rows.prepare()
    todo = changes(world.rows.inspect(world.tasks()))
    world.rows.apply(todo)
    back = [replace(change, before=change.after, after=change.before) for change in todo]
    assert world.rows.check(back) == [None] * 3
    assert world.rows.apply(back) == [Recorded()] * 3
    assert world.rows.check(back) == [Recorded(adopted=True)] * 3
    assert world.server.rows("SELECT s3_key FROM images ORDER BY id") == [(None,), ("x",), (None,)]


def test_one_row_that_cannot_be_updated_stops_no_other(database: TestDatabase) -> None:
    database.run(
        "CREATE TABLE images (id integer PRIMARY KEY, path varchar(100), s3_key varchar(100) UNIQUE)",
        "INSERT INTO images VALUES " + ", ".join(f"({number}, 'a.jpg', NULL)" for number in range(1, 10)),
    )
    world = World(database, {"s3_key": "k{id}"})
    world.rows.prepare()
    tasks = [
        type(task)(task.id, task.source, type(task.row)(task.row.primary_key, task.row.seen, {"id": name}), task.values)
        for task, name in zip(world.tasks(), "112345678", strict=True)
    ]
    todo = changes(world.rows.inspect(tasks))
    outcomes = world.rows.apply(todo)
    failed = [outcome for outcome in outcomes if not isinstance(outcome, Recorded)]
    assert len(failed) == 1
    assert complaint(failed[0]).startswith("invalid: row id=2 of images: ")
    assert database.value("SELECT count(*) FROM images WHERE s3_key IS NOT NULL") == 8
    world.close()


def test_two_objects_with_one_row_are_a_conflict(world: World) -> None:
    world.rows.prepare()
    task = world.tasks()[0]
    first, second = world.rows.inspect([task, type(task)(9, "photos", task.row, task.values)])
    assert isinstance(first, RowChange)
    assert "another object of this source has the same row" in complaint(second)


def test_a_key_that_is_none_is_a_conflict(database: TestDatabase) -> None:
    database.run(
        "CREATE TABLE images (id integer, path varchar(100), s3_key varchar(100))",
        "INSERT INTO images VALUES (1, 'a.jpg', NULL), (1, 'a.jpg', NULL)",
    )
    world = World(database, {"s3_key": "{key}"})
    assert "the table has 2 such rows" in complaint(world.update(world.tasks())[0])
    assert database.value("SELECT count(*) FROM images WHERE s3_key IS NOT NULL") == 0
    world.close()


def test_what_has_no_value_is_said(database: TestDatabase) -> None:
    database.run(
        "CREATE TABLE images (id integer, path varchar(9), digest text)", "INSERT INTO images VALUES (1,'a',NULL)"
    )
    world = World(database, {"digest": "{sha256}"})
    task = world.tasks()[0]
    (outcome,) = world.update([type(task)(1, "photos", task.row, {"key": "a", "sha256": None})])
    assert complaint(outcome) == "invalid: row id=1 of images: digest cannot be set: {sha256} has no value here"
    world.close()


def test_composite_keys_and_awkward_names(database: TestDatabase) -> None:
    quote = "`" if database.dialect == "mysql" else '"'
    names = [f"{quote}{name}{quote}" for name in ("Order", "user name", "S3 Key%s", "path")]
    database.run(
        f"CREATE TABLE {quote}Select{quote} ({names[0]} integer, {names[1]} varchar(20), {names[2]} varchar(99),"
        f" {names[3]} varchar(20), PRIMARY KEY ({names[0]}, {names[1]}))",
        f"INSERT INTO {quote}Select{quote} VALUES (1, 'a', NULL, 'p'), (1, 'b', NULL, 'p'), (2, 'a', NULL, 'p')",
    )
    world = World(
        database,
        {"S3 Key%s": "{key}"},
        table="Select",
        key=("Order", "user name"),
        query=f"SELECT * FROM {quote}Select{quote}",
    )
    assert world.update(world.tasks()[:2]) == [Recorded()] * 2
    listed = f"SELECT count(*) FROM {quote}Select{quote} WHERE path = 'p'"
    column = names[2].replace("%", "%%") if database.dialect != "sqlite" else names[2]
    assert database.value(f"{listed} AND {column} IS NULL") == 1
    world.close()


@pytest.mark.parametrize(
    ("changed", "message", "hint"),
    [
        ({"table": "image"}, "there is no table image", "did you mean images?"),
        ({"set_": {"nokey": "{key}"}}, "sets nokey, and images has no such column", "add it to add_columns"),
        (
            {"set_": {"new": "{key}"}, "add_columns": {"new": "TEXT"}},
            "sets new, and images has no such column",
            "`migrator setup`",
        ),
        (
            {"key": ("image",), "query": "SELECT id AS image, path FROM images"},
            "finds rows by image, and images has no such column",
            "name it in the query as the table does",
        ),
    ],
)
def test_what_is_not_there_is_found_beforehand(
    database: TestDatabase, world: World, changed: dict[str, object], message: str, hint: str
) -> None:
    arguments: dict[str, object] = {"set_": {"s3_key": "{key}"}} | changed
    other = World(database, **arguments)  # type: ignore[arg-type]
    with pytest.raises(PreflightError) as refused:
        other.rows.prepare()
    assert message in refused.value.message
    assert hint in refused.value.hint
    other.close()


def test_who_may_not_update_learns_it_beforehand(postgresql: TestDatabase) -> None:
    reader = f"reader_{secrets.token_hex(4)}"
    postgresql.run(
        "CREATE TABLE images (id integer PRIMARY KEY, path text, s3_key text)", f"CREATE ROLE {reader} LOGIN"
    )
    try:
        postgresql.run(f"GRANT SELECT ON images TO {reader}")
        world = World(postgresql, {"s3_key": "{key}"}, url=postgresql.of(reader))
        with pytest.raises(PreflightError, match="permission denied for table images") as refused:
            world.rows.prepare()
        assert "grant SELECT and UPDATE on images" in refused.value.hint
        world.close()
    finally:
        postgresql.run(f"DROP OWNED BY {reader}", f"DROP ROLE {reader}")
