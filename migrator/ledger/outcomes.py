"""Outcomes as they are written to the rows of their items, with the tallies and the pace that follow from them."""

import sqlite3
import time
from collections.abc import Mapping, Sequence

from migrator.core.errors import LedgerError
from migrator.core.model import Failed, Settlement, Skipped, State, Stored, Task
from migrator.core.secrets import mask_text
from migrator.ledger.rows import Moves, change_rows, plain

PACE_SECONDS = 10
"""What was moved is added up in steps of this length, for the speed that `status` shows."""


def write_outcomes(
    connection: sqlite3.Connection, settlements: Sequence[Settlement], sources: Mapping[str, int]
) -> None:
    """Raises LedgerError, with nothing written, when one of the items is not claimed."""
    stored = [(s.task, s.outcome, s.attempts) for s in settlements if isinstance(s.outcome, Stored)]
    skipped = [(s.task, s.outcome, s.attempts) for s in settlements if isinstance(s.outcome, Skipped)]
    failed = [(s.task, s.outcome, s.attempts) for s in settlements if isinstance(s.outcome, Failed)]
    now = int(time.time())
    changed = _write_stored(connection, stored, now)
    changed += _write_skipped(connection, skipped, now)
    changed += _write_failed(connection, failed, now)
    if changed != len(settlements):
        raise LedgerError(
            f"{len(settlements) - changed} outcomes are of items that nobody had claimed; none of them was written",
            "run the same command again",
        )
    _move_tallies(connection, settlements, sources)
    if stored:
        connection.execute(
            "INSERT INTO pace (at, items, bytes) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET items = items + excluded.items, bytes = bytes + excluded.bytes",
            (now - now % PACE_SECONDS, len(stored), sum(outcome.size for _, outcome, _ in stored)),
        )
    _count_retries(connection, sum(max(0, settlement.attempts - 1) for settlement in settlements))


def _count_retries(connection: sqlite3.Connection, retries: int) -> None:
    """For the run at work, which is the last one; here and not at its end, so that a kill loses none."""
    if retries:
        connection.execute(
            "UPDATE runs SET retries = retries + ? WHERE id = (SELECT max(id) FROM runs)",
            (retries,),
        )


def _write_stored(connection: sqlite3.Connection, stored: Sequence[tuple[Task, Stored, int]], now: int) -> int:
    return change_rows(
        connection,
        "UPDATE items SET state = 'stored', fault = NULL, message = NULL, attempts = items.attempts + v.column2,"
        " stored_size = v.column3, sha256 = v.column4, content_type = v.column5, etag = v.column6,"
        # What was overwritten once is still what comes back, when ours had to be stored once more.
        " version_id = v.column7, adopted = v.column8, replaced = coalesce(v.column9, items.replaced),"
        " without_original = v.column10, renewed = NULL,"
        f" settled_at = {now} FROM (VALUES ",
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ") AS v WHERE items.id = v.column1 AND items.state = 'intended'",
        [
            (
                task.id,
                attempts,
                outcome.size,
                outcome.sha256.hex() if outcome.sha256 else None,
                plain(outcome.content_type),
                outcome.etag,
                outcome.version_id,
                1 if outcome.adopted else None,
                outcome.replaced,
                None if outcome.original else 1,
            )
            for task, outcome, attempts in stored
        ],
    )


def _write_skipped(connection: sqlite3.Connection, skipped: Sequence[tuple[Task, Skipped, int]], now: int) -> int:
    return change_rows(
        connection,
        "UPDATE items SET state = 'skipped', attempts = items.attempts + v.column2, fault = v.column3,"
        " message = v.column4, stored_size = v.column5, sha256 = v.column6, etag = v.column7,"
        f" settled_at = {now} FROM (VALUES ",
        "(?, ?, ?, ?, ?, ?, ?)",
        ") AS v WHERE items.id = v.column1 AND items.state = 'intended'",
        [
            (
                task.id,
                attempts,
                outcome.reason,
                plain(mask_text(outcome.message)) or None,
                outcome.size,
                outcome.sha256.hex() if outcome.sha256 else None,
                outcome.etag,
            )
            for task, outcome, attempts in skipped
        ],
    )


def _write_failed(connection: sqlite3.Connection, failed: Sequence[tuple[Task, Failed, int]], now: int) -> int:
    return change_rows(
        connection,
        "UPDATE items SET state = 'failed', attempts = items.attempts + v.column2, fault = v.column3,"
        " unsure = v.column5,"
        # One that had been stored before: since then nothing of ours came there.
        f" message = v.column4, settled_at = iif(items.etag IS NULL, {now}, items.settled_at) FROM (VALUES ",
        "(?, ?, ?, ?, ?)",
        ") AS v WHERE items.id = v.column1 AND items.state = 'intended'",
        [
            (task.id, attempts, outcome.fault, plain(mask_text(outcome.message)), 1 if outcome.again else None)
            for task, outcome, attempts in failed
        ],
    )


def _move_tallies(
    connection: sqlite3.Connection, settlements: Sequence[Settlement], sources: Mapping[str, int]
) -> None:
    moves = Moves()
    for settlement in settlements:
        task, outcome = settlement.task, settlement.outcome
        source, size = sources[task.source], task.size or 0
        moves.add(source, State.INTENDED, "", -1, -size)
        match outcome:
            case Stored():
                moves.add(source, State.STORED, "", 1, outcome.size)
            case Skipped():
                moves.add(source, State.SKIPPED, outcome.reason, 1, size if outcome.size is None else outcome.size)
            case Failed():
                moves.add(source, State.FAILED, outcome.fault, 1, size)
    moves.write(connection)
