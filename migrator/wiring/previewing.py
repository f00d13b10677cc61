"""What a plan shows of rows: the first of each table source, as they are and as they will be."""

from collections.abc import Sequence

from migrator.core.config import Config, TableSource
from migrator.core.errors import MigratorError
from migrator.ledger.view import LedgerView
from migrator.records.preview import RowPreview, preview
from migrator.wiring.adapters import new_values, open_database, selected

EXAMPLES = 5
"""Rows of each source."""


def preview_rows(config: Config, names: Sequence[str], view: LedgerView) -> list[RowPreview]:
    """Rows of the sources called `names` (or all) that a run would update. Blocks.

    Where a database or table cannot be read, that is the one preview of its source, as its problem.
    """
    bucket = view.meta("bucket") or config.destination.bucket
    found: list[RowPreview] = []
    for source in selected(config, names):
        if isinstance(source, TableSource) and source.update:
            try:
                found += _of_source(source, config, bucket, view)
            except MigratorError as error:
                found.append(RowPreview(source.name, "", problem=str(error)))
    return found


def _of_source(source: TableSource, config: Config, bucket: str, view: LedgerView) -> list[RowPreview]:
    tasks = view.waiting_records(source.name, EXAMPLES)
    if not tasks:
        return []
    database = open_database(source, config)
    try:
        return preview(source, database, new_values(source, config, bucket), tasks)
    finally:
        database.close()
