"""Runs scans of tables for the tests, in databases of every kind."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from migrator.clients.database import Database
from migrator.core.config import TableSource
from migrator.core.keys import Naming
from migrator.core.model import Page
from migrator.sources.table import TableScan
from tests.servers import databases
from tests.sources.scanning import Scanned

KINDS = ("sqlite", "postgresql", "mysql")


@contextmanager
def new_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database; skips the test where there is no server of this kind."""
    make = {"sqlite": lambda: databases.sqlite(folder), "postgresql": databases.postgresql, "mysql": databases.mariadb}
    with make[kind]() as database:
        yield database.url


def execute(url: str, *statements: str, rows: Sequence[Sequence[Any]] = ()) -> list[tuple[Any, ...]]:
    """Runs statements of the driver's own, the last one for each of `rows` if there are any; what the last one says."""
    with create_engine(url, poolclass=NullPool).begin() as connection:
        for number, statement in enumerate(statements, 1):
            many = rows if number == len(statements) else ()
            result = connection.exec_driver_sql(statement, list(many) or ())
        return [tuple(row) for row in result.fetchall()] if result.returns_rows else []


def table(
    url: str, query: str, *, prefix: str = "", carry: Sequence[str] = (), here: Sequence[str] = (), **settings: Any
) -> TableScan:
    """A `table` source; `here` are the buckets that count as the destination's."""
    values = {
        "type": "table",
        "name": "rows",
        "database_url": url,
        "query": query,
        "primary_key": ("id",),
        "location": "s3://old/{location}",
        "key": "{path}",
    }
    config = TableSource.model_validate(values | settings)
    database = Database(url, timeout=30, connect_timeout=5)
    return TableScan(config, Naming(prefix, carry), database, stands_here=lambda bucket: bucket in here)


def page_by_page(url: str, query: str, **settings: Any) -> Iterator[Page]:
    """Every page by a scan of its own, as if each had been killed after its first."""
    cursor: str | None = None
    while page := next(table(url, query, **settings).scan(cursor), None):
        yield page
        if page.cursor == cursor:
            return
        cursor = page.cursor


def resumed(url: str, query: str, **settings: Any) -> Scanned:
    """All pages of `page_by_page`."""
    return Scanned(tuple(page_by_page(url, query, **settings)))
