"""`setup` of a table: it adds the columns that are missing, once, and touches nothing that is there."""

import json
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from migrator.clients.database import Database
from migrator.core.config import Config, TableSource, Update
from migrator.core.errors import PreflightError
from migrator.setup.columns import add, inspect
from migrator.wiring import setup
from tests.servers import databases
from tests.servers.databases import TestDatabase


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestDatabase]:
    """A table with a column of its own; names that need quotes."""
    made = {
        "sqlite": lambda: databases.sqlite(tmp_path),
        "postgresql": databases.postgresql,
        "mysql": databases.mariadb,
    }
    with made[request.param]() as database:
        mark = "`" if database.dialect == "mysql" else '"'
        database.run(
            f"CREATE TABLE {mark}Order{mark} (id integer PRIMARY KEY, s3_key varchar(100))",
            f"INSERT INTO {mark}Order{mark} VALUES (1, 'kept')",
        )
        yield database


def source(database: TestDatabase, **add_columns: str) -> dict[str, Any]:
    """A source that updates the table."""
    return {
        "type": "table",
        "name": "orders",
        "database_url": database.url,
        "query": "SELECT 1",
        "primary_key": ["id"],
        "location": "{id}",
        "key": "{id}",
        "update": {"table": "Order", "set": {"s3_key": "{key}"}, "add_columns": add_columns},
    }


def config(folder: Path, database: TestDatabase, **add_columns: str) -> Config:
    """A migration of that source into a folder."""
    (folder / "out").mkdir(exist_ok=True)
    return Config.model_validate(
        {
            "name": "orders",
            "checkpoint_dir": str(folder / "checkpoints"),
            "destination": {"url": f"file://{folder}/out"},
            "sources": [source(database, **add_columns)],
        }
    )


def row(database: TestDatabase) -> tuple[Any, ...]:
    """The only row, whatever columns there are."""
    mark = "`" if database.dialect == "mysql" else '"'
    (only,) = database.rows(f"SELECT * FROM {mark}Order{mark}")
    return only


def test_missing_columns_are_added_once(database: TestDatabase, tmp_path: Path) -> None:
    wanted = config(tmp_path, database, **{"S3 Bucket": "VARCHAR(63)", "moved_at": "TIMESTAMP"})
    planned = setup(wanted, dry_run=True, versioning=False)
    assert row(database) == (1, "kept"), "a dry run changes nothing"
    assert not (tmp_path / "checkpoints").exists()
    assert [change.applied for change in planned] == [False, False]
    assert "ADD COLUMN" in planned[0].then.upper() or "ADD " in planned[0].then.upper()
    assert "VARCHAR(63)" in planned[0].then

    said: list[str] = []
    done = setup(wanted, dry_run=False, versioning=False, announce=said.append)
    assert [change.then for change in done] == said == [change.then for change in planned]
    assert all(change.applied for change in done)
    assert row(database)[:3] == (1, "kept", None)

    again = setup(wanted, dry_run=False, versioning=False)
    assert [change for change in again if not change.note] == []


def test_what_was_added_is_in_the_ledger(database: TestDatabase, tmp_path: Path) -> None:
    setup(config(tmp_path, database, first="INTEGER"), dry_run=False, versioning=False)
    setup(config(tmp_path, database, first="INTEGER", second="TEXT"), dry_run=False, versioning=False)
    with sqlite3.connect(tmp_path / "checkpoints" / "orders.db") as ledger:
        ((text,),) = ledger.execute("SELECT value FROM meta WHERE key = 'added_columns'").fetchall()
    ledger.close()
    kept = json.loads(text)
    assert [(each["source"], each["table"], each["name"], each["type"]) for each in kept] == [
        ("orders", "Order", "first", "INTEGER"),
        ("orders", "Order", "second", "TEXT"),
    ]


def test_a_column_of_another_type_is_told_and_left(database: TestDatabase, tmp_path: Path) -> None:
    (change,) = setup(config(tmp_path, database, s3_key="INTEGER"), dry_run=False, versioning=False)
    assert change.describe() == "column Order.s3_key: is there already as VARCHAR(100), not as INTEGER; left as it is"
    assert not change.applied
    assert row(database) == (1, "kept")


@pytest.mark.parametrize(
    ("asked", "dialects"),
    [
        ("varchar ( 100 )", ("sqlite", "postgresql", "mysql")),
        ("character varying(100)", ("postgresql", "mysql")),
    ],
)
def test_the_same_type_otherwise_spelled_is_no_news(
    database: TestDatabase, tmp_path: Path, asked: str, dialects: tuple[str, ...]
) -> None:
    if database.dialect in dialects:
        assert setup(config(tmp_path, database, s3_key=asked), dry_run=False, versioning=False) == []


def test_a_missing_table_is_said(database: TestDatabase) -> None:
    asked = TableSource.model_validate(source(database, new="TEXT"))
    assert asked.update
    asked = asked.model_copy(update={"update": asked.update.model_copy(update={"table": "Orders"})})
    client = Database(database.url, timeout=20, connect_timeout=5)
    with pytest.raises(PreflightError, match=r"there is no table Orders in .*did you mean Order"):
        inspect(asked, client)
    client.close()


def test_who_may_not_alter_is_told_the_statement() -> None:
    reader = f"reader_{secrets.token_hex(4)}"
    with databases.postgresql() as database:
        database.run('CREATE TABLE "Order" (id integer PRIMARY KEY, s3_key text)', f"CREATE ROLE {reader} LOGIN")
        try:
            database.run(f'GRANT SELECT, UPDATE ON "Order" TO {reader}')
            asked = TableSource.model_validate(source(database, new="TEXT"))
            client = Database(database.of(reader), timeout=20, connect_timeout=5)
            (missing,), _ = inspect(asked, client)
            with pytest.raises(PreflightError) as refused:
                add(client, missing)
            client.close()
            assert "must be owner of table Order" in refused.value.message
            assert 'ALTER TABLE "Order" ADD COLUMN "new" TEXT' in refused.value.hint
        finally:
            database.run(f"DROP OWNED BY {reader}", f"DROP ROLE {reader}")


@pytest.mark.parametrize(
    "kind", ["VARCHAR(512)", "JSONB", "TIMESTAMP(6) WITH TIME ZONE", "numeric(10, 2)", "app.kind", "text[]"]
)
def test_plain_types_are_passed_on(kind: str) -> None:
    update = Update.model_validate({"table": "t", "set": {"a": "{key}"}, "add_columns": {"a": kind}})
    assert update.add_columns == {"a": kind}


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "TEXT; DROP TABLE t",
        "TEXT -- x",
        "TEXT /* x */",
        "ENUM('a')",
        "TEXT NOT NULL",
        "int default 1",
        "a\nb",
        't"x',
    ],
)
def test_what_is_more_than_a_type_is_refused(kind: str) -> None:
    with pytest.raises(ValidationError):
        Update.model_validate({"table": "t", "set": {"a": "{key}"}, "add_columns": {"a": kind}})
