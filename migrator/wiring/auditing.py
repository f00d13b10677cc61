"""What `setup` changed, as lines of the audit log."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from migrator.core.audit import Change, Deed, Kind
from migrator.core.config import Config
from migrator.setup import change as setup
from migrator.wiring.adapters import open_ledger

if TYPE_CHECKING:
    from migrator.setup.columns import MissingColumn


def of_bucket(bucket: str, made: setup.Change) -> Change:
    """The bucket itself, or a setting of it."""
    created = made.what == f"bucket {bucket}"
    details = {"what": made.what, "before": made.now, "after": made.then}
    return Change(Deed.CREATE if created else Deed.ALTER, Kind.BUCKET, bucket, details=details)


def of_folder(made: setup.Change) -> Change:
    """A folder that takes the place of a bucket."""
    return Change(Deed.CREATE, Kind.FOLDER, made.what.removeprefix("folder "))


def of_column(column: "MissingColumn") -> Change:
    """A column that was added to a table."""
    details = {"schema": column.schema, "type": column.type}
    return Change(Deed.CREATE, Kind.COLUMN, f"{column.table}.{column.name}", column.source, details)


async def note(config: Config, changes: Sequence[Change]) -> None:
    """Writes them down, outside any run; opens no ledger when there are none."""
    if changes:
        async with open_ledger(config) as ledger:
            await ledger.note(changes)
