"""Adds the columns that `update.add_columns` names and a table lacks, and takes away those that were added.

What was there already is never touched.
"""

import io
import re
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from msgspec import Struct
from sqlalchemy import Column
from sqlalchemy import inspect as sqlalchemy_inspect
from sqlalchemy.types import UserDefinedType

from migrator.clients.database import Database
from migrator.clients.tables import columns_of, place_of
from migrator.core.complaints import nearest
from migrator.core.config import TableSource
from migrator.core.errors import Fatal, Invalid, PreflightError, Transient
from migrator.setup.change import Change

_SAME_TYPES = (
    (r"CHARACTER VARYING|VARYING CHARACTER", "VARCHAR"),
    (r"\bCHARACTER\b(?! SET)", "CHAR"),
    (r"\bTIMESTAMPTZ\b(\(\d\))?", r"TIMESTAMP\1 WITH TIME ZONE"),
    (r"\bTIMETZ\b", "TIME WITH TIME ZONE"),
    (r" WITHOUT TIME ZONE", ""),
    (r"\bDECIMAL\b", "NUMERIC"),
    (r"\bINT4?\b", "INTEGER"),
    (r"\bINT8\b", "BIGINT"),
    (r"\bINT2\b", "SMALLINT"),
    (r"\bFLOAT8\b|\bDOUBLE PRECISION\b", "DOUBLE"),
    (r"\bFLOAT4\b", "REAL"),
    (r"\bBOOL(EAN)?\b|\bTINYINT\(1\)", "BOOLEAN"),
    (r"\bJSON\b|\bLONGTEXT\b", "JSON"),
    (r" CHARACTER SET \w+| COLLATE \w+|\s", ""),
)
"""Other spellings of the same type, so that a column is not told to have another one than was asked for."""


class MissingColumn(Struct, frozen=True):
    """A column to be added, and the statement that does it."""

    source: str
    table: str
    schema: str | None
    name: str
    type: str
    statement: str

    def change(self, *, applied: bool) -> Change:
        """How it is told."""
        return Change(f"column {self.table}.{self.name}", "missing", self.statement, applied=applied)


class _Verbatim(UserDefinedType[Any]):
    """A type as the operator wrote it."""

    cache_ok = True

    def __init__(self, text: str) -> None:
        self.text = text

    def get_col_spec(self, **_options: Any) -> str:
        return self.text


def inspect(source: TableSource, database: Database) -> tuple[list[MissingColumn], list[Change]]:
    """The columns that the table of `source` lacks, and what is to be said of those that it has.

    Raises PreflightError when the table is not there.
    """
    assert source.update is not None
    try:
        with database.reading() as connection:
            inspector = sqlalchemy_inspect(connection)
            table, schema = place_of(inspector, source.update.table)
            found = columns_of(inspector, table, schema)
            tables = [] if found else inspector.get_table_names(schema=schema)
    except Transient as error:
        raise PreflightError(error.message, error.hint) from error
    if not found:
        near = nearest(table, tables)
        advice = f"did you mean {near}? setup" if near else "setup"
        text = f"there is no table {source.update.table} in {database.shown}"
        raise PreflightError(text, f"{advice} adds columns and no tables")
    missing, notes = [], []
    for column, kind in source.update.add_columns.items():
        if column not in found:
            statement = _statement(database, table, schema, column, kind)
            missing.append(MissingColumn(source.name, table, schema, column, kind, statement))
            continue
        seen = found[column]["type"].compile(dialect=database.engine.dialect)
        if _plain(seen) != _plain(kind):
            text = f"is there already as {seen}, not as {kind}; left as it is"
            notes.append(Change(f"column {source.update.table}.{column}", "", "", note=text))
    return missing, notes


def add(database: Database, missing: MissingColumn) -> None:
    """Adds a column. Raises PreflightError when the database does not let us, or not now."""
    try:
        with database.writing() as connection:
            context = MigrationContext.configure(connection)
            _add(context, missing.table, missing.schema, missing.name, missing.type)
    except (Fatal, Invalid, Transient) as error:
        raise PreflightError(
            f"the column {missing.name} of {missing.table} could not be added: {error.message}",
            f"have it done by somebody who may: {missing.statement}",
        ) from error


def filled(database: Database, table: str, schema: str | None, column: str) -> int | None:
    """In how many rows this column holds a value; None where there is no such column."""
    with database.reading() as connection:
        if column not in columns_of(sqlalchemy_inspect(connection), table, schema):
            return None
        quoted = database.quoted
        place = ".".join(map(quoted, (schema, table) if schema else (table,)))
        statement = f"SELECT count(*) FROM {place} WHERE {quoted(column)} IS NOT NULL"
        return int(connection.exec_driver_sql(statement).scalar_one())


def drop(database: Database, table: str, schema: str | None, column: str) -> None:
    """Drops a column. Raises what the database answers when it does not let us, or not now."""
    with database.writing() as connection:
        Operations(MigrationContext.configure(connection)).drop_column(table, column, schema=schema)


def _add(context: MigrationContext, table: str, schema: str | None, column: str, kind: str) -> None:
    Operations(context).add_column(table, Column(column, _Verbatim(kind), nullable=True), schema=schema)


def _statement(database: Database, table: str, schema: str | None, column: str, kind: str) -> str:
    """What Alembic would send, without a connection."""
    buffer = io.StringIO()
    options = {"as_sql": True, "output_buffer": buffer}
    context = MigrationContext.configure(dialect=database.engine.dialect, opts=options)
    _add(context, table, schema, column, kind)
    return " ".join(buffer.getvalue().split())


def _plain(kind: str) -> str:
    text = kind.upper()
    for other, usual in _SAME_TYPES:
        text = re.sub(other, usual, text)
    return text
