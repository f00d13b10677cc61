"""Sources that were taken away: intended, settled, brought back. Tallies move in the same transactions."""

import sqlite3
import time
from collections.abc import Collection, Sequence
from typing import Any

import orjson
from msgspec.structs import replace

from migrator.core.audit import Change, Deed, Kind
from migrator.core.cleaning import CleanedTally, Gone, Removal, Way
from migrator.core.undoing import Scope
from migrator.ledger.journal import source_number
from migrator.ledger.rows import change_rows

_DEEDS = {
    Gone.TRASHED: Deed.TRASH,
    Gone.DELETED: Deed.DELETE,
    Gone.PURGED: Deed.PURGE,
    Gone.RESTORED: Deed.RESTORE,
}

_COLUMNS = (
    "cleaned.id, location, sources.name, way, place, size, fingerprint, version_id, marker_id, state, intended_at,"
    " settled_at, (SELECT json_group_array(item) FROM cleaned_items WHERE cleaned_items.cleaned = cleaned.id)"
)
_FROM = "FROM cleaned JOIN sources ON sources.id = cleaned.source"


def intend(connection: sqlite3.Connection, removal: Removal, run: int) -> Removal:
    """See the port. What is known of an earlier removal of the same source, which came back, is forgotten."""
    now = int(time.time())
    for (number,) in connection.execute("SELECT id FROM cleaned WHERE location = ?", (removal.location,)).fetchall():
        forget(connection, [number])
    number = connection.execute(
        "INSERT INTO cleaned (location, source, state, way, place, size, fingerprint, version_id, run, intended_at)"
        " VALUES (?, ?, 'intended', ?, ?, ?, ?, ?, ?, ?)",
        (
            removal.location,
            source_number(connection, removal.source),
            removal.way,
            removal.place,
            removal.size,
            removal.fingerprint,
            removal.version_id,
            run,
            now,
        ),
    ).lastrowid
    assert number is not None
    change_rows(
        connection,
        "INSERT OR REPLACE INTO cleaned_items (item, cleaned) VALUES ",
        "(?, ?)",
        "",
        [(item, number) for item in removal.items],
    )
    _count(connection, [number], 1)
    return replace(removal, number=number, state=Gone.INTENDED, intended_at=now)


def settle(connection: sqlite3.Connection, removals: Sequence[Removal]) -> list[Change]:
    """See the port; what is to be said of it in the audit log."""
    numbers = [removal.number for removal in removals]
    _count(connection, numbers, -1)
    change_rows(
        connection,
        f"UPDATE cleaned SET state = v.column2, marker_id = v.column3, settled_at = {int(time.time())} FROM (VALUES ",
        "(?, ?, ?)",
        ") AS v WHERE cleaned.id = v.column1",
        [(removal.number, removal.state, removal.marker_id) for removal in removals],
    )
    _count(connection, numbers, 1)
    return [_change(removal) for removal in removals]


def _change(removal: Removal) -> Change:
    details: dict[str, str | int | None] = {"way": removal.way.value, "size": removal.size}
    told = {"place": removal.place, "version": removal.version_id, "marker": removal.marker_id}
    details |= {name: value for name, value in told.items() if value}
    return Change(_DEEDS[removal.state], Kind.SOURCE, removal.location, removal.source, details)


