"""SQLite connections to a ledger, and the one place where SQLite's errors become LedgerErrors."""

import errno
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from migrator.core.errors import LedgerError, LedgerFull
from migrator.core.model import MIB

OLDEST_SQLITE = (3, 35, 0)
"""RETURNING, and UPDATE ... FROM (3.33)."""

_WRITER_PRAGMAS = (
    "synchronous = FULL",
    # 64 MiB between checkpoints: a page of the key index that many new rows touch is copied once, not for each of them.
    "wal_autocheckpoint = 16384",
    # Returned to this size after a checkpoint, so that one long read does not leave a huge file behind.
    f"journal_size_limit = {64 * MIB}",
    "cache_size = -49152",
    "temp_store = MEMORY",
    # Nothing here has to be overwritten to be gone: what is secret is sealed. Some builds of SQLite would do so.
    "secure_delete = OFF",
)
_SMALL_TABLES = ("meta", "sources", "tallies", "scans")
_PATIENCE = 10.0
"""Seconds to wait for a reader that keeps the file from becoming a write-ahead one."""


def connect_writer(path: Path) -> sqlite3.Connection:
    """The one writing connection; `use_wal` before the first write. Hands out sqlite3's own errors."""
    # Statements that carry many rows are large: a few are kept, not the default 128.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=48)


def use_wal(connection: sqlite3.Connection) -> None:
    """From now on readers and the writer do not wait for each other."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    set_pragmas(connection)


def set_pragmas(connection: sqlite3.Connection) -> None:
    """As the writer works, but for the journal's mode."""
    for pragma in _WRITER_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, checkpoint or create the file. Hands out sqlite3's own errors."""
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
    )


def close_writer(connection: sqlite3.Connection) -> None:
    """At rest a ledger is one plain file, so that a reader has nothing to create and a copy of it is whole."""
    try:
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error:
        pass  # somebody reads it, or the disk is full: the write-ahead file stays and is as good
    finally:
        connection.close()


def check_quickly(connection: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError when the small tables are damaged; the large ones would take minutes."""
    for table in _SMALL_TABLES:
        (verdict,) = connection.execute(f"PRAGMA quick_check({table})").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"database disk image is malformed: {verdict.splitlines()[-1]}")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns sqlite3's and the file system's errors about `path` into LedgerErrors."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise ledger_error(error, path) from error


def ledger_error(error: sqlite3.Error | OSError, path: Path) -> LedgerError:
    """What `error` means to the operator."""
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _full(path)
        return LedgerError(f"{path} cannot be used: {error.strerror or error}", "check the path and its permissions")
    code = _code(error)
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_full(path)):
        return _full(path)
    if code == sqlite3.SQLITE_IOERR:
        return LedgerError(f"{path} cannot be read or written: {error}", "check the disk, then run the command again")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LedgerError(f"{path} is kept busy by another program", "close what has it open and run again")
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY_ROLLBACK:
        return LedgerError(f"{path} was left in the middle of a write", "run `migrator plan`, which puts it right")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH):
        return LedgerError(f"{path} cannot be opened: {error}", "check the path and its permissions")
    return LedgerError(
        f"{path} is damaged or no ledger: {error}",
        "keep the file, restore a copy of it, or start under a new name: what stands in the destination is found again",
    )


def _full(path: Path) -> LedgerFull:
    return LedgerFull(
        f"The disk under {path} is full", "make room and run the same command again: it goes on where it stopped"
    )


def _code(error: sqlite3.Error) -> int:
    # The low byte is the primary code: https://www.sqlite.org/rescode.html
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _is_full(path: Path) -> bool:
    try:
        room = os.statvfs(path.parent)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < MIB
