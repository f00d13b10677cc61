"""What a scan finds comes in here: new items, known ones, collisions, problems and the cursor."""

import sqlite3
import time
from collections.abc import Iterable, Sequence

import orjson

from migrator.core.model import Fault, Item, Page, Problem, State
from migrator.core.secrets import mask_text
from migrator.ledger.rows import Moves, change_rows, plain
from migrator.ledger.seal import Seal

_COLUMNS = "source, location, key, size, fingerprint, fields, sealed, state"


class Intake:
    """Enters the pages of one source. The number of its scan tells a new signature from a second URL."""

    def __init__(self, connection: sqlite3.Connection, source: int, scan: int, seal: Seal) -> None:
        self._connection = connection
        self._source = source
        self._scan = scan
        self._seal = seal
        self._moves = Moves()
        self._problems: list[Problem] = []
        self._collisions = 0

    def enter(self, page: Page) -> int:
        """The number of new items; colliding ones count."""
        new = self._items(page.items)
        problems = enter_problems(self._connection, self._source, (*page.problems, *self._problems))
        self._moves.write(self._connection)
        self._connection.execute(
            "UPDATE scans SET cursor = ?, skipped = skipped + ?, problems = problems + ?, collisions = collisions + ?"
            " WHERE source = ?",
            (page.cursor, page.skipped, problems, self._collisions, self._source),
        )
        return new

    def _items(self, items: Sequence[Item]) -> int:
        (last,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM items").fetchone()
        new = change_rows(
            self._connection,
            f"INSERT INTO items ({_COLUMNS}) VALUES ",
            f"({self._source}, ?, ?, ?, ?, ?, ?, 'planned')",
            " ON CONFLICT DO NOTHING",
            [(i.location, i.key, i.size, i.fingerprint, _fields(i), self._sealed(i)) for i in items],
        )
        (size,) = self._connection.execute("SELECT coalesce(sum(size), 0) FROM items WHERE id > ?", (last,)).fetchone()
        self._moves.add(self._source, State.PLANNED, "", new, size)
        if new < len(items):
            self._meet_known(items, last)
        return new + self._collisions

    def _meet_known(self, items: Sequence[Item], last: int) -> None:
        """Deals with the items whose key was there before."""
        entered = {key for (key,) in self._connection.execute("SELECT key FROM items WHERE id > ?", (last,))}
        for item in items:
            if item.key in entered:
                entered.remove(item.key)  # the first of its key in this page is the one that went in
            else:
                self._meet(item)

    def _meet(self, item: Item) -> None:
        known = self._connection.execute(
            "SELECT id, source, location, state, coalesce(fault, ''), size, fingerprint, fields, sealed FROM items"
            " WHERE key = ? AND collides IS NULL",
            (item.key,),
        ).fetchone()
        number, source, location, state, fault, size, fingerprint, fields, sealed = known
        if item.location != location:
            self._collide(item, number, f"{location} has the same key and came first")
            return
        if item.signed and sealed:
            signed, scan = self._seal.open(sealed)
            if signed != item.signed and scan == self._scan:
                self._collide(item, number, f"a URL that differs only in the hidden part of {location} came first")
                return
            # Signed again since the last scan, perhaps: the newest signature lives longest.
            if scan != self._scan:
                self._update(number, sealed=self._sealed(item))
        if state in (State.PLANNED, State.FAILED):
            if (item.size, item.fingerprint, _fields(item)) != (size, fingerprint, fields):
                self._update(number, size=item.size, fingerprint=item.fingerprint, fields=_fields(item))
                self._moves.add(source, state, fault, 0, (item.size or 0) - (size or 0))
        elif state == State.STORED and item.fingerprint != fingerprint and item.fingerprint and fingerprint:
            message = f"it was stored as {item.key} and has changed since; what was stored is what it was then"
            self._problems.append(Problem(item.location, "", Fault.CHANGED, message))

    def _update(self, item: int, **values: object) -> None:
        columns = ", ".join(f"{column} = ?" for column in values)
        self._connection.execute(f"UPDATE items SET {columns} WHERE id = ?", (*values.values(), item))

    def _collide(self, item: Item, first: int, why: str) -> None:
        message = f"{item.location} is not moved to {item.key}: {why}"
        new = self._connection.execute(
            f"INSERT INTO items ({_COLUMNS}, fault, message, collides)"
            " VALUES (?, ?, ?, ?, ?, ?, NULL, 'failed', 'conflict', ?, ?) ON CONFLICT DO NOTHING",
            (self._source, item.location, item.key, item.size, item.fingerprint, _fields(item), message, first),
        ).rowcount
        self._moves.add(self._source, State.FAILED, Fault.CONFLICT, new, (item.size or 0) * new)
        self._collisions += new

    def _sealed(self, item: Item) -> str | None:
        return self._seal.close(item.signed, self._scan) if item.signed else None


def _fields(item: Item) -> str | None:
    return orjson.dumps(dict(item.fields), option=orjson.OPT_SORT_KEYS).decode() if item.fields else None


def enter_problems(connection: sqlite3.Connection, source: int, problems: Iterable[Problem]) -> int:
    """Keeps `problems`; returns how many were not there before."""
    return change_rows(
        connection,
        "INSERT OR IGNORE INTO problems (source, place, position, fault, message) VALUES ",
        f"({source}, ?, ?, ?, ?)",
        "",
        [(plain(mask_text(p.place)), plain(p.position), p.fault, plain(mask_text(p.message))) for p in problems],
    )


def scan_number(connection: sqlite3.Connection, source: int) -> int:
    """The number of the scan that `source` is in; it begins its first one if need be."""
    connection.execute(
        "INSERT INTO scans (source, number, started_at) VALUES (?, 1, ?) ON CONFLICT DO NOTHING",
        (source, int(time.time())),
    )
    (number,) = connection.execute("SELECT number FROM scans WHERE source = ?", (source,)).fetchone()
    return int(number)


def begin_scan(connection: sqlite3.Connection, source: int) -> None:
    """From the beginning, under the next number; the old problems are forgotten."""
    connection.execute("DELETE FROM problems WHERE source = ?", (source,))
    connection.execute(
        "INSERT INTO scans (source, number, started_at) VALUES (?, 1, ?) ON CONFLICT DO UPDATE SET"
        " number = number + 1, cursor = NULL, complete = 0, skipped = 0, problems = 0, finished_at = NULL,"
        " started_at = excluded.started_at",
        (source, int(time.time())),
    )


def finish_scan(connection: sqlite3.Connection, source: int) -> None:
    """Everything was seen."""
    scan_number(connection, source)
    connection.execute("UPDATE scans SET complete = 1, finished_at = ? WHERE source = ?", (int(time.time()), source))


def cursor(connection: sqlite3.Connection, source: int) -> tuple[str | None, bool]:
    """(cursor, complete)."""
    row = connection.execute("SELECT cursor, complete FROM scans WHERE source = ?", (source,)).fetchone()
    return (row[0], bool(row[1])) if row else (None, False)
