"""What a new scan forgets: the plan follows the source and its configuration as long as nothing of it was stored."""

import sqlite3
from collections.abc import Sequence
from itertools import groupby

import orjson

from migrator.core.model import Fault, State
from migrator.ledger import variants
from migrator.ledger.records import RecordMoves
from migrator.ledger.rows import Moves

BATCH = 20_000
"""Items forgotten in one transaction: others wait for it, and it stands twice on the disk until it is done."""

_NOTHING_STANDS = (
    "unsure IS NULL AND etag IS NULL AND NOT EXISTS (SELECT 1 FROM uploads WHERE item = items.id)"
    " AND NOT EXISTS (SELECT 1 FROM variants WHERE item = items.id)"
    " AND NOT EXISTS (SELECT 1 FROM records WHERE item = items.id AND (before_image IS NOT NULL OR state = 'recorded'))"
)


PLANNED = "state = 'planned' AND fault IS NULL"
COLLIDING = "state = 'failed' AND fault = 'conflict' AND collides IS NOT NULL"


def forget_plan(connection: sqlite3.Connection, source: int, kind: str, after: int, spare_shared: bool) -> int | None:
    """Removes the next items of a `kind` that `source` has, behind the id `after`; where to go on, None at the end.

    The scan that has just begun enters them again, where the source still has them and under the key that it gives
    them now. Those stay that were stored once or may be: the ledger answers for what stands under their key. And with
    `spare_shared` those that another source has too.
    """
    found = connection.execute(
        f"SELECT id FROM items WHERE {kind} AND source = ? AND id > ? AND {_forgettable(spare_shared)}"
        " ORDER BY id LIMIT ?",
        (source, after, BATCH),
    ).fetchall()
    forget_items(connection, [item for (item,) in found])
    return found[-1][0] if found else None


def doubt_failed(connection: sqlite3.Connection, source: int, spare_shared: bool) -> None:
    """Marks failed items: they are forgotten at the end of the scan unless it meets them again."""
    connection.execute(
        "UPDATE items SET unlisted = 1 WHERE state = 'failed' AND source = ? AND collides IS NULL"
        f" AND {_forgettable(spare_shared)}",
        (source,),
    )


def forget_unlisted(connection: sqlite3.Connection, source: int) -> None:
    """What failed and was not met again is no longer wanted; its key is free for who wants it now."""
    found = connection.execute(
        f"SELECT id FROM items WHERE state = 'failed' AND source = ? AND unlisted = 1 AND {_NOTHING_STANDS}",
        (source,),
    ).fetchall()
    forget_items(connection, [item for (item,) in found])


def mend_collisions(connection: sqlite3.Connection) -> None:
    """Where the item that came first was forgotten, the next of its key is planned, and the others name that one.

    Whoever calls this counts collisions anew (`journal.recount`).
    """
    bereft = connection.execute(
        "SELECT key, id, source, coalesce(size, 0) FROM items AS later WHERE collides IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM items WHERE key = later.key AND collides IS NULL) ORDER BY key, id"
    ).fetchall()
    moves = Moves()
    for _, wanting in groupby(bereft, lambda row: row[0]):
        _, item, source, size = next(iter(wanting))
        connection.execute(
            "UPDATE items SET state = 'planned', fault = NULL, message = NULL, collides = NULL WHERE id = ?", (item,)
        )
        moves.add(source, State.FAILED, Fault.CONFLICT, -1, -size)
        moves.add(source, State.PLANNED, "", 1, size)
    moves.write(connection)
    connection.execute(
        "UPDATE items SET collides = first.id, message = items.location || ' is not moved to ' || items.key || ': '"
        " || first.location || ' has the same key and came first' FROM items AS first"
        " WHERE items.collides IS NOT NULL AND first.key = items.key AND first.collides IS NULL"
        " AND items.collides <> first.id"
    )


def _forgettable(spare_shared: bool) -> str:
    return f"shared IS NULL AND {_NOTHING_STANDS}" if spare_shared else _NOTHING_STANDS


def forget_items(connection: sqlite3.Connection, items: Sequence[int]) -> None:
    """Removes items, and all that belongs to them, from rows and tallies: another item may get their number."""
    chosen = (orjson.dumps(items).decode(),)
    moves, record_moves = Moves(), RecordMoves()
    for source, state, fault, count, size in connection.execute(
        "SELECT source, state, coalesce(fault, ''), count(*),"
        " sum(coalesce(iif(state = 'rolled-back', stored_size, NULL), size, 0)) FROM items"
        " WHERE id IN (SELECT value FROM json_each(?)) GROUP BY 1, 2, 3",
        chosen,
    ).fetchall():
        moves.add(source, state, fault, -count, -size)
    for source, state, fault, count in connection.execute(
        "SELECT source, state, coalesce(fault, ''), count(*) FROM records"
        " WHERE item IN (SELECT value FROM json_each(?)) GROUP BY 1, 2, 3",
        chosen,
    ).fetchall():
        record_moves.add(source, state, fault, -count)
    made = connection.execute(
        "SELECT item, name, format FROM variants WHERE item IN (SELECT value FROM json_each(?))", chosen
    ).fetchall()
    if made:
        variants.count(connection, orjson.dumps(made).decode(), -1)
    for table in ("variants", "verified", "cleaned_items"):
        connection.execute(f"DELETE FROM {table} WHERE item IN (SELECT value FROM json_each(?))", chosen)
    connection.execute("DELETE FROM records WHERE item IN (SELECT value FROM json_each(?))", chosen)
    connection.execute("DELETE FROM items WHERE id IN (SELECT value FROM json_each(?))", chosen)
    moves.write(connection)
    record_moves.write(connection)
