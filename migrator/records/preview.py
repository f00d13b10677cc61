"""What a plan shows of rows: before -> after, as far as that is known before anything has moved."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from migrator.clients.database import Database
from migrator.core.config import TableSource
from migrator.core.keys import names_in
from migrator.core.records import RecordTask
from migrator.core.row_values import read_key
from migrator.records.table import Table, Values, find_table, key_of
from migrator.records.values import NewValues, Unfit

NEW = "(new)"
"""Stands for the value of a column that `migrator setup` will add."""

_LATER = ("sha256", "size", "content_type")
"""Values that only the transfer tells."""


class ColumnPreview(Struct, frozen=True):
    """One column of one row: its value now and the one that it will have, as text."""

    name: str
    before: str
    after: str


class RowPreview(Struct, frozen=True):
    """One row as a plan shows it. `problem`: why it cannot be updated as things stand."""

    source: str
    row: str
    columns: tuple[ColumnPreview, ...] = ()
    problem: str = ""


def preview(
    source: TableSource, database: Database, new_values: NewValues, tasks: Sequence[RecordTask]
) -> list[RowPreview]:
    """The rows of `tasks`, which need no stored object. Blocks. Raises what a database raises."""
    if not tasks:
        return []
    table = find_table(database, source, lenient=True)
    keys = [read_key(task.row.primary_key) for task in tasks]
    with database.reading() as connection:
        standing = table.rows(connection, keys)
    return [
        _row(source, table, new_values, task, key, standing.get(key_of(key), ()))
        for task, key in zip(tasks, keys, strict=True)
    ]


def _row(
    source: TableSource,
    table: Table,
    new_values: NewValues,
    task: RecordTask,
    key: Values,
    rows: Sequence[Values],
) -> RowPreview:
    assert source.update is not None
    name = ", ".join(f"{column}={value}" for column, value in zip(source.primary_key, key, strict=True))
    if len(rows) != 1:
        return RowPreview(source.name, name, problem=f"{source.update.table} has {len(rows)} such rows")
    standing = {column.name: _shown(value) for column, value in zip(table.columns, rows[0], strict=True)}
    names = names_in(source.update.set.values())
    unknown = (*_LATER, *(name for name in names if name.startswith("variant.")))
    later = {word: value for word in unknown if (value := task.values.get(word) or f"<{word}>")}
    try:
        after = new_values.texts(replace(task, values={**task.values, **later}), list(source.update.set))
    except Unfit as unfit:
        return RowPreview(source.name, name, problem=str(unfit))
    columns = [ColumnPreview(column, standing.get(column, NEW), text) for column, text in after.items()]
    return RowPreview(source.name, name, tuple(columns))


def _shown(value: object) -> str:
    if value is None:
        return "NULL"
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)
