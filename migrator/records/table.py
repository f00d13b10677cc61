"""The table whose rows are updated: what reflection says of it, and the statements on it. Nothing is decided here."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, inspect

from migrator.clients.database import Database
from migrator.clients.queries import among, as_table
from migrator.clients.tables import columns_of, place_of
from migrator.core.complaints import nearest
from migrator.core.config import TableSource, Update
from migrator.core.errors import Fatal, PreflightError
from migrator.records.columns import Column, column_of

KEYS = 500
"""Keys in one statement. From 1,000 values on, MariaDB joins with a list of texts instead of looking each up."""
COMPOSITE_KEYS = 50
"""The same of several columns: PostgreSQL plans 500 of those for 60 ms, and ten times 50 for 10 ms in all."""

Values = tuple[Any, ...]
"""Values as the driver gives and takes them."""

Key = tuple[str, ...]
"""The text of a primary key: it tells rows apart, also where a query gives as text what is none in the table."""


def key_of(values: Iterable[object]) -> Key:
    """The text of a primary key."""
    return tuple(map(str, values))


class Table(Struct, frozen=True):
    """One table, the columns that tell its rows apart and those that are set."""

    database: Database
    name: str
    schema: str | None
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    missing: tuple[str, ...] = ()
    """Columns that are to be set and that the table lacks; only where that was allowed."""

    @property
    def quoted(self) -> str:
        """The name for a statement."""
        parts = (self.schema, self.name) if self.schema else (self.name,)
        return ".".join(map(self.database.quoted, parts))

    def check_rights(self) -> None:
        """Raises PreflightError when this user may not update the columns. Updates nothing."""
        if self.database.dialect == "sqlite":
            return
        quoted = self.database.quoted
        changes = ", ".join(f"{quoted(column.name)} = {quoted(column.name)}" for column in self.columns)
        try:
            with self.database.reading() as connection:
                connection.exec_driver_sql(f"EXPLAIN UPDATE {self.quoted} SET {changes} WHERE 1 = 0")
        except Fatal as error:
            raise PreflightError(error.message, f"grant SELECT and UPDATE on {self.name} to this user") from error

    def rows(self, connection: Connection, keys: Sequence[Values], *, lock: bool = False) -> dict[Key, list[Values]]:
        """The columns of the rows with these keys; `lock`: nobody else changes them before the transaction ends."""
        quoted = self.database.quoted
        read = [
            f"CAST({quoted(column.name)} AS text)" if column.as_text else quoted(column.name) for column in self.columns
        ]
        select = f"SELECT {', '.join([*map(quoted, self.key), *read])} FROM {self.quoted}"
        held = _LOCKS[self.database.dialect] if lock else ""
        return _by_key(
            connection, keys, len(self.key), lambda some: f"{select} WHERE {among(self.database, self.key, some)}{held}"
        )

    def spelled(self, connection: Connection, rows: Sequence[Values]) -> list[Values]:
        """New values as the server itself would spell them, where nobody else knows how. Raises what it refuses."""
        found = [list(row) for row in rows]
        for place, column in enumerate(self.columns):
            if not column.spelled or not rows:
                continue
            # A union gives the parameters the type of the column, whatever that is called.
            texts = list(dict.fromkeys(row[place] for row in rows))
            each = f" UNION ALL SELECT {self.database.mark}" * len(texts)
            name = self.database.quoted(column.name)
            statement = f"SELECT CAST(v AS text) FROM (SELECT {name} AS v FROM {self.quoted} WHERE false{each}) AS q"
            answers = connection.exec_driver_sql(statement, tuple(texts)).fetchall()
            spellings = {text: answer for text, (answer,) in zip(texts, answers, strict=True)}
            for row in found:
                row[place] = spellings[row[place]]
        return [tuple(row) for row in found]

    def update(self, connection: Connection, rows: Sequence[tuple[Values, Values]]) -> int:
        """Gives the rows (new values, key) their new values and returns how many the database updated."""
        quoted, mark = self.database.quoted, self.database.mark
        statement = (
            f"UPDATE {self.quoted} SET {', '.join(f'{quoted(column.name)} = {mark}' for column in self.columns)}"
            f" WHERE {' AND '.join(f'{quoted(name)} = {mark}' for name in self.key)}"
        )
        return connection.exec_driver_sql(statement, [(*values, *key) for values, key in rows]).rowcount


# PostgreSQL: foreign keys that point to these rows need not wait, for no key of theirs changes.
_LOCKS = {"sqlite": "", "postgresql": " FOR NO KEY UPDATE", "mysql": " FOR UPDATE"}


def seen_now(
    connection: Connection, database: Database, source: TableSource, columns: Sequence[str], keys: Sequence[Values]
) -> dict[Key, list[Values]]:
    """What the operator's query says of these rows now."""
    names = ", ".join(map(database.quoted, (*source.primary_key, *columns)))
    select = f"SELECT {names} FROM {as_table(database, source.query)}"
    return _by_key(
        connection,
        keys,
        len(source.primary_key),
        lambda some: f"{select} WHERE {among(database, source.primary_key, some)}",
    )


