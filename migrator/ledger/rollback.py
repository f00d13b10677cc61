"""What a rollback asks of the ledger, and what it writes: tallies move in the same transactions."""

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from migrator.core.model import Skip, State, Task
from migrator.core.records import RecordState, RecordTask, Row, RowChange
from migrator.core.secrets import mask_text
from migrator.core.undoing import Doing, LeftAlone, Placement, Remains, RowBack, Scope, UndoneItem
from migrator.ledger import variants
from migrator.ledger.audit import AuditLog
from migrator.ledger.audit_changes import of_rows_back, of_undone
from migrator.ledger.records import RecordMoves
from migrator.ledger.rows import MAY_STAND, Moves, change_rows, plain
from migrator.ledger.seal import Seal

_UNSURE = ("transient", "throttled")
"""Faults after which an attempt may have reached the destination all the same."""

_OWN = f"(items.state = 'stored' OR items.state = 'intended' OR {MAY_STAND})"
_ITS_VARIANTS = "EXISTS (SELECT 1 FROM variants WHERE variants.item = items.id AND variants.state = 'stored')"
_MAY_HAVE_VARIANTS = f"(items.state = 'skipped' AND items.fault IN ('{Skip.IDENTICAL}', '{Skip.IN_PLACE}'))"

_SURE = ("stored", "skipped", "rolled-back")
"""States of variants about which nothing is left to find out."""


def begin(connection: sqlite3.Connection) -> None:
    """See the port."""
    connection.execute("DELETE FROM left_alone")


def keep_backups(connection: sqlite3.Connection, backups: Sequence[tuple[str, int, str]]) -> None:
    """See the port."""
    _make_backups(connection)
    change_rows(
        connection,
        "INSERT OR IGNORE INTO temp.backups (name, run, key) VALUES ",
        "(?, ?, ?)",
        "",
        backups,
    )
    # Of an object that was adopted after a kill the ledger does not know what it replaced. It has to when the backup is
    # gone: else what this rollback brings back, killed before that is settled, would be taken for somebody's.
    pairs = [(f"backup:{key}", name) for name, _, key in backups]
    for table, one in (("items", "collides IS NULL"), ("variants", "1")):
        connection.executemany(
            f"UPDATE {table} SET replaced = ? WHERE key = ? AND {one} AND state = 'stored' AND replaced IS NULL", pairs
        )


def spare_backups(connection: sqlite3.Connection, after: str, limit: int) -> list[tuple[str, str]]:
    """See the port."""
    _make_backups(connection)
    return connection.execute(
        "SELECT name, key FROM temp.backups WHERE NOT given AND key > ? ORDER BY key LIMIT ?", (after, limit)
    ).fetchall()


