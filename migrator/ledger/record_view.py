"""Rows of the database as reports and plans read them from a ledger."""

from collections.abc import Callable, Iterator
from typing import Any

import orjson
from msgspec import Struct

from migrator.core.model import Fault
from migrator.core.records import RecordTask, Row

Pages = Callable[[str], Iterator[tuple[Any, ...]]]
"""Runs a query whose first column is an id, page by page, and hands out its rows without it."""


class FailedRecord(Struct, frozen=True):
    """A row that was not updated, and why; `primary_key` is spelled as in `Row`."""

    source: str
    primary_key: str
    location: str
    key: str
    fault: Fault
    message: str
    attempts: int


def failed_records(pages: Pages, kinds: Iterator[tuple[int, str, Fault]]) -> Iterator[FailedRecord]:
    """Those of each (number of the source, its name, fault) in turn, in the order of the scan."""
    for source, name, fault in kinds:
        for values in pages(
            "SELECT records.id, primary_key, location, key, records.message, records.attempts"
            " FROM records JOIN items ON items.id = records.item WHERE records.state = 'failed'"
            f" AND records.source = {source} AND records.fault = '{fault}' AND records.id > ? ORDER BY records.id"
        ):
            primary_key, location, key, message, attempts = values
            yield FailedRecord(name, primary_key, location, key, fault, message or "", attempts)


def waiting_records(pages: Pages, source: int, name: str) -> Iterator[RecordTask]:
    """Rows of a source whose objects are still to come, in the order of the scan, with what is known of these."""
    for number, primary_key, seen, fields, key, sha256, size, content_type in pages(
        "SELECT records.id, records.id, primary_key, seen, records.fields, key, sha256,"
        " coalesce(stored_size, size), content_type FROM records JOIN items ON items.id = records.item"
        f" WHERE records.source = {source} AND +records.state IN ('planned', 'ready') AND collides IS NULL"
        " AND records.id > ? ORDER BY records.id"
    ):
        values = {"key": key, "sha256": sha256, "size": None if size is None else str(size)}
        row = Row(primary_key, seen, orjson.loads(fields) if fields else None)
        yield RecordTask(number, name, row, values | {"content_type": content_type})