def _by_key(
    connection: Connection, keys: Sequence[Values], width: int, statement: Callable[[int], str]
) -> dict[Key, list[Values]]:
    """The rows that a statement for so many keys finds, by their keys of `width` columns."""
    found: dict[Key, list[Values]] = {}
    many = KEYS if width == 1 else COMPOSITE_KEYS
    for first in range(0, len(keys), many):
        some = keys[first : first + many]
        parameters = tuple(value for key in some for value in key)
        for row in connection.exec_driver_sql(statement(len(some)), parameters).fetchall():
            found.setdefault(key_of(row[:width]), []).append(tuple(row[width:]))
    return found


def find_table(database: Database, source: TableSource, *, lenient: bool = False) -> Table:
    """The table that `source` updates, as it is.

    Raises PreflightError when it or one of its columns is not there; `lenient`: columns to be set may be missing.
    """
    assert source.update is not None
    with database.reading() as connection:
        inspector = inspect(connection)
        name, schema = place_of(inspector, source.update.table)
        found = columns_of(inspector, name, schema)
        if not found:
            text = f"there is no table {source.update.table} in {database.shown}"
            near = nearest(source.update.table, inspector.get_table_names(schema=schema))
            hint = f"did you mean {near}? See update.table" if near else "see update.table of the source"
            raise PreflightError(f'the source "{source.name}" updates a table that is not there: {text}', hint)
    columns, missing = _columns(source.update, source, found, database)
    if missing and not lenient:
        raise PreflightError(*_lacking(source, source.update, missing, found))
    return Table(database, name, schema, source.primary_key, columns, missing)


def _columns(
    update: Update, source: TableSource, found: Mapping[str, Mapping[str, Any]], database: Database
) -> tuple[tuple[Column, ...], tuple[str, ...]]:
    for name in source.primary_key:
        if name not in found:
            raise PreflightError(
                f'the source "{source.name}" finds rows by {name}, and {update.table} has no such column',
                f"name it in the query as the table does; it has {', '.join(found)}",
            )
    made = [name for name in update.set if name in found and found[name].get("computed")]
    if made:
        raise PreflightError(
            f"{update.table}.{made[0]} cannot be set: the database computes it", "take it out of update.set"
        )
    missing = tuple(name for name in update.set if name not in found)
    columns = tuple(
        column_of(name, found[name]["type"], database.dialect) for name in update.set if name not in missing
    )
    return columns, missing


def _lacking(
    source: TableSource, update: Update, missing: Sequence[str], found: Mapping[str, object]
) -> tuple[str, str]:
    text = f'the source "{source.name}" sets {", ".join(missing)}, and {update.table} has no such column'
    if all(name in update.add_columns for name in missing):
        return text, "`migrator setup` adds what add_columns names"
    return text, f"add it to add_columns, or set one of {', '.join(found)}"