def _make_backups(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS backups (key TEXT PRIMARY KEY, name TEXT NOT NULL, run INTEGER NOT NULL,"
        " given INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID"
    )
    connection.execute("CREATE INDEX IF NOT EXISTS temp.backups_name ON backups (name)")


def _backups_of(connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, list[str]]:
    """Keys of the backups of what stood under `keys`, the newest first; they count as given from now on."""
    _make_backups(connection)
    if not connection.execute("SELECT EXISTS (SELECT 1 FROM temp.backups)").fetchone()[0]:
        return {}
    # The backup of a very long key has its digest for a name.
    names = {name: key for key in keys for name in (key, hashlib.sha256(key.encode()).hexdigest())}
    found: dict[str, list[str]] = {}
    wanted = orjson.dumps(list(names)).decode()
    for name, key in connection.execute(
        "SELECT name, key FROM temp.backups WHERE name IN (SELECT value FROM json_each(?)) ORDER BY run DESC", (wanted,)
    ):
        found.setdefault(names[name], []).append(key)
    connection.execute(
        "UPDATE temp.backups SET given = 1 WHERE name IN (SELECT value FROM json_each(?))",
        (wanted,),
    )
    return found


class _Found(NamedTuple):
    """What the ledger says of an item of which something may stand. `owns`: its own object may; `within`: the scope."""

    item: int
    source: str
    location: str
    key: str
    size: int | None
    fingerprint: str | None
    fields: str | None
    sealed: str | None
    state: str
    fault: str | None
    stored_size: int | None
    sha256: str | None
    etag: str | None
    version: str | None
    content_type: str | None
    replaced: str | None
    without_original: int | None
    settled_at: int | None
    owns: int
    within: int

    @property
    def arrived(self) -> bool:
        """Whether it is known what was put there: nothing else has been since."""
        if self.state == State.STORED:
            return True
        # Planned once more, because `verify` found it missing or damaged.
        again = self.state == State.PLANNED or (self.state == State.FAILED and self.fault not in _UNSURE)
        return self.etag is not None and again


class _Variant(NamedTuple):
    """What the ledger says of a variant."""

    name: str
    format: str
    key: str
    state: str
    etag: str | None
    version: str | None
    replaced: str | None
    run: int | None
    settled_at: int | None


def remains(
    connection: sqlite3.Connection, after: int, limit: int, scope: Scope, ledger_id: str, seal: Seal
) -> list[Remains]:
    """See the port."""
    within, values = _within(connection, scope)
    rows = connection.execute(
        "SELECT items.id, sources.name, location, items.key, items.size, fingerprint, fields, sealed, items.state,"
        " items.fault, stored_size, sha256, etag, version_id, content_type, replaced, without_original, settled_at,"
        f" {_OWN}, {within} FROM items JOIN sources ON sources.id = items.source"
        f" WHERE items.id > ? AND collides IS NULL AND ({_OWN} OR {_ITS_VARIANTS} OR {_MAY_HAVE_VARIANTS})"
        f" AND {_among(scope.sources, 'sources.name')} AND ({within} OR {_variant_within(scope)})"
        " ORDER BY items.id LIMIT ?",
        (*values, after, *scope.sources, *values, *_run_of(scope), limit),
    ).fetchall()
    found = [_Found(*row) for row in rows]
    known = _variants_of(connection, [one.item for one in found])
    keys = [one.key for one in found] + [variant.key for variants in known.values() for variant in variants]
    backups = _backups_of(connection, keys)
    return [_remains(one, known.get(one.item, []), backups, scope, ledger_id, seal) for one in found]


def _remains(
    found: _Found,
    known: Sequence[_Variant],
    backups: Mapping[str, Sequence[str]],
    scope: Scope,
    ledger_id: str,
    seal: Seal,
) -> Remains:
    put_id = f"{ledger_id}/{found.item}"
    settled = found.state in (State.STORED, State.SKIPPED)
    return Remains(
        task=Task(
            found.item,
            put_id,
            found.source,
            found.location,
            found.key,
            found.size,
            found.fingerprint,
            fields=orjson.loads(found.fields) if found.fields else None,
            signed=seal.url(found.sealed),
            again=True,
        ),
        own=_own(found, put_id, backups),
        variants=tuple(
            Placement(
                variant.key,
                f"{put_id}/{variant.name}.{variant.format}",
                (variant.name, variant.format),
                variant.etag,
                variant.version,
                variant.settled_at,
                variant.replaced,
                tuple(backups.get(variant.key, ())),
            )
            for variant in known
            if variant.state == "stored" and (found.within or variant.run == scope.run)
        ),
        looked=frozenset((variant.name, variant.format) for variant in known if variant.state in _SURE),
        arrived=settled,
        closes=bool(found.within) and found.state in (State.STORED, State.INTENDED),
        size=found.stored_size if settled else found.size,
        sha256=found.sha256,
        content_type=found.content_type,
    )


def _own(found: _Found, put_id: str, backups: Mapping[str, Sequence[str]]) -> Placement | None:
    """The item's own object, as far as there may be one."""
    arrived = found.arrived
    if not found.within or not found.owns or (found.without_original and arrived):
        return None
    return Placement(
        found.key,
        put_id,
        None,
        found.etag if arrived else None,
        found.version if arrived else None,
        found.settled_at if arrived else None,
        found.replaced,
        tuple(backups.get(found.key, ())),
    )


def _variants_of(connection: sqlite3.Connection, items: Sequence[int]) -> dict[int, list[_Variant]]:
    found: dict[int, list[_Variant]] = {}
    for item, *rest in connection.execute(
        "SELECT item, name, format, key, state, etag, version_id, replaced, run, settled_at FROM variants"
        " WHERE item IN (SELECT value FROM json_each(?)) ORDER BY id",
        (orjson.dumps(list(items)).decode(),),
    ):
        found.setdefault(item, []).append(_Variant(*rest))
    return found


def _within(connection: sqlite3.Connection, scope: Scope) -> tuple[str, tuple[int, ...]]:
    """A condition on items: what the run of `scope` brought. What a kill left intended is the last run's."""
    if scope.run is None:
        return "1", ()
    (last,) = connection.execute("SELECT max(id) FROM runs WHERE command = 'migrate'").fetchone()
    return "(items.run = ?" + (" OR items.state = 'intended')" if last == scope.run else ")"), (scope.run,)


def _variant_within(scope: Scope) -> str:
    return (
        "EXISTS (SELECT 1 FROM variants WHERE variants.item = items.id AND variants.run = ?)"
        if scope.run is not None
        else "0"
    )


def _run_of(scope: Scope) -> tuple[int, ...]:
    return () if scope.run is None else (scope.run,)


def _among(names: Sequence[str], column: str) -> str:
    return f"{column} IN ({', '.join('?' * len(names))})" if names else "1"


def uploads(connection: sqlite3.Connection, scope: Scope) -> list[tuple[str, str, str]]:
    """See the port."""
    within, values = _within(connection, scope)
    return connection.execute(
        "SELECT sources.name, items.key, upload_id FROM uploads JOIN items ON items.id = uploads.item"
        f" JOIN sources ON sources.id = items.source WHERE {within} AND {_among(scope.sources, 'sources.name')}"
        " ORDER BY uploads.id",
        (*values, *scope.sources),
    ).fetchall()


def rows_to_undo(connection: sqlite3.Connection, source: str, after: int, limit: int, scope: Scope) -> list[RowBack]:
    """See the port."""
    within, values = _within(connection, scope)
    if scope.run is not None:
        within = f"(records.run = ? OR {within} OR {_variant_within(scope)})"
        values = (scope.run, *values, scope.run)
    chosen = f"({_among(scope.sources, 'its.name')} OR {_among(scope.sources, 'theirs.name')})"
    rows = connection.execute(
        "SELECT records.id, records.item, primary_key, seen, before_image, after_image FROM records"
        " JOIN items ON items.id = records.item JOIN sources AS its ON its.id = records.source"
        " JOIN sources AS theirs ON theirs.id = items.source"
        " WHERE records.id > ? AND its.name = ? AND (before_image IS NOT NULL OR records.state = 'recorded')"
        f" AND records.state <> 'rolled-back' AND {chosen} AND {within} ORDER BY records.id LIMIT ?",
        (after, source, *scope.sources, *scope.sources, *values, limit),
    ).fetchall()
    return [
        RowBack(
            record,
            item,
            source,
            primary_key,
            # What is written now is what stood there before, and the other way round.
            RowChange(RecordTask(record, source, Row(primary_key, seen), {}), after_image, before) if before else None,
        )
        for record, item, primary_key, seen, before, after_image in rows
    ]


def settle_rows(
    connection: sqlite3.Connection, back: Sequence[RowBack], left: Sequence[LeftAlone], audit: AuditLog
) -> None:
    """See the port."""
    audit.add(of_rows_back(connection, back))
    _roll_back_records(connection, "id IN (SELECT value FROM json_each(?))", [row.record for row in back])
    _keep_left(connection, left)


def _roll_back_records(connection: sqlite3.Connection, chosen: str, numbers: Sequence[int]) -> None:
    wanted = orjson.dumps(list(numbers)).decode()
    moves = RecordMoves()
    for source, state, reason, count in connection.execute(
        f"SELECT source, state, coalesce(fault, ''), count(*) FROM records WHERE {chosen} GROUP BY 1, 2, 3", (wanted,)
    ).fetchall():
        moves.add(source, state, reason, -count)
        moves.add(source, RecordState.ROLLED_BACK, "", count)
    moves.write(connection)
    connection.execute(
        f"UPDATE records SET state = 'rolled-back', fault = NULL, message = NULL WHERE {chosen}", (wanted,)
    )


def settle(
    connection: sqlite3.Connection, done: Sequence[UndoneItem], left: Sequence[LeftAlone], audit: AuditLog
) -> None:
    """See the port."""
    audit.add(of_undone(done))
    _roll_back_variants(connection, done)
    closed = [one.remains.task.id for one in done if _closes(one)]
    numbers = orjson.dumps(closed).decode()
    moves = Moves()
    for source, state, reason, count, before, size in connection.execute(
        "SELECT source, state, coalesce(fault, ''), count(*),"
        " sum(coalesce(iif(state = 'stored', stored_size, size), 0)), sum(coalesce(stored_size, size, 0))"
        " FROM items WHERE id IN (SELECT value FROM json_each(?)) GROUP BY 1, 2, 3",
        (numbers,),
    ).fetchall():
        moves.add(source, state, reason, -count, -before)
        moves.add(source, State.ROLLED_BACK, "", count, size)
    moves.write(connection)
    connection.execute(
        "UPDATE items SET state = 'rolled-back', fault = NULL, message = NULL"
        " WHERE id IN (SELECT value FROM json_each(?))",
        (numbers,),
    )
    connection.execute("DELETE FROM verified WHERE item IN (SELECT value FROM json_each(?))", (numbers,))
    # Rows that waited for these objects would be updated to point at nothing.
    waiting = "item IN (SELECT value FROM json_each(?)) AND (state = 'planned' OR state = 'ready')"
    _roll_back_records(connection, f"{waiting} AND before_image IS NULL", closed)
    _keep_left(connection, left)


def _closes(done: UndoneItem) -> bool:
    own = done.own
    if own is None:
        parts = [part.doing for part in done.variants.values()]
        return done.remains.closes and Doing.LEAVE not in parts
    return own.doing is not Doing.LEAVE and (done.remains.closes or own.doing is not Doing.NOTHING)


def _roll_back_variants(connection: sqlite3.Connection, done: Sequence[UndoneItem]) -> None:
    names = [
        (one.remains.task.id, *name)
        for one in done
        for name, part in one.variants.items()
        if part.doing is not Doing.LEAVE
    ]
    variants.change_state(connection, names, "stored", "rolled-back")


def _keep_left(connection: sqlite3.Connection, left: Sequence[LeftAlone]) -> None:
    change_rows(
        connection,
        "INSERT INTO left_alone (kind, name, source, fault, message) VALUES ",
        "(?, ?, ?, ?, ?)",
        "",
        [(one.kind, plain(one.name), one.source, one.fault, plain(mask_text(one.message))) for one in left],
    )
