"""What `orphans` asks of the ledger, and what it keeps while the ledger is open. Nothing stays in the file."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import orjson

from migrator.core.orphans import Kind, Orphan, OrphanTally, Owner, Unfinished, Upkeep
from migrator.ledger.rows import change_rows


def begin(connection: sqlite3.Connection) -> None:
    """See the port."""
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS orphans (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL,"
        " owner TEXT NOT NULL, size INTEGER, modified REAL, etag TEXT NOT NULL, upload_id TEXT NOT NULL,"
        " UNIQUE (key, upload_id))"
    )
    connection.execute("DELETE FROM temp.orphans")


def keep(connection: sqlite3.Connection, found: Sequence[Orphan]) -> None:
    """See the port."""
    change_rows(
        connection,
        "INSERT OR IGNORE INTO temp.orphans (kind, key, owner, size, modified, etag, upload_id) VALUES ",
        "(?, ?, ?, ?, ?, ?, ?)",
        "",
        [(one.kind, one.key, one.owner, one.size, one.modified, one.etag, one.upload_id) for one in found],
    )


def kept(connection: sqlite3.Connection, after: tuple[str, str], limit: int, owners: Sequence[Owner]) -> list[Orphan]:
    """See the port."""
    rows = connection.execute(
        "SELECT kind, key, owner, size, modified, etag, upload_id, id FROM temp.orphans"
        " WHERE (key, upload_id) > (?, ?) AND owner IN (SELECT value FROM json_each(?))"
        " ORDER BY key, upload_id LIMIT ?",
        (*after, _json(owners), limit),
    )
    return [Orphan(Kind(kind), key, Owner(owner), *rest) for kind, key, owner, *rest in rows]


def tallies(connection: sqlite3.Connection) -> list[OrphanTally]:
    """See the port."""
    rows = connection.execute(
        "SELECT kind, owner, count(*), coalesce(sum(size), 0) FROM temp.orphans GROUP BY 1, 2 ORDER BY 1, 2"
    )
    return [OrphanTally(Kind(kind), Owner(owner), count, size) for kind, owner, count, size in rows]


def unsettled(connection: sqlite3.Connection, items: Sequence[int]) -> set[int]:
    """See the port."""
    rows = connection.execute(
        "SELECT id FROM items WHERE id IN (SELECT value FROM json_each(?))"
        " AND state IN ('planned', 'intended', 'failed')",
        (_json(items),),
    )
    return {item for (item,) in rows}


def named(connection: sqlite3.Connection, keys: Sequence[str]) -> set[str]:
    """See the port."""
    rows = connection.execute(
        "SELECT value FROM json_each(?) WHERE"
        " EXISTS (SELECT 1 FROM items WHERE key = value AND collides IS NULL AND state <> 'rolled-back')"
        " OR EXISTS (SELECT 1 FROM variants WHERE key = value AND state <> 'rolled-back')",
        (_json(keys),),
    )
    return {key for (key,) in rows}


def upkeep(connection: sqlite3.Connection, uploads: Sequence[Unfinished]) -> list[Upkeep | None]:
    """See the port. An item goes on with the newest of its uploads."""
    rows = connection.execute(
        "SELECT asked.key, (SELECT iif(items.state IN ('planned', 'intended') AND uploads.id ="
        " (SELECT max(id) FROM uploads AS newer WHERE newer.item = uploads.item), 'needed', 'noted')"
        "  FROM items JOIN uploads ON uploads.item = items.id"
        "  WHERE items.key = json_extract(asked.value, '$[0]') AND upload_id = json_extract(asked.value, '$[1]')),"
        " EXISTS (SELECT 1 FROM items WHERE items.key = json_extract(asked.value, '$[0]') AND collides IS NULL)"
        " OR EXISTS (SELECT 1 FROM variants WHERE variants.key = json_extract(asked.value, '$[0]'))"
        " FROM json_each(?) AS asked ORDER BY asked.key",
        (_json([(one.key, one.upload_id) for one in uploads]),),
    )
    return [Upkeep(noted) if noted else Upkeep.KEY if known else None for _, noted, known in rows]


def _json(values: Sequence[Any]) -> str:
    return orjson.dumps(list(values)).decode()