def forget(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """See the port."""
    _count(connection, numbers, -1)
    wanted = orjson.dumps(list(numbers)).decode()
    connection.execute("DELETE FROM cleaned_items WHERE cleaned IN (SELECT value FROM json_each(?))", (wanted,))
    connection.execute("DELETE FROM cleaned WHERE id IN (SELECT value FROM json_each(?))", (wanted,))


def _count(connection: sqlite3.Connection, numbers: Sequence[int], sign: int) -> None:
    connection.execute(
        "INSERT INTO cleaned_tallies (source, state, sources, bytes)"
        f" SELECT source, state, {sign} * count(*), {sign} * sum(size) FROM cleaned"
        " WHERE id IN (SELECT value FROM json_each(?)) GROUP BY 1, 2"
        " ON CONFLICT DO UPDATE SET sources = sources + excluded.sources, bytes = bytes + excluded.bytes",
        (orjson.dumps(list(numbers)).decode(),),
    )


def removals(
    connection: sqlite3.Connection, states: Collection[Gone], after: int, limit: int, sources: Sequence[str]
) -> list[Removal]:
    """See the port."""
    chosen = f"sources.name IN ({', '.join('?' * len(sources))})" if sources else "1"
    rows = connection.execute(
        f"SELECT {_COLUMNS} {_FROM} WHERE cleaned.id > ? AND state IN ({', '.join('?' * len(states))}) AND {chosen}"
        " ORDER BY cleaned.id LIMIT ?",
        (after, *states, *sources, limit),
    )
    return [_removal(row) for row in rows]


def to_undo(connection: sqlite3.Connection, after: int, limit: int, scope: Scope) -> list[Removal]:
    """See the port."""
    within, values = "1", list[object]()
    if scope.run is not None:
        within = (
            "(cleaned.run = ? OR EXISTS (SELECT 1 FROM cleaned_items AS its JOIN items ON items.id = its.item"
            " LEFT JOIN records ON records.item = items.id WHERE its.cleaned = cleaned.id"
            " AND (items.run = ? OR records.run = ?)))"
        )
        values += [scope.run] * 3
    if scope.sources:
        within += (
            " AND EXISTS (SELECT 1 FROM cleaned_items AS its JOIN items ON items.id = its.item"
            " JOIN sources AS theirs ON theirs.id = items.source WHERE its.cleaned = cleaned.id"
            f" AND theirs.name IN ({', '.join('?' * len(scope.sources))}))"
        )
        values += scope.sources
    rows = connection.execute(
        f"SELECT {_COLUMNS} {_FROM} WHERE cleaned.id > ? AND state <> 'restored' AND {within}"
        " ORDER BY cleaned.id LIMIT ?",
        (after, *values, limit),
    )
    return [_removal(row) for row in rows]


def _removal(row: tuple[Any, ...]) -> Removal:
    number, location, source, way, place, size, fingerprint, version, marker, state, intended, settled, items = row
    return Removal(
        location=location,
        source=source,
        items=tuple(orjson.loads(items)),
        way=Way(way),
        size=size,
        fingerprint=fingerprint,
        place=place,
        version_id=version,
        marker_id=marker,
        state=Gone(state),
        number=number,
        intended_at=intended,
        at=settled or intended,
    )


def digest_of(connection: sqlite3.Connection, item: int) -> tuple[bytes | None, int | None]:
    """See the port."""
    row = connection.execute("SELECT sha256, coalesce(stored_size, size) FROM items WHERE id = ?", (item,)).fetchone()
    return (bytes.fromhex(row[0]) if row[0] else None, row[1]) if row else (None, None)


def keep_bereft(connection: sqlite3.Connection, items: Sequence[int]) -> None:
    """See the port."""
    _make_bereft(connection)
    change_rows(connection, "INSERT OR IGNORE INTO temp.bereft (item) VALUES ", "(?)", "", [(item,) for item in items])


def bereft(connection: sqlite3.Connection, items: Sequence[int]) -> set[int]:
    """See the port."""
    _make_bereft(connection)
    rows = connection.execute(
        "SELECT item FROM temp.bereft WHERE item IN (SELECT value FROM json_each(?))",
        (orjson.dumps(list(items)).decode(),),
    )
    return {item for (item,) in rows}


def _make_bereft(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS bereft (item INTEGER PRIMARY KEY)")


def tallies(connection: sqlite3.Connection) -> list[CleanedTally]:
    """By source and state; only those that count something."""
    rows = connection.execute(
        "SELECT sources.name, state, cleaned_tallies.sources, bytes FROM cleaned_tallies"
        " JOIN sources ON sources.id = cleaned_tallies.source WHERE cleaned_tallies.sources <> 0 ORDER BY 1, 2"
    )
    return [CleanedTally(source, Gone(state), number, size) for source, state, number, size in rows]
