"""What a scan finds comes in here: new items, known ones, collisions, problems and the cursor."""

import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from migrator.core.model import Fault, Item, Page, Problem, Skip, State
from migrator.core.secrets import mask_text
from migrator.ledger import key_index
from migrator.ledger.forgetting import BATCH, forget_unlisted, mend_collisions
from migrator.ledger.journal import recount
from migrator.ledger.moved import changed_since, follow_moved, free_rolled_back, note_listed
from migrator.ledger.row_intake import RowIntake
from migrator.ledger.rows import MAY_STAND, Moves, change_rows, plain
from migrator.ledger.seal import Seal

_COLUMNS = "source, location, key, size, fingerprint, fields, sealed, state"


_OURS = f"state IN ('stored', 'intended') OR {MAY_STAND}"
"""Items that this ledger has put under their key, or may have."""


@dataclass(slots=True)
class _Known:
    """An item that was there before; changes with its row, for the next in the page that is the same item."""

    id: int
    source: int
    location: str
    state: str
    fault: str
    size: int | None
    fingerprint: str | None
    fields: str | None
    sealed: str | None
    unlisted: int | None
    shared: int | None


class Intake:
    """Enters the pages of one source. The number of its scan tells a new signature from a second URL.

    What failed of `removed` sources becomes its own where it has that too: it may only have another name now. With
    `marks` stored items are noted as met. With `unchecked`, for a ledger that lacks the index of keys, nobody looks
    whether a key was there on an earlier page: see `latecomers`.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        source: int,
        scan: int,
        seal: Seal,
        removed: frozenset[int] = frozenset(),
        *,
        marks: bool = False,
        unchecked: bool = False,
    ) -> None:
        self._connection = connection
        self._source = source
        self._scan = scan
        self._seal = seal
        self._removed = removed
        self._moves = Moves()
        self._problems: list[Problem] = []
        self._collisions = 0
        self._met: list[int] = []
        self._noted = (State.ROLLED_BACK, State.STORED) if marks else (State.ROLLED_BACK,)
        self._stand_there = False
        self._unchecked = unchecked
        self.met_rows = False

    def enter(self, page: Page) -> int:
        """The number of new items; colliding ones count."""
        new, left_out = self._enter(page.items)
        problems = enter_problems(self._connection, self._source, (*page.problems, *self._problems))
        skipped = page.skipped + left_out
        self._connection.execute(
            "UPDATE scans SET cursor = ?, skipped = skipped + ?, problems = problems + ?, collisions = collisions + ?"
            " WHERE source = ?",
            (page.cursor, skipped, problems, self._collisions, self._source),
        )
        return new

    def enter_again(self, items: Sequence[Item]) -> None:
        """Enters what a page had that was entered before; whoever calls this counts collisions anew."""
        self._enter(items)

    def _enter(self, items: Sequence[Item]) -> tuple[int, int]:
        """How many are new, and how many are none to be moved."""
        found = self._without_own(items)
        rows = RowIntake(self._connection, self._source) if any(item.row for item in found) else None
        if rows:
            self.met_rows = True
            found = rows.without_written(found)
        new, numbers = self._items(found)
        if rows:
            rows.enter(found, numbers, fresh=isinstance(numbers, range))
            self._problems += rows.problems
        if self._met:
            note_listed(self._connection, self._met, self._scan)
        self._moves.write(self._connection)
        return new, len(items) - len(found)

    def _without_own(self, items: Sequence[Item]) -> Sequence[Item]:
        """`items` but for objects that this ledger has put where they were found."""
        places = [item.here for item in items if item.here is not None]
        if not places:
            return items
        self._stand_there = True
        if self._unchecked:
            return items  # a ledger without its index has put nothing anywhere
        rows = self._connection.execute(
            "SELECT key, location FROM items WHERE key IN (SELECT value FROM json_each(?))"
            f" AND collides IS NULL AND ({_OURS}) UNION ALL SELECT key, '' FROM variants"
            " WHERE key IN (SELECT value FROM json_each(?))"
            " AND (state = 'stored' OR fault IN ('transient', 'throttled'))",
            [orjson.dumps(places).decode()] * 2,
        )
        own = dict(rows.fetchall())
        return [item for item in items if item.here is None or own.get(item.here, item.location) == item.location]

    def _items(self, items: Sequence[Item]) -> tuple[int, Sequence[int]]:
        """How many are new, and the ids of all: a range where every one is new and planned."""
        (last,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM items").fetchone()
        wanted = list({_identity(item): item for item in items}.values()) if self._unchecked else items
        # They stand there already: an item that comes from elsewhere to the same key collides with them.
        in_place = [item for item in wanted if _was_listed_in_place(item)] if self._stand_there else []
        others = [item for item in wanted if not _was_listed_in_place(item)] if in_place else wanted
        new = self._insert(in_place, State.SKIPPED, Skip.IN_PLACE, last) if in_place else 0
        new += self._insert(others, State.PLANNED, "", last + new)
        if new == len(items) and not in_place:
            return new, range(last + 1, last + 1 + new)
        if self._unchecked:
            entered = {_identity(item): number for number, item in enumerate((*in_place, *others), last + 1)}
            return new, [entered[_identity(item)] for item in items]
        numbers = self._meet(items, last)
        return new + self._collisions, numbers

    def _insert(self, items: Sequence[Item], state: State, reason: str, last: int) -> int:
        settled = f"'{reason}', {int(time.time())}" if reason else "NULL, NULL"
        new = change_rows(
            self._connection,
            f"INSERT INTO items ({_COLUMNS}, fault, settled_at) VALUES ",
            f"({self._source}, ?, ?, ?, ?, ?, ?, '{state}', {settled})",
            " ON CONFLICT DO NOTHING",
            [(i.location, i.key, i.size, i.fingerprint, _fields(i), self._sealed(i)) for i in items],
        )
        (size,) = self._connection.execute("SELECT coalesce(sum(size), 0) FROM items WHERE id > ?", (last,)).fetchone()
        self._moves.add(self._source, state, reason, new, size)
        return new

    def _meet(self, items: Sequence[Item], last: int) -> list[int]:
        """The id of each item; deals with those whose key was there before."""
        known = self._known(items)
        entered = {key for key, item in known.items() if item.id > last}
        numbers = []
        for item in items:
            first = known[item.key]
            if item.key in entered and item.location == first.location:
                entered.remove(item.key)  # the first of its key in this page is the one that went in
                numbers.append(first.id)
            else:
                numbers.append(self._meet_one(item, first))
        return numbers

    def _known(self, items: Sequence[Item]) -> dict[str, _Known]:
        rows = self._connection.execute(
            "SELECT key, id, source, location, state, coalesce(fault, ''), size, fingerprint, fields, sealed,"
            " unlisted, shared FROM items WHERE key IN (SELECT value FROM json_each(?)) AND collides IS NULL",
            (orjson.dumps([item.key for item in items]).decode(),),
        )
        return {key: _Known(*values) for key, *values in rows.fetchall()}

    def _meet_one(self, item: Item, first: _Known) -> int:
        """The id that `item` has beside, or as, the `first` of its key."""
        if item.location != first.location:
            return self._collide(item, first.id, f"{first.location} has the same key and came first")
        if item.signed and first.sealed:
            signed, scan = self._seal.open(first.sealed)
            if signed != item.signed and scan == self._scan:
                why = f"a URL that differs only in the hidden part of {first.location} came first"
                return self._collide(item, first.id, why)
            # Signed again since the last scan, perhaps: the newest signature lives longest.
            if scan != self._scan:
                first.sealed = self._sealed(item)
                self._update(first.id, sealed=first.sealed)
        if first.source != self._source:
            self._meet_one_of_another(first)
        if first.state in self._noted:
            self._met.append(first.id)
        if first.unlisted:
            first.unlisted = None
            self._update(first.id, unlisted=None)
        if first.state in (State.PLANNED, State.FAILED):
            fields = _fields(item)
            if (item.size, item.fingerprint, fields) != (first.size, first.fingerprint, first.fields):
                self._update(first.id, size=item.size, fingerprint=item.fingerprint, fields=fields)
                self._moves.add(first.source, first.state, first.fault, 0, (item.size or 0) - (first.size or 0))
                first.size, first.fingerprint, first.fields = item.size, item.fingerprint, fields
            return first.id
        if (fields := _fields(item)) != first.fields:  # later variants are named by them
            self._update(first.id, fields=fields)
            first.fields = fields
        if first.state == State.STORED and _differ(item.fingerprint, first.fingerprint):
            self._update(first.id, now_size=item.size, now_fingerprint=item.fingerprint)
            self._problems.append(changed_since(item.location, item.key))
        return first.id

    def _meet_one_of_another(self, first: _Known) -> None:
        if first.state == State.FAILED and first.source in self._removed:
            self._moves.add(first.source, first.state, first.fault, -1, -(first.size or 0))
            self._moves.add(self._source, first.state, first.fault, 1, first.size or 0)
            first.source = self._source
            self._update(first.id, source=first.source)
        elif not first.shared:
            first.shared = 1
            self._update(first.id, shared=1)

    def _update(self, item: int, **values: object) -> None:
        columns = ", ".join(f"{column} = ?" for column in values)
        self._connection.execute(f"UPDATE items SET {columns} WHERE id = ?", (*values.values(), item))

    def _collide(self, item: Item, first: int, why: str) -> int:
        message = f"{item.location} is not moved to {item.key}: {why}"
        new = self._connection.execute(
            f"INSERT INTO items ({_COLUMNS}, fault, message, collides)"
            " VALUES (?, ?, ?, ?, ?, ?, NULL, 'failed', 'conflict', ?, ?) ON CONFLICT DO NOTHING",
            (self._source, item.location, item.key, item.size, item.fingerprint, _fields(item), message, first),
        ).rowcount
        self._moves.add(self._source, State.FAILED, Fault.CONFLICT, new, (item.size or 0) * new)
        self._collisions += new
        (number,) = self._connection.execute(
            "SELECT id FROM items WHERE key = ? AND location = ? AND collides IS NOT NULL", (item.key, item.location)
        ).fetchone()
        return int(number)

    def _sealed(self, item: Item) -> str | None:
        return self._seal.close(item.signed, self._scan) if item.signed else None


def _differ(now: str | None, before: str | None) -> bool:
    return bool(now and before) and now != before


def _identity(item: Item) -> tuple[str, str, str | None]:
    return item.key, item.location, item.signed


def _was_listed_in_place(item: Item) -> bool:
    """Whether a listing showed it under its own key. A row that says so proves nothing: the transfer will look."""
    return item.here == item.key and item.fingerprint is not None


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


def begin_scan(connection: sqlite3.Connection, source: int, listing: str) -> None:
    """From the beginning, under the next number; `forget_problems` comes next."""
    connection.execute(
        "INSERT INTO scans (source, number, listing, started_at) VALUES (?, 1, ?, ?) ON CONFLICT DO UPDATE SET"
        " number = number + 1, cursor = NULL, skipped = 0, problems = 0, collisions = 0,"
        # A scan that goes on where one that marks was killed, marks too.
        " marks = (listing IS NOT excluded.listing) OR (marks AND NOT complete), complete = 0,"
        " listing = excluded.listing, finished_at = NULL, started_at = excluded.started_at",
        (source, listing, int(time.time())),
    )


def forget_problems(connection: sqlite3.Connection, source: int) -> bool:
    """Removes some of those that earlier scans of `source` met; whether there may be more."""
    removed = connection.execute(
        f"DELETE FROM problems WHERE id IN (SELECT id FROM problems WHERE source = ? LIMIT {BATCH})", (source,)
    ).rowcount
    return removed == BATCH


def finish_scan(connection: sqlite3.Connection, source: int) -> None:
    """Everything was seen."""
    number = scan_number(connection, source)
    if number > 1 and not key_index.is_missing(connection):
        forget_unlisted(connection, source)
        free_rolled_back(connection, source, number)
        if marks(connection, source):
            enter_problems(connection, source, follow_moved(connection, source, number))
        mend_collisions(connection)
        recount(connection)
    connection.execute("UPDATE scans SET complete = 1, finished_at = ? WHERE source = ?", (int(time.time()), source))


def marks(connection: sqlite3.Connection, source: int) -> bool:
    """Whether the scan of `source` notes which stored items it meets."""
    row = connection.execute("SELECT marks FROM scans WHERE source = ?", (source,)).fetchone()
    return bool(row and row[0])


def listing(connection: sqlite3.Connection, source: int) -> str | None:
    """What the scan of `source` was asked for when it began; None: it never did."""
    row = connection.execute("SELECT listing FROM scans WHERE source = ?", (source,)).fetchone()
    return row[0] if row else None


def cursor(connection: sqlite3.Connection, source: int) -> tuple[str | None, bool]:
    """(cursor, complete)."""
    row = connection.execute("SELECT cursor, complete FROM scans WHERE source = ?", (source,)).fetchone()
    return (row[0], bool(row[1])) if row else (None, False)
