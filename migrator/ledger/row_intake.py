"""The rows that items were found in come in here: new records, those that follow their row to another item."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from msgspec import Struct

from migrator.core.model import Fault, Item, Problem
from migrator.core.records import RecordState, Row
from migrator.ledger.records import RecordMoves, follow_items
from migrator.ledger.rows import change_rows

_DONE = (RecordState.INTENDED, RecordState.RECORDED)
"""The row is, or may be, updated already."""


class _Known(Struct, frozen=True):
    """A record that was there before this page."""

    id: int
    item: int
    location: str
    state: str
    reason: str
    seen: str
    fields: str | None
    after: str | None

    def written(self, seen: str) -> bool:
        """Whether a row that looks like `seen` shows what was written to it from here, and no location of its own."""
        if self.state not in _DONE or self.after is None or seen == self.seen:
            return False
        now, after = orjson.loads(seen), orjson.loads(self.after)
        both = now.keys() & after.keys()
        return bool(both) and all(now[name] == after[name] for name in both)


class RowIntake:
    """Enters the rows of one source, page by page."""

    def __init__(self, connection: sqlite3.Connection, source: int) -> None:
        self._connection = connection
        self._source = source
        self._moves = RecordMoves()
        self.problems: list[Problem] = []

    def without_written(self, items: Sequence[Item]) -> Sequence[Item]:
        """`items` but for those of rows that show what an update wrote: the new value is no location to move from."""
        if not self._any_done():
            return items
        known = self._known(item.row.primary_key for item in items if item.row)
        return [item for item in items if not (item.row and _is_written(known, item.row))]

    def enter(self, items: Sequence[Item], numbers: Sequence[int], *, fresh: bool) -> None:
        """`numbers` are the ids of `items`; `fresh` says that all of them are new."""
        wanted = {item.row.primary_key: (number, item) for item, number in zip(items, numbers, strict=True) if item.row}
        new = change_rows(
            self._connection,
            "INSERT INTO records (item, source, primary_key, seen, fields, state) VALUES ",
            f"(?, {self._source}, ?, ?, ?, 'planned')",
            " ON CONFLICT DO NOTHING",
            [(number, key, row.seen, _fields(row)) for key, number, row in _rows(wanted)],
        )
        self._moves.add(self._source, RecordState.PLANNED, "", new)
        if new < len(wanted):
            self._meet_known(wanted)
        self._moves.write(self._connection)
        if not fresh:
            follow_items(self._connection, {number for number, _ in wanted.values()})

    def _meet_known(self, wanted: dict[str, tuple[int, Item]]) -> None:
        known = self._known(wanted)
        changed: list[tuple[Any, ...]] = []
        for key, number, row in _rows(wanted):
            record = known[key]
            values = (record.id, number, row.seen, _fields(row))
            if values == (record.id, record.item, record.seen, record.fields):
                continue
            if record.state not in _DONE:
                changed.append(values)
                if record.item != number:
                    self._moves.add(self._source, record.state, record.reason, -1)
                    self._moves.add(self._source, RecordState.PLANNED, "", 1)
            elif record.item != number:
                self.problems.append(_moved_on(record, key, wanted[key][1]))
        change_rows(
            self._connection,
            "UPDATE records SET seen = v.column3, fields = v.column4,"
            + "".join(
                f" {column} = iif(item = v.column2, {column}, {value}),"
                for column, value in (
                    ("state", "'planned'"),
                    ("fault", "NULL"),
                    ("message", "NULL"),
                )
            )
            + " item = v.column2 FROM (VALUES ",
            "(?, ?, ?, ?)",
            ") AS v WHERE records.id = v.column1",
            changed,
        )

    def _any_done(self) -> bool:
        (found,) = self._connection.execute(
            "SELECT EXISTS (SELECT 1 FROM record_tallies WHERE source = ? AND state IN ('intended', 'recorded')"
            " AND records > 0)",
            (self._source,),
        ).fetchone()
        return bool(found)

    def _known(self, keys: Iterable[str]) -> dict[str, _Known]:
        rows = self._connection.execute(
            "SELECT primary_key, records.id, item, location, records.state, coalesce(records.fault, ''), seen,"
            " records.fields, after_image FROM records JOIN items ON items.id = records.item"
            " WHERE records.source = ? AND primary_key IN (SELECT value FROM json_each(?))",
            (self._source, orjson.dumps(list(keys)).decode()),
        ).fetchall()
        return {key: _Known(*values) for key, *values in rows}


def _rows(wanted: dict[str, tuple[int, Item]]) -> Iterable[tuple[str, int, Row]]:
    return ((key, number, item.row) for key, (number, item) in wanted.items() if item.row)


def _is_written(known: dict[str, _Known], row: Row) -> bool:
    record = known.get(row.primary_key)
    return record is not None and record.written(row.seen)


def _moved_on(record: _Known, key: str, item: Item) -> Problem:
    message = (
        f"the row {key} was updated for {record.location} and refers to this location now; it is not updated again"
    )
    return Problem(item.location, key, Fault.CHANGED, message)


def _fields(row: Row) -> str | None:
    return orjson.dumps(dict(row.fields), option=orjson.OPT_SORT_KEYS).decode() if row.fields else None
