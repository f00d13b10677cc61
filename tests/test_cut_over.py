"""Every statement of docs/how-to/cut-over.md does on PostgreSQL and on MariaDB what the page says."""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from tests.servers.databases import TestDatabase, mariadb, postgresql

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "cut-over.md"
OLD = "https://old.example.com/"
BLOCKS = re.findall(
    r"```sql\n-- (any|postgresql|mysql): ([a-z ]+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
)


class Shop:
    """A database with the table of the page; statements of the page run in it, each committed by itself."""

    def __init__(self, database: TestDatabase) -> None:
        self.database = database
        self.done: set[str] = set()

    def run(self, name: str) -> Sequence[tuple[Any, ...]]:
        """The rows of the statement that the page calls `name`, for this database."""
        (statement,) = [sql for kind, named, sql in BLOCKS if named == name and kind in ("any", self.database.dialect)]
        self.done.add(name)
        engine = create_engine(self.database.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            found = connection.exec_driver_sql(statement)
            with closing(found):
                return [tuple(row) for row in found.fetchall()] if found.returns_rows else []


@pytest.fixture(params=["postgresql", "mysql"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    with (postgresql if request.param == "postgresql" else mariadb)() as database:
        database.run(
            "CREATE TABLE photos (photo_id BIGINT PRIMARY KEY, photo_url VARCHAR(1024))",
            f"INSERT INTO photos VALUES (1, '{OLD}1.jpg'), (2, '{OLD}2.jpg'), (3, NULL)",
            "CREATE TABLE s3_images (image_id BIGINT PRIMARY KEY, s3_bucket VARCHAR(64),"
            " s3_key_original VARCHAR(512), s3_key_processed VARCHAR(512))",
            "INSERT INTO s3_images VALUES (1, 'demeter-photos-viz', 's/viz_1.jpg', NULL)",
        )
        yield Shop(database)


def test_every_statement_of_the_page(shop: Shop) -> None:
    shop.run("column")
    assert shop.run("read") == [(1, f"{OLD}1.jpg")]
    shop.database.run("UPDATE photos SET storage_key = 'photos/1/1.jpg' WHERE photo_id = 1")
    assert shop.run("read") == [(1, "https://cdn.example.com/photos/1/1.jpg")]
    assert [tuple(map(int, row)) for row in shop.run("progress")] == [(1, 1, 1)]
    assert shop.run("left") == [(2, f"{OLD}2.jpg")]
    shop.run("index")
    with pytest.raises(DatabaseError):
        shop.run("done")
    shop.database.run("UPDATE photos SET storage_key = 'photos/2/2.jpg' WHERE photo_id = 2")
    assert shop.run("left") == []
    shop.run("done")
    with pytest.raises(DatabaseError):
        shop.database.run("UPDATE photos SET storage_key = NULL WHERE photo_id = 2")
    assert shop.run("both") == [(1, "demeter-photos-viz", "s/viz_1.jpg")]
    assert shop.run("both left") == [(1, "s/viz_1.jpg")]
    shop.database.run(
        "UPDATE s3_images SET s3_bucket = 'demeter-photos-original', s3_key_processed = 's/processed.jpg'"
    )
    assert shop.run("both") == [(1, "demeter-photos-original", "s/processed.jpg")]
    assert shop.run("both left") == []
    assert shop.done == {name for _, name, _ in BLOCKS}
    assert len(BLOCKS) == PAGE.read_text(encoding="utf-8").count("```sql")
