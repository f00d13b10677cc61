"""What a rollback asks of the ledger, and what it writes: tallies move in the same transactions."""

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from migrator.core.model import Skip, State, Task
from migrator.core.records import RecordState, RecordTask, Row, RowChange
from migrator.core.secrets import mask_text
from migrator.core.undoing import Doing, LeftAlone, Placement, Remains, RowBack, Scope, UndoneItem
from migrator.ledger import records, variants
from migrator.ledger.queue import Retried
from migrator.ledger.records import RecordMoves
from migrator.ledger.rows import Moves, change_rows, plain
from migrator.ledger.seal import Seal

_PERHAPS = (
    "(items.attempts > 0 AND (items.state = 'planned'"
    " OR (items.state = 'failed' AND items.fault IN ('transient', 'throttled'))))"
)
"""An attempt of these may have reached the destination all the same."""

_OWN = f"(items.state = 'stored' OR items.state = 'intended' OR {_PERHAPS})"
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


def remains(
    connection: sqlite3.Connection, after: int, limit: int, scope: Scope, ledger_id: str, seal: Seal
) -> list[Remains]:
    """See the port."""
    within, values = _within(connection, scope)
    found = connection.execute(
        "SELECT items.id, sources.name, location, items.key, items.size, fingerprint, fields, sealed, items.state,"
        " stored_size, sha256, etag, version_id, content_type, replaced, without_original, settled_at,"
        f" {_OWN}, {within} FROM items JOIN sources ON sources.id = items.source"
        f" WHERE items.id > ? AND collides IS NULL AND ({_OWN} OR {_ITS_VARIANTS} OR {_MAY_HAVE_VARIANTS})"
        f" AND {_among(scope.sources, 'sources.name')} AND ({within} OR {_variant_within(scope)})"
        " ORDER BY items.id LIMIT ?",
        (*values, after, *scope.sources, *values, *_run_of(scope), limit),
    ).fetchall()
    known = _variants_of(connection, [row[0] for row in found])
    keys = [row[3] for row in found] + [variant[2] for rows in known.values() for variant in rows]
    backups = _backups_of(connection, keys)
    return [_remains(row, known.get(row[0], []), backups, scope, ledger_id, seal) for row in found]


def _remains(
    row: tuple[Any, ...],
    known: Sequence[tuple[Any, ...]],
    backups: Mapping[str, Sequence[str]],
    scope: Scope,
    ledger_id: str,
    seal: Seal,
) -> Remains:
    (
        item,
        source,
        location,
        key,
        size,
        fingerprint,
        fields,
        sealed,
        state,
        stored,
        sha256,
        etag,
        version,
        kind,
        *rest,
    ) = row
    replaced, without, settled_at, perhaps, within = rest
    put_id = f"{ledger_id}/{item}"
    arrived = state == State.STORED
    own = None
    if within and perhaps and not (without and arrived):
        own = Placement(
            key,
            put_id,
            None,
            etag if arrived else None,
            version if arrived else None,
            settled_at if arrived else None,
            replaced if arrived else None,
            tuple(backups.get(key, ())),
        )
    placed = tuple(
        Placement(
            variant_key,
            f"{put_id}/{name}.{image_format}",
            (name, image_format),
            variant_etag,
            variant_version,
            at,
            variant_replaced,
            tuple(backups.get(variant_key, ())),
        )
        for name, image_format, variant_key, its, variant_etag, variant_version, variant_replaced, run, at in known
        if its == "stored" and (within or run == scope.run)
    )
    task = Task(
        item,
        put_id,
        source,
        location,
        key,
        size,
        fingerprint,
        fields=orjson.loads(fields) if fields else None,
        signed=seal.open(sealed)[0] if sealed else None,
        again=True,
    )
    looked = frozenset((name, image_format) for name, image_format, _, its, *_ in known if its in _SURE)
    closes = bool(within) and state in (State.STORED, State.INTENDED)
    settled = state in (State.STORED, State.SKIPPED)
    return Remains(task, own, placed, looked, settled, closes, stored if settled else size, sha256, kind)


