"""Rows of the database as people know them: by table and primary key. failed_rows.csv: those that were not updated."""

import csv
from collections.abc import Iterable, Mapping
from typing import Protocol, TextIO

from msgspec import Struct

from migrator.core.model import Fault
from migrator.core.row_values import read_key
from migrator.core.secrets import mask_text
from migrator.reports import words

COLUMNS = ("table", "primary_key", "columns", "source", "fault", "attempts", "message", "what_to_do", "location", "key")


class FailedRecord(Protocol):
    """A row that was not updated; `location` is safe to show, `primary_key` a JSON array."""

    @property
    def source(self) -> str: ...
    @property
    def primary_key(self) -> str: ...
    @property
    def location(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def fault(self) -> Fault: ...
    @property
    def message(self) -> str: ...
    @property
    def attempts(self) -> int: ...


class Target(Struct, frozen=True):
    """What a source updates: `columns` of the rows of `table`, told apart by `primary_key`."""

    table: str
    primary_key: tuple[str, ...]
    columns: tuple[str, ...]


Targets = Mapping[str, Target]
"""By the name of the source."""


def row_name(record: FailedRecord, targets: Targets) -> str:
    """`row image_id=17 of s3_images`; of a source that is no longer configured only what the ledger knows."""
    values = read_key(record.primary_key)
    target = targets.get(record.source)
    if target is None or len(target.primary_key) != len(values):
        return f"row {record.primary_key} of {record.source}"
    where = ", ".join(f"{name}={value}" for name, value in zip(target.primary_key, values, strict=True))
    return f"row {where} of {target.table}"


def what_happened(record: FailedRecord, targets: Targets) -> str:
    """The row by name and why it was not updated, in one line."""
    name, message = row_name(record, targets), mask_text(record.message)
    return message if message.startswith(name) else f"{name}: {message}"


def failed_row(record: FailedRecord, targets: Targets) -> dict[str, object]:
    """As plain values, named as in COLUMNS."""
    target = targets.get(record.source)
    values = (
        target.table if target else "",
        record.primary_key,
        list(target.columns) if target else [],
        record.source,
        record.fault.value,
        record.attempts,
        mask_text(record.message),
        words.ROW_ADVICE.get(record.fault, words.ADVICE[record.fault]),
        record.location,
        record.key,
    )
    return dict(zip(COLUMNS, values, strict=True))


def write_failed_rows(failed: Iterable[FailedRecord], targets: Targets, file: TextIO) -> None:
    """Writes one line a row that was not updated, as they come."""
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(COLUMNS)
    for record in failed:
        row = failed_row(record, targets)
        target = targets.get(record.source)
        lines.writerow((row | {"columns": " ".join(target.columns) if target else ""}).values())
