"""Many rows in one statement, and tallies that move with them."""

import sqlite3
from collections.abc import Sequence
from typing import Any

_CHUNK = 500
"""Rows a statement. sqlite3 gives up the interpreter's lock at each step of a statement, and a busy thread keeps it for
5 ms: with `executemany`, a step a row, a scan that parses at the same time leaves the ledger 1,500 rows/s."""


def change_rows(connection: sqlite3.Connection, head: str, row: str, tail: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Executes `head row, row, ... tail` with all of `rows` and returns how many rows it changed."""
    changed = 0
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        statement = head + ",".join([row] * len(chunk)) + tail
        changed += connection.execute(statement, [value for values in chunk for value in values]).rowcount
    return changed


MAY_STAND = "((items.unsure OR items.etag IS NOT NULL) AND (items.state = 'planned' OR items.state = 'failed'))"
"""Something of these items may stand: of a try that failed, or what is to be stored once more."""


class Moves:
    """Changes to tallies that one transaction makes, added up before they are written."""

    def __init__(self) -> None:
        self._deltas: dict[tuple[int, str, str], list[int]] = {}

    def add(self, source: int, state: str, reason: str, items: int, size: int) -> None:
        """`items` with `size` bytes in all arrive in (or, negative, leave) a state."""
        delta = self._deltas.setdefault((source, state, reason), [0, 0])
        delta[0] += items
        delta[1] += size

    def write(self, connection: sqlite3.Connection) -> None:
        rows = [(*place, *delta) for place, delta in self._deltas.items()]
        change_rows(
            connection,
            "INSERT INTO tallies (source, state, reason, items, bytes) VALUES ",
            "(?, ?, ?, ?, ?)",
            " ON CONFLICT DO UPDATE SET items = items + excluded.items, bytes = bytes + excluded.bytes",
            rows,
        )


def plain(text: str) -> str:
    """`text` as SQLite can hold it: what is no valid UTF-8 (file names) is spelled out."""
    return text.encode(errors="backslashreplace").decode()
