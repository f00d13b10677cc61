"""Connections to the user's databases: SQLite, PostgreSQL and MySQL/MariaDB through SQLAlchemy.

What a database or its driver says becomes one of core.errors here (`database_errors.py` knows which) and nowhere else.
"""

import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Dialect, Engine, create_engine, event, make_url
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

from migrator.clients.database_errors import Secrets, translated
from migrator.core.config import TableSource
from migrator.core.errors import MigratorError, PreflightError

# Its pool would print a traceback for each connection that was lost: that is told in our words.
logging.getLogger("sqlalchemy").addHandler(logging.NullHandler())

_DRIVERS = {
    "sqlite": ("sqlite", "sqlite+pysqlite", ""),
    "postgresql": ("postgresql", "postgresql+psycopg", "postgres"),
    "postgres": ("postgresql", "postgresql+psycopg", "postgres"),
    "mysql": ("mysql", "mysql+pymysql", "mysql"),
    "mariadb": ("mysql", "mysql+pymysql", "mysql"),
}
"""By the first word of a URL: the dialect, SQLAlchemy's name of it with our driver, the extra that brings that."""

_PACKET = 100_000
"""Characters of statements that go to MySQL at once: its `max_allowed_packet` was 1 MB once, and is 16 MB now."""
_SYNTAX = 1064
"""MySQL's ER_PARSE_ERROR, which a second statement is where only one is taken."""


def url_of(source: TableSource) -> str:
    """The database URL of `source`. Raises PreflightError when its environment variable is not set."""
    if not source.database_url_env:
        return source.database_url
    url = os.environ.get(source.database_url_env, "")
    if not url:
        raise PreflightError(
            f"the environment variable {source.database_url_env} is not set",
            f'the source "{source.name}" takes its database URL from it: export it',
        )
    return url


