"""The index that keeps keys apart: a plan of an empty ledger enters items without it and builds it at the end.

Keys that come in no order would have the index read and written at another place for each of them; building it is one
sort. Until then nobody has looked whether a key is taken, and nothing may be moved.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from migrator.ledger.connection import set_pragmas

_CREATE = "CREATE UNIQUE INDEX items_key ON items (key) WHERE collides IS NULL"
_PLANNED = ("records", "items", "record_tallies", "tallies")
_CACHE = -8 * 1024
"""8 MiB, as PRAGMA cache_size has it."""
_OPCODES = 100_000
"""Steps of SQLite's machine between two looks at whether to stop: a few milliseconds."""


def is_missing(connection: sqlite3.Connection) -> bool:
    """Whether a plan has dropped it and did not come to its end."""
    (found,) = connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'items_key')").fetchone()
    return not found


def start_over(connection: sqlite3.Connection, *, everything: bool) -> bool:
    """Drops the index of a ledger in which nothing but plans has run and that has no items; whether it did.

    With `everything` it forgets first what those have planned, and that their scans ever began.
    """
    (other,) = connection.execute("SELECT EXISTS (SELECT 1 FROM runs WHERE command <> 'plan')").fetchone()
    (planned,) = connection.execute("SELECT EXISTS (SELECT 1 FROM items)").fetchone()
    if other or (planned and not everything):
        return False
    connection.execute("DROP INDEX IF EXISTS items_key")
    for table in _PLANNED if planned else ():
        connection.execute(f"DELETE FROM {table}")
    if planned:
        connection.execute("UPDATE scans SET cursor = NULL, complete = 0, collisions = 0")
    return True


def build(connection: sqlite3.Connection) -> None:
    """Raises sqlite3.IntegrityError where two items have one key."""
    connection.execute(_CREATE)


@contextmanager
def sorting(connection: sqlite3.Connection, folder: Path, stopped: Callable[[], bool]) -> Iterator[None]:
    """One transaction in which SQLite sorts in files below `folder`, not in memory, and gives up once `stopped`."""
    # Not in /tmp, which may be small, or memory itself; but the operator's own choice stands.
    place = "" if os.environ.get("SQLITE_TMPDIR") else str(folder.absolute()).replace("'", "''")
    connection.execute(f"PRAGMA temp_store_directory = '{place}'")
    connection.execute("PRAGMA temp_store = FILE")
    connection.execute(f"PRAGMA cache_size = {_CACHE}")  # the sort takes as much beside it
    connection.set_progress_handler(stopped, _OPCODES)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    finally:
        connection.set_progress_handler(None, 0)
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        set_pragmas(connection)
