"""What is planned again that was settled: what was rolled back, and what `verify` found missing or damaged."""

import sqlite3
from collections.abc import Mapping, Sequence

import orjson

from migrator.core.model import State
from migrator.core.records import RecordState
from migrator.core.verification import Match
from migrator.ledger import journal, records, variants
from migrator.ledger.queue import Retried
from migrator.ledger.records import RecordMoves
from migrator.ledger.rows import Moves
from migrator.ledger.variants import Named
from migrator.ledger.verifications import STANDS

_FOUND = "verified.verification = (SELECT max(id) FROM verifications) AND verified.result"


_UNDONE = (
    "(state = 'rolled-back' OR (state = 'skipped' AND fault IN ('identical', 'in-place')"
    " AND id IN (SELECT item FROM records WHERE state = 'rolled-back')))"
)
"""Objects that stood there already were not undone, but their rows were: meanwhile somebody may have removed them."""


def plan_rolled_back(connection: sqlite3.Connection, sources: Mapping[int, str]) -> Retried:
    """What was rolled back is planned again: items, their variants, their rows."""
    numbers = ", ".join(map(str, sources))
    names = connection.execute(
        "SELECT item, variants.name, format FROM variants JOIN items ON items.id = variants.item"
        f" WHERE variants.state = 'rolled-back' AND items.source IN ({numbers})"
    ).fetchall()
    variants.change_state(connection, names, "rolled-back", "planned")
    forgotten = ("run", "replaced", "etag", "version_id")
    items = _plan_items(connection, f"{_UNDONE} AND source IN ({numbers})", (), forgotten)
    return Retried(items, _plan_rolled_back_records(connection, numbers), len(names))


def _plan_rolled_back_records(connection: sqlite3.Connection, numbers: str) -> int:
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


def plan_verified(
    connection: sqlite3.Connection,
    results: Sequence[Match],
    sources: Mapping[int, str],
    wanted: Mapping[str, Sequence[Named]],
) -> Retried:
    """Items of which the last verification says one of `results`, and `wanted` variants that it missed.

    Whether what stands there may be replaced is decided when the item moves. Rows that were updated stay so.
    A variant that differs is left: it is made of its original, and what took its place may be wanted.
    """
    texts = orjson.dumps(list(results)).decode()
    numbers = ", ".join(map(str, sources))
    items = connection.execute(
        "SELECT items.id FROM verified JOIN items ON items.id = verified.item WHERE verified.variant = 0"
        f" AND {_FOUND} IN (SELECT value FROM json_each(?)) AND {STANDS} AND items.source IN ({numbers})",
        (texts,),
    ).fetchall()
    chosen = orjson.dumps([item for (item,) in items]).decode()
    made = 0
    if Match.MISSING in results:
        named = {number: wanted.get(name, ()) for number, name in sources.items()}
        missing = f"id IN (SELECT variant FROM verified WHERE variant > 0 AND {_FOUND} = 'missing')"
        made = variants.plan_again(connection, "stored", named, missing)
    # They keep their ETag and SHA-256: by these the next attempt tells what was stored from what stands there now.
    _plan_items(connection, "id IN (SELECT value FROM json_each(?))", (chosen,))
    _hold_back_records(connection, chosen)
    return Retried(len(items), 0, made)


def plan_changed(connection: sqlite3.Connection, sources: Mapping[int, str]) -> Retried:
    """Stored items of which the last scan, or an attempt to store them once more, found another source than was stored.

    What the source has now may take the place of what was stored, and of nothing else. Rows that were updated stay so.
    """
    numbers = ", ".join(map(str, sources))
    found = connection.execute(
        "SELECT id FROM items WHERE now_fingerprint IS NOT NULL AND state = 'stored'"
        f" AND source IN ({numbers}) UNION ALL SELECT id FROM items"
        f" WHERE state = 'failed' AND fault = 'changed' AND etag IS NOT NULL AND source IN ({numbers})"
    ).fetchall()
    chosen, within = orjson.dumps([item for (item,) in found]).decode(), "id IN (SELECT value FROM json_each(?))"
    connection.execute(
        "UPDATE items SET size = coalesce(now_size, size), fingerprint = now_fingerprint"
        f" WHERE state = 'stored' AND {within}",
        (chosen,),
    )
    _plan_items(connection, within, (chosen,), ("now_size", "now_fingerprint"))
    connection.execute(f"UPDATE items SET renewed = 1 WHERE {within}", (chosen,))
    connection.execute("DELETE FROM verified WHERE item IN (SELECT value FROM json_each(?))", (chosen,))
    _hold_back_records(connection, chosen)
    _forget_problems(connection, chosen)
    return Retried(len(found), 0)


def _forget_problems(connection: sqlite3.Connection, chosen: str) -> None:
    """What the scan had to say of these items being changed is done with."""
    connection.execute(
        "DELETE FROM problems WHERE fault = 'changed' AND position = '' AND (source, place) IN"
        " (SELECT source, location FROM items WHERE id IN (SELECT value FROM json_each(?)))",
        (chosen,),
    )
    journal.recount(connection)


def _plan_items(
    connection: sqlite3.Connection, within: str, parameters: Sequence[str], forgotten: Sequence[str] = ()
) -> int:
    """Items that stand or were rolled back are planned again, without what is `forgotten` of them; how many."""
    moves = Moves()
    for source, state, reason, count, before, size in connection.execute(
        "SELECT source, state, CASE WHEN state IN ('skipped', 'failed') THEN fault ELSE '' END, count(*),"
        " sum(coalesce(stored_size, size, 0)), sum(coalesce(size, 0)) FROM items"
        f" WHERE {within} GROUP BY 1, 2, 3",
        parameters,
    ).fetchall():
        moves.add(source, state, reason, -count, -before)
        moves.add(source, State.PLANNED, "", count, size)
    moves.write(connection)
    nothing = "".join(f", {column} = NULL" for column in ("fault", "message", *forgotten))
    return connection.execute(f"UPDATE items SET state = 'planned'{nothing} WHERE {within}", parameters).rowcount


def _hold_back_records(connection: sqlite3.Connection, chosen: str) -> None:
    """Rows that were about to be updated would point at nothing: they wait for their object as before."""
    # By their items: the index of what is ready holds all that waits, be it millions.
    waiting = "+state = 'ready' AND item IN (SELECT value FROM json_each(?))"
    moves = RecordMoves()
    for source, count in connection.execute(
        f"SELECT source, count(*) FROM records WHERE {waiting} GROUP BY 1", (chosen,)
    ).fetchall():
        moves.add(source, RecordState.READY, "", -count)
        moves.add(source, RecordState.PLANNED, "", count)
    moves.write(connection)
    connection.execute(f"UPDATE records SET state = 'planned' WHERE {waiting}", (chosen,))