class Database:
    """One database, by a URL of SQLAlchemy's; whatever driver that names, the one of ours is taken.

    `timeout` is the longest silence of the server within a statement, `connect_timeout` the longest wait for a
    connection (for SQLite: for a lock), both in seconds. Connects when first used; any thread may use it. Every block
    below raises Transient, Fatal or Invalid, side "database", and PreflightError for a URL that cannot be used at all.
    """

    def __init__(self, url: str, *, timeout: float, connect_timeout: float) -> None:
        parsed, self.dialect = _parsed(url)
        self._secrets = Secrets(url, parsed)
        self.shown = self._secrets.shown
        """The URL as it may be shown: without user, password and query."""
        self.engine = _engine(parsed, self.dialect, timeout, connect_timeout)

    @property
    def format_style(self) -> bool:
        """Whether raw statements mark parameters by `%s` (and a percent sign by `%%`); else by `?`."""
        return self.dialect != "sqlite"

    @property
    def mark(self) -> str:
        """What stands for a parameter in a raw statement."""
        return "%s" if self.format_style else "?"

    def quoted(self, name: str) -> str:
        """A column or table name for a raw statement, always quoted: its letters count as they are."""
        mark = "`" if self.dialect == "mysql" else '"'
        return self.escaped(mark + name.replace(mark, mark * 2) + mark)

    def escaped(self, text: str) -> str:
        """A piece of a raw statement that holds no parameters."""
        return text.replace("%", "%%") if self.format_style else text

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection in a transaction that is rolled back; PostgreSQL refuses to write in it."""
        with self.translating(), self.engine.connect() as plain:
            connection = plain.execution_options(postgresql_readonly=True) if self.dialect == "postgresql" else plain
            connection.info["writes"] = False
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a transaction that is committed when the block ends well, else rolled back."""
        with self.translating(), self.engine.connect() as connection:
            connection.info["writes"] = True
            with connection.begin():
                yield connection

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Errors of the database within the block become ours, on one line and without a secret."""
        try:
            yield
        except MigratorError:
            raise
        except (SQLAlchemyError, self.engine.dialect.loaded_dbapi.Error, OSError, UnicodeError) as error:
            # Not `from error`: its text, and that of its causes, may hold the password.
            raise translated(error, self.dialect, self._secrets) from None

    def close(self) -> None:
        """Gives connections back. Idempotent."""
        with suppress(Exception):  # a connection that is dead already is as good as closed
            self.engine.dispose()


def _parsed(text: str) -> tuple[URL, str]:
    word = text.partition(":")[0].partition("+")[0].lower()
    if word not in _DRIVERS:
        known = "sqlite:///file.db, postgresql://user@host/name or mysql://user@host/name"
        raise PreflightError("the database URL names no database that is known here", f"write it as {known}")
    dialect, driver, _ = _DRIVERS[word]
    unreadable = PreflightError(
        "the database URL cannot be read",
        "write it as dialect://user:password@host:port/name, with @ : / % in the password percent-encoded",
    )
    try:
        url = make_url(text).set(drivername=driver)
    except (SQLAlchemyError, ValueError):  # its message may repeat the URL
        raise unreadable from None
    if dialect != "sqlite" and "@" in f"{url.host}{url.database}":  # a part of a password, for want of an escape
        raise unreadable
    return url, dialect


def _engine(url: URL, dialect: str, timeout: float, connect_timeout: float) -> Engine:
    seconds = max(1, round(connect_timeout))
    options: dict[str, Any]
    match dialect:
        case "sqlite":
            options = {"timeout": connect_timeout}
        case "postgresql":
            # Prepared statements would not survive a pooler between us and the server.
            options = {"connect_timeout": max(2, seconds), "prepare_threshold": None, "client_encoding": "utf8"}
            options |= {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
        case _:
            options = {"connect_timeout": seconds, "read_timeout": timeout, "write_timeout": timeout}
    try:
        engine = create_engine(url, connect_args=options, hide_parameters=True, pool_size=4, max_overflow=4)
    except (ModuleNotFoundError, NoSuchModuleError):
        extra = next(extra for known, _, extra in _DRIVERS.values() if known == dialect)
        raise PreflightError(
            f"the driver for {dialect} databases is not installed", f"pip install 'migrator[{extra}]'"
        ) from None
    if dialect == "sqlite":
        event.listen(engine, "do_connect", _open_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    elif dialect == "postgresql":
        from migrator.clients.postgres import open_postgres

        milliseconds = max(1, round(timeout * 1000))
        # Within the transaction only: a session of a pooler goes to others afterwards.
        statement = f"SET LOCAL statement_timeout = {milliseconds}"
        event.listen(engine, "begin", lambda connection: _driver(connection).execute(statement))
        event.listen(engine, "do_connect", lambda _dialect, _record, *given: open_postgres(timeout, *given))
    else:
        event.listen(engine, "do_connect", _open_mysql)
        event.listen(engine, "do_executemany", _in_few_packets)
    return engine


def _open_sqlite(_dialect: Dialect, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
    """SQLite would create a file that is not there; a mistyped name must be an error."""
    name = arguments[0]
    if not options.get("uri") and name and name != ":memory:":
        name = f"file:{quote(str(Path(name).absolute()))}?mode=rw"
    connection = sqlite3.connect(name, **{**options, "uri": True})
    # Transactions begin where SQLAlchemy says so, not where the sqlite3 module thinks that they should.
    connection.isolation_level = None
    connection.text_factory = _sqlite_text
    return connection


def _open_mysql(dialect: Dialect, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
    from pymysql.constants import CLIENT

    options["client_flag"] = options.get("client_flag", 0) | CLIENT.MULTI_STATEMENTS
    try:
        return dialect.connect(*arguments, **options)
    except TypeError:  # its text may repeat what stands after the question mark
        text = "the database URL has a parameter after its ? that the driver PyMySQL does not know"
        raise PreflightError(text, "remove it") from None


def _in_few_packets(cursor: Any, statement: str, rows: Sequence[Sequence[Any]], _context: object) -> bool:
    """One statement a row, many in one packet: PyMySQL would wait for the answer to each before it sends the next.

    False leaves them to it, where something between us and the server takes one statement at a time.
    """
    updated = 0
    for packet in _packets(cursor.mogrify(statement, row) for row in rows):
        try:
            cursor.execute(packet)
        except cursor.connection.ProgrammingError as error:
            if error.args[0] == _SYNTAX and not updated:
                return False
            raise
        updated += cursor.rowcount
        while cursor.nextset():
            updated += cursor.rowcount
    cursor.rowcount = updated
    return True


def _packets(statements: Iterable[str]) -> Iterator[str]:
    packet: list[str] = []
    size = 0
    for statement in statements:
        if packet and size + len(statement) > _PACKET:
            yield ";".join(packet)
            packet, size = [], 0
        packet.append(statement)
        size += len(statement)
    yield ";".join(packet)


def _driver(connection: Connection) -> Any:
    """The driver's own connection, to which the options of SQLAlchemy's (streaming) do not apply."""
    return connection.connection.dbapi_connection


def _begin_sqlite(connection: Connection) -> None:
    # Who will write takes the lock at once: one that is taken later cannot be waited for.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.info.get("writes") else "BEGIN")


def _sqlite_text(data: bytes) -> str:
    """SQLite does not check text: what is no UTF-8 comes as surrogates, which no location may hold."""
    return data.decode(errors="surrogateescape")
