"""What the end of a scan concludes of keys that another location has now: theirs is no longer listed."""

import sqlite3

import orjson

from migrator.core.model import Fault, Problem, State
from migrator.ledger import records
from migrator.ledger.forgetting import forget_items
from migrator.ledger.rows import Moves


def free_rolled_back(connection: sqlite3.Connection, source: int, scan: int) -> None:
    """Of what was rolled back nothing stands: its key is free for a location that wants it now."""
    found = connection.execute(
        "SELECT DISTINCT first.id FROM items AS later JOIN items AS first ON first.id = later.collides"
        " WHERE later.collides IS NOT NULL AND first.state = 'rolled-back' AND first.source = ?"
        " AND coalesce(first.listed, 0) < ? AND NOT EXISTS (SELECT 1 FROM uploads WHERE item = first.id)",
        (source, scan),
    ).fetchall()
    forget_items(connection, [item for (item,) in found])


def follow_moved(connection: sqlite3.Connection, source: int, scan: int) -> list[Problem]:
    """Stored items whose location has changed with the configuration (another root or host) follow to the new one.

    Only where the scan has noted what it met: a location that is still listed keeps its object. Returns a problem for
    each that is another version there. Whoever calls this counts problems and collisions anew (`journal.recount`).
    """
    moved = connection.execute(
        "SELECT min(later.id), first.id, later.key, later.location, later.size, later.fingerprint, later.fields,"
        " later.sealed, first.fingerprint FROM items AS later JOIN items AS first ON first.id = later.collides"
        " WHERE later.collides IS NOT NULL AND later.source = ? AND first.source = later.source"
        " AND first.state = 'stored' AND coalesce(first.listed, 0) < ? GROUP BY first.id",
        (source, scan),
    ).fetchall()
    moves, problems = Moves(), []
    for later, first, key, location, size, fingerprint, fields, sealed, before in moved:
        moves.add(source, State.FAILED, Fault.CONFLICT, -1, -(size or 0))
        connection.execute("UPDATE records SET item = ? WHERE item = ?", (first, later))
        connection.execute("DELETE FROM items WHERE id = ?", (later,))
        now = (None, None) if _version(fingerprint) == _version(before) else (size, fingerprint)
        connection.execute(
            "UPDATE items SET location = ?, fingerprint = ?, fields = ?, sealed = ?, listed = ?, now_size = ?,"
            " now_fingerprint = ? WHERE id = ?",
            (location, before if any(now) else fingerprint, fields, sealed, scan, *now, first),
        )
        if any(now):
            problems.append(changed_since(location, key))
    moves.write(connection)
    # A row that was updated for the former location had been met with another one, which is the same now.
    connection.execute(
        "DELETE FROM problems WHERE source = ? AND place IN (SELECT value FROM json_each(?))",
        (source, orjson.dumps([location for _, _, _, location, *_ in moved]).decode()),
    )
    records.follow_items(connection, [first for _, first, *_ in moved])
    return problems


def changed_since(location: str, key: str) -> Problem:
    """What a scan says of a source that is no longer what was stored of it."""
    message = (
        f"it was stored as {key} and has changed since; what was stored is what it was then"
        " (`migrator retry --changed` plans it as it is now)"
    )
    return Problem(location, "", Fault.CHANGED, message)


def _version(fingerprint: str | None) -> list[str]:
    """What is the same of a file and its copy on another disk: not the inode, which comes last. An ETag is one word."""
    return (fingerprint or "").split(":")[:2]


def note_listed(connection: sqlite3.Connection, items: list[int], scan: int) -> None:
    """These were met by the scan of this number."""
    wanted = orjson.dumps(items).decode()
    connection.execute("UPDATE items SET listed = ? WHERE id IN (SELECT value FROM json_each(?))", (scan, wanted))
