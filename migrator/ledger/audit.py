"""The audit log as it is written: in the ledger's thread, on disk before the transaction that it belongs to."""

import os
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

import orjson
from msgspec.structs import asdict

from migrator.core.audit import Change, Deed, Head, Kind, spelled
from migrator.ledger import journal
from migrator.ledger.audit_chain import End, find_end, make
from migrator.ledger.connection import translated
from migrator.ledger.seal import sync_directory

_HEAD = "audit"
"""Where the ledger keeps the last line that it knows."""


def known_head(connection: sqlite3.Connection) -> Head | None:
    """The last line that the ledger knows."""
    text = journal.get_meta(connection, _HEAD)
    return Head(**orjson.loads(text)) if text else None


class AuditLog:
    """Appends lines to one file. Nothing is opened before something is to be said.

    What a transaction `add`s is on disk before it is committed: after a kill between the two the file knows more than
    the ledger, and never less.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = 0
        """Number of the run at work; 0 outside any."""
        self._pending: list[tuple[str, int, Change]] = []
        self._file: _File | None = None
        self._number, self._hash = 0, ""

    def add(self, changes: Iterable[Change]) -> None:
        """Takes changes of the transaction under way."""
        at, run = spelled(time.time()), self.run
        self._pending += [(at, run, change) for change in changes]

    def mark(self) -> int:
        """How much was added by now, for `forget`."""
        return len(self._pending)

    def forget(self, mark: int = 0) -> None:
        """Takes back what was added since: the work that it belongs to was undone."""
        del self._pending[mark:]

    def write(self, connection: sqlite3.Connection) -> None:
        """Puts on disk what was added, and tells the ledger. Raises LedgerError (LedgerFull when the disk is)."""
        if not self._pending:
            return
        with translated(self.path):
            if self._file is None:
                self._file = self._resume(known_head(connection))
            written, digest = self._lines()
            end = self._file.append(b"".join(written))
        self._number += len(written)
        self._hash = digest
        head = Head(self._number, digest, end - len(written[-1]), end)
        journal.set_meta(connection, _HEAD, orjson.dumps(asdict(head)).decode())
        self._pending.clear()

    def close(self) -> None:
        """Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _lines(self) -> tuple[list[bytes], str]:
        """What is pending as lines, and the hash of the last of them."""
        previous, written = self._hash, []
        for number, (at, run, change) in enumerate(self._pending, self._number + 1):
            line, previous = make(number, at, run, change, previous)
            written.append(line)
        return written, previous

    def _resume(self, head: Head | None) -> "_File":
        """Opens the file behind its last whole line; the first of the new lines say what was found there."""
        fresh = not self.path.exists()
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if fresh:
                sync_directory(self.path.parent)
            with open(fd, "rb", closefd=False) as file:
                end = find_end(file, head)
        except BaseException:
            os.close(fd)
            raise
        self._number, self._hash = end.number, end.hash
        self._pending[:0] = [
            (spelled(time.time()), self.run, Change(Deed.NOTE, Kind.LOG, text)) for text in _remarks(end)
        ]
        return _File(fd, end.at)


class _File:
    """A file that only grows, but for what an append that failed has left: that is cut off again."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size
        self._whole = os.fstat(fd).st_size == size

    def append(self, data: bytes) -> int:
        """Puts `data` on disk and returns where it ends."""
        if not self._whole:
            os.ftruncate(self._fd, self._size)
        self._whole = False
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        os.fsync(self._fd)
        self._size += len(data)
        self._whole = True
        return self._size

    def close(self) -> None:
        os.close(self._fd)


def _remarks(end: End) -> list[str]:
    remarks = []
    if end.lost:
        remarks.append(f"this file does not hold line {end.number}, the last one that the ledger knows")
    if end.behind:
        remarks.append(
            f"{end.behind} lines before this one were never heard of by the ledger (a kill came first):"
            " what they tell was done, and may come once more as adopted"
        )
    if end.torn:
        remarks.append(f"an unfinished last line of {end.torn} bytes was cut off (a kill, or a full disk)")
    return remarks
