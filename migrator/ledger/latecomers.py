"""Items with a key that an earlier one has, entered while nobody looked: they are taken out and entered once more."""

import sqlite3
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import Any

import orjson

from migrator.core.model import Item
from migrator.core.records import Row
from migrator.ledger import intake, journal, key_index
from migrator.ledger.forgetting import BATCH, forget_items
from migrator.ledger.seal import Seal

_FIND = """CREATE TEMP TABLE latecomers AS
  WITH ranked AS (
    SELECT id, row_number() OVER (PARTITION BY key ORDER BY id) AS place FROM items WHERE collides IS NULL
  )
  SELECT items.source, items.id, location, key, size, fingerprint, items.fields, sealed,
    primary_key, seen, records.fields AS row_fields
  FROM ranked JOIN items ON items.id = ranked.id LEFT JOIN records ON records.item = items.id
  WHERE place > 1 ORDER BY key, items.id"""
_NEXT = "SELECT rowid, * FROM latecomers WHERE rowid > ? ORDER BY rowid LIMIT 2000"


def build_index(connection: sqlite3.Connection, seal: Seal) -> None:
    """The index of keys, in the transaction that is open. Most collections have no two locations for a key."""
    connection.execute("SAVEPOINT building")
    try:
        key_index.build(connection)
    except sqlite3.IntegrityError:
        connection.execute("ROLLBACK TO building")
        connection.execute(_FIND)
        _take_out(connection)
        key_index.build(connection)
        _enter_again(connection, seal)
        connection.execute("DROP TABLE latecomers")
        journal.recount(connection)
    connection.execute("RELEASE building")


def _take_out(connection: sqlite3.Connection) -> None:
    found = connection.execute("SELECT DISTINCT id FROM latecomers ORDER BY id")
    while batch := found.fetchmany(BATCH):
        forget_items(connection, [item for (item,) in batch])


def _enter_again(connection: sqlite3.Connection, seal: Seal) -> None:
    after = 0
    while rows := connection.execute(_NEXT, (after,)).fetchall():
        after = rows[-1][0]
        for source, of_source in groupby(rows, itemgetter(1)):
            scan = intake.scan_number(connection, source)
            intake.Intake(connection, source, scan, seal).enter_again(_items(of_source, seal))


def _items(rows: Iterable[tuple[Any, ...]], seal: Seal) -> list[Item]:
    return [
        Item(location, key, size, fingerprint, _read(fields), seal.url(sealed), _row(primary_key, seen, row_fields))
        for _, _, _, location, key, size, fingerprint, fields, sealed, primary_key, seen, row_fields in rows
    ]


def _row(primary_key: str | None, seen: str, fields: str | None) -> Row | None:
    return Row(primary_key, seen, _read(fields)) if primary_key else None


def _read(fields: str | None) -> dict[str, str] | None:
    return orjson.loads(fields) if fields else None