def _variants_of(connection: sqlite3.Connection, items: Sequence[int]) -> dict[int, list[tuple[Any, ...]]]:
    found: dict[int, list[tuple[Any, ...]]] = {}
    for item, *rest in connection.execute(
        "SELECT item, name, format, key, state, etag, version_id, replaced, run, settled_at FROM variants"
        " WHERE item IN (SELECT value FROM json_each(?)) ORDER BY id",
        (orjson.dumps(list(items)).decode(),),
    ):
        found.setdefault(item, []).append(tuple(rest))
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


def settle_rows(connection: sqlite3.Connection, back: Sequence[RowBack], left: Sequence[LeftAlone]) -> None:
    """See the port."""
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


def settle(connection: sqlite3.Connection, done: Sequence[UndoneItem], left: Sequence[LeftAlone]) -> None:
    """See the port."""
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
    change_variants(connection, names, "stored", "rolled-back")


def change_variants(connection: sqlite3.Connection, names: Sequence[tuple[int, str, str]], now: str, then: str) -> None:
    """Moves those of these variants, (item, name, format), that are in the state `now` to `then`."""
    found = connection.execute(
        "SELECT variants.item, name, format FROM json_each(?) AS wanted"
        " JOIN variants ON variants.item = json_extract(wanted.value, '$[0]')"
        " AND name = json_extract(wanted.value, '$[1]') AND format = json_extract(wanted.value, '$[2]')"
        " WHERE state = ?",
        (orjson.dumps(names).decode(), now),
    ).fetchall()
    texts = orjson.dumps(found).decode()
    variants.count(connection, texts, -1)
    change_rows(
        connection,
        f"UPDATE variants SET state = '{then}' WHERE (item, name, format) IN (VALUES ",
        "(?, ?, ?)",
        ")",
        found,
    )
    variants.count(connection, texts, 1)


def _keep_left(connection: sqlite3.Connection, left: Sequence[LeftAlone]) -> None:
    change_rows(
        connection,
        "INSERT INTO left_alone (kind, name, source, fault, message) VALUES ",
        "(?, ?, ?, ?, ?)",
        "",
        [(one.kind, plain(one.name), one.source, one.fault, plain(mask_text(one.message))) for one in left],
    )


def plan_again(connection: sqlite3.Connection, sources: Mapping[int, str]) -> Retried:
    """What was rolled back is planned again: items, their variants, their rows."""
    numbers = ", ".join(map(str, sources))
    moves = Moves()
    for source, count, before, size in connection.execute(
        "SELECT source, count(*), sum(coalesce(stored_size, size, 0)), sum(coalesce(size, 0)) FROM items"
        f" WHERE state = 'rolled-back' AND source IN ({numbers}) GROUP BY 1"
    ).fetchall():
        moves.add(source, State.ROLLED_BACK, "", -count, -before)
        moves.add(source, State.PLANNED, "", count, size)
    moves.write(connection)
    names = connection.execute(
        "SELECT item, variants.name, format FROM variants JOIN items ON items.id = variants.item"
        f" WHERE variants.state = 'rolled-back' AND items.source IN ({numbers})"
    ).fetchall()
    change_variants(connection, names, "rolled-back", "planned")
    items = connection.execute(
        "UPDATE items SET state = 'planned', run = NULL, replaced = NULL"
        f" WHERE state = 'rolled-back' AND source IN ({numbers})"
    ).rowcount
    return Retried(items, _plan_records_again(connection, numbers), len(names))


def _plan_records_again(connection: sqlite3.Connection, numbers: str) -> int:
    moves = RecordMoves()
    chosen = f"state = 'rolled-back' AND source IN ({numbers})"
    for source, count in connection.execute(
        f"SELECT source, count(*) FROM records WHERE {chosen} GROUP BY 1"
    ).fetchall():
        moves.add(source, RecordState.ROLLED_BACK, "", -count)
        moves.add(source, RecordState.PLANNED, "", count)
    moves.write(connection)
    items = connection.execute(f"SELECT DISTINCT item FROM records WHERE {chosen}").fetchall()
    changed = connection.execute(
        f"UPDATE records SET state = 'planned', before_image = NULL, after_image = NULL WHERE {chosen}"
    ).rowcount
    records.follow_items(connection, [item for (item,) in items])
    return changed
