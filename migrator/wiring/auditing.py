"""The audit log: what `setup` changed as lines of it, and what is read of it."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from migrator.core.audit import Change, Checked, Deed, Event, Kind, Wanted
from migrator.core.config import Config
from migrator.ledger import audit_check, audit_reading
from migrator.setup import change as setup
from migrator.wiring.adapters import open_ledger, view

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


def check_audit(config: Config) -> Checked:
    """Walks along the log. Raises LedgerError when there is no ledger, or one of the two cannot be read."""
    with view(config) as ledger:
        known = ledger.audit_head()
    return audit_check.check(config.audit_path, known)


def events(config: Config, wanted: Wanted) -> Iterator[Event]:
    """The `wanted` lines of the log, the newest last. Raises LedgerError when there is none, or it cannot be read."""
    return audit_reading.events(config.audit_path, wanted)
