"""A database of its own on a real PostgreSQL or MariaDB, spoken to by its driver: the table whose rows follow.

Triggers note every change of a row with its time, so that the oracle knows what happened and not only what is left.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pymysql

from tests.servers.databases import MARIADB
from tests.servers.postgresql import administrator

COLUMNS = ("image_id", "s3_bucket", "s3_key_original", "taken_at", "details", "price", "kind", "note")

_POSTGRES_TABLES = (
    "CREATE TYPE image_kind AS ENUM ('photo', 'scan')",
    """CREATE TABLE s3_images (
      image_id uuid PRIMARY KEY, s3_bucket varchar(128), s3_key_original varchar(1024), taken_at timestamptz,
      details jsonb, price numeric(12, 4), kind image_kind, note text)""",
)
_MARIADB_TABLES = (
    """CREATE TABLE s3_images (
      image_id integer PRIMARY KEY, s3_bucket varchar(128), s3_key_original varchar(1024), taken_at datetime(6),
      details json, price decimal(12, 4), kind enum('photo', 'scan'), note text) CHARACTER SET utf8mb4""",
)

_POSTGRES_AUDIT = (
    "CREATE TABLE audit (number bigserial PRIMARY KEY, what text, image_id text, bucket text, key text, at float8)",
    """CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO audit (what, image_id, bucket, key, at) VALUES (lower(TG_OP), coalesce(NEW.image_id, OLD.image_id),
        NEW.s3_bucket, NEW.s3_key_processed, extract(epoch from clock_timestamp())); RETURN NULL; END $$""",
    """CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON s3_images
      FOR EACH ROW EXECUTE FUNCTION note_change()""",
)
_MARIADB_AUDIT = (
    """CREATE TABLE audit (number bigint AUTO_INCREMENT PRIMARY KEY, what varchar(10), image_id varchar(64),
      bucket varchar(128), `key` varchar(1024), at double) CHARACTER SET utf8mb4""",
    *(
        f"""CREATE TRIGGER note_{what} AFTER {what} ON s3_images FOR EACH ROW INSERT INTO audit
          (what, image_id, bucket, `key`, at) VALUES ('{what}', {row}.image_id, {row}.s3_bucket, {row}.s3_key_processed,
          unix_timestamp(sysdate(6)))"""
        for what, row in (("insert", "NEW"), ("update", "NEW"), ("delete", "OLD"))
    ),
)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a row as its trigger saw it; `at` in seconds since the epoch."""

    number: int
    what: str
    row: str
    bucket: str | None
    key: str | None
    at: float


@dataclass(frozen=True, slots=True)
class Database:
    """One database; `kind` is "postgres" (its rows have UUIDs) or "mariadb" (integers)."""

    kind: str
    host: str
    port: int
    user: str
    password: str
    name: str

    @property
    def url(self) -> str:
        """What an operator writes into DATABASE_URL."""
        scheme = "postgresql+psycopg" if self.kind == "postgres" else "mysql+pymysql"
        word = f":{self.password}" if self.password else ""
        return f"{scheme}://{self.user}{word}@{self.host}:{self.port}/{self.name}"

    def connect(self) -> Any:
        """A connection of the driver's own, each statement a transaction."""
        if self.kind == "postgres":
            return psycopg.connect(
                host=self.host,
                port=self.port,
                user=self.user,
                password=self.password,
                dbname=self.name,
                autocommit=True,
            )
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=self.name,
            charset="utf8mb4",
            autocommit=True,
        )

    def execute(self, *statements: str) -> None:
        """Runs statements that answer nothing."""
        with closing(self.connect()) as connection, closing(connection.cursor()) as cursor:
            for statement in statements:
                cursor.execute(statement)

    def ask(self, query: str, values: Sequence[Any] = (), connection: Any = None) -> list[tuple[Any, ...]]:
        """The rows of a query, over `connection` or one of its own."""
        if connection is None:
            with closing(self.connect()) as fresh:
                return self.ask(query, values, fresh)
        with closing(connection.cursor()) as cursor:
            cursor.execute(query, tuple(values))
            return list(cursor.fetchall())

    def make_table(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The table `s3_images` with `rows`, as the application left it."""
        self.execute(*(_POSTGRES_TABLES if self.kind == "postgres" else _MARIADB_TABLES))
        slots = ", ".join(["%s"] * len(COLUMNS))
        with closing(self.connect()) as connection, closing(connection.cursor()) as cursor:
            values = [tuple(row[column] for column in COLUMNS) for row in rows]
            cursor.executemany(f"INSERT INTO s3_images ({', '.join(COLUMNS)}) VALUES ({slots})", values)

    def watch_table(self) -> None:
        """From now on every change of a row is noted. Needs the columns that setup adds."""
        self.execute(*(_POSTGRES_AUDIT if self.kind == "postgres" else _MARIADB_AUDIT))

    def changes(self, after: int = 0, connection: Any = None) -> list[Change]:
        """What the triggers noted, in the order of their numbers, from beyond number `after`."""
        key = "key" if self.kind == "postgres" else "`key`"
        query = f"SELECT number, what, image_id, bucket, {key}, at FROM audit WHERE number > %s ORDER BY number"
        return [Change(*row) for row in self.ask(query, [after], connection)]

    def table(self) -> dict[str, dict[str, Any]]:
        """Every row of `s3_images` by its primary key (as text): column -> value."""
        with closing(self.connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute("SELECT * FROM s3_images")
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return {str(row["image_id"]): row for row in rows}

    def structure(self) -> set[tuple[str, ...]]:
        """(table, column, type, nullable) of every column of every table."""
        schema = "'public'" if self.kind == "postgres" else "database()"
        query = f"""SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns
          WHERE table_schema = {schema}"""
        return {tuple(map(str, row)) for row in self.ask(query)}


def _server(kind: str) -> Database:
    """The server of this machine, as its administrator; the variables are those of tests/servers/databases.py."""
    url = urlsplit(administrator() if kind == "postgres" else MARIADB)
    port = url.port or (5432 if kind == "postgres" else 3306)
    return Database(kind, url.hostname or "", port, url.username or "", url.password or "", url.path.strip("/"))


def database_missing(kind: str) -> str | None:
    """Why there is no such database server here; None when there is one."""
    server = _server(kind)
    try:
        server.ask("SELECT 1")
    except (psycopg.OperationalError, pymysql.OperationalError) as error:
        return f"no {kind} at {server.host}:{server.port} that lets {server.user} in: {str(error).splitlines()[0]}"
    return None


@contextmanager
def new_database(kind: str) -> Iterator[Database]:
    """An empty database of a random name, dropped at the end with whoever is still in it."""
    server = _server(kind)
    name = f"two_buckets_{secrets.token_hex(6)}"
    server.execute(f"CREATE DATABASE {name}")
    try:
        yield Database(kind, server.host, server.port, server.user, server.password, name)
    finally:
        server.execute(f"DROP DATABASE {name}" + (" WITH (FORCE)" if kind == "postgres" else ""))
