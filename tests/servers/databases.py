"""Databases for tests: a fresh one of a random name on a real server (or in a file), dropped afterwards."""

import atexit
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from tests.servers.postgresql import administrator

MARIADB = os.environ.get("TEST_MARIADB", "mysql+pymysql://root@127.0.0.1:3306/")


@dataclass(frozen=True, slots=True)
class TestDatabase:
    """An empty database. `url` holds whatever the server asks for."""

    __test__ = False

    dialect: str
    url: str

    def run(self, *statements: str) -> None:
        """Carries statements out, all in one transaction."""
        engine = create_engine(self.url, poolclass=NullPool)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement.replace("%", "%%") if self.dialect != "sqlite" else statement)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What a query says, as the driver gives it."""
        with create_engine(self.url, poolclass=NullPool).connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement).fetchall()]

    def value(self, statement: str) -> Any:
        """The only value that a query says."""
        ((value,),) = self.rows(statement)
        return value

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the server."""
        url = make_url(self.url)
        assert url.host
        assert url.port
        return url.host, url.port

    def of(self, user: str) -> str:
        """The URL for another user, who needs no password."""
        return make_url(self.url).set(username=user).render_as_string(hide_password=False)

    def through(self, port: int) -> str:
        """The URL by way of a proxy on this port of 127.0.0.1."""
        return make_url(self.url).set(host="127.0.0.1", port=port).render_as_string(hide_password=False)


@contextmanager
def sqlite(folder: Path) -> Iterator[TestDatabase]:
    """A file."""
    path = folder / "rows.sqlite"
    path.touch()
    yield TestDatabase("sqlite", f"sqlite:///{path}")


_spare: list[str] = []
"""Databases of PostgreSQL that are empty again: making one takes a while there, and dropping it a checkpoint."""


@contextmanager
def postgresql() -> Iterator[TestDatabase]:
    """A database of PostgreSQL, perhaps one that was emptied."""
    server = _postgresql_server()
    name = _spare.pop() if _spare else _create("postgresql", server, "")
    url = server.set(database=name)
    try:
        yield TestDatabase("postgresql", url.render_as_string(hide_password=False))
    finally:
        _on_server(
            url,
            [
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()",
                "DROP SCHEMA public CASCADE",
                "CREATE SCHEMA public",
                "GRANT USAGE ON SCHEMA public TO PUBLIC",
                f"ALTER DATABASE {name} RESET ALL",
            ],
        )
        _spare.append(name)


@cache
def _postgresql_server() -> URL:
    server = make_url(administrator())
    # Not earlier: what is registered last is done first, and a server of our own ends at the exit too.
    atexit.register(_drop_spare, server)
    return server


def _drop_spare(server: URL) -> None:
    if _spare:
        _on_server(server, [f"DROP DATABASE {name} WITH (FORCE)" for name in _spare])


@contextmanager
def mariadb() -> Iterator[TestDatabase]:
    """A database of MariaDB or MySQL; skips the test where there is no server."""
    server = make_url(MARIADB)
    name = _create("mysql", server, " CHARACTER SET utf8mb4")
    try:
        yield TestDatabase("mysql", server.set(database=name).render_as_string(hide_password=False))
    finally:
        _on_server(server, [f"DROP DATABASE {name}"])


def _create(dialect: str, server: URL, options: str) -> str:
    name = f"migrator_{secrets.token_hex(6)}"
    try:
        _on_server(server, [f"CREATE DATABASE {name}{options}"])
    except OperationalError as error:
        pytest.skip(f"no {dialect} server at {server.host}:{server.port}: {error.orig}")
    return name


def _on_server(server: URL, statements: Sequence[str]) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
