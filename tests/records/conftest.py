"""Every test here runs on SQLite, PostgreSQL and MariaDB unless it says otherwise."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import databases
from tests.servers.databases import TestDatabase


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestDatabase]:
    """An empty database of each kind."""
    made = {
        "sqlite": lambda: databases.sqlite(tmp_path),
        "postgresql": databases.postgresql,
        "mysql": databases.mariadb,
    }
    with made[request.param]() as database:
        yield database


@pytest.fixture
def postgresql() -> Iterator[TestDatabase]:
    """An empty database of PostgreSQL."""
    with databases.postgresql() as database:
        yield database


@pytest.fixture
def mariadb() -> Iterator[TestDatabase]:
    """An empty database of MariaDB."""
    with databases.mariadb() as database:
        yield database
