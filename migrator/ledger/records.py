"""Records as a queue: ready, intended, settled, retried. Tallies move in the same transaction."""

import sqlite3
import time
from collections.abc import Iterable, Sequence

import orjson

from migrator.core.errors import LedgerError
from migrator.core.model import Failed, Fault, Skip
from migrator.core.records import RecordOutcome, RecordState, RecordTally, RecordTask, Row, RowChange
from migrator.core.secrets import mask_text
from migrator.ledger.audit import AuditLog
from migrator.ledger.audit_changes import of_records
from migrator.ledger.rows import change_rows, plain

_ARRIVED = (
    f"((items.state = 'stored' OR (items.state = 'skipped' AND items.fault <> '{Skip.EXISTS}'))"
    " AND NOT EXISTS (SELECT 1 FROM needed_variants AS needed WHERE needed.source = records.source"
    " AND NOT EXISTS (SELECT 1 FROM variants WHERE variants.item = records.item AND variants.name = needed.name"
    " AND variants.format = needed.format AND variants.state = 'stored')))"
)
"""The object stands, and so does every variant that the row refers to."""
_LEFT = f"(items.state = 'skipped' AND items.fault = '{Skip.EXISTS}')"
_LEFT_MESSAGE = 'other bytes stand under the key and were left there (on_conflict = "skip"), so the row was not updated'


class RecordMoves:
    """Changes to the tallies of records that one transaction makes, added up before they are written."""

    def __init__(self) -> None:
        self._deltas: dict[tuple[int, str, str], int] = {}

    def add(self, source: int, state: str, reason: str, records: int) -> None:
        """`records` arrive in (or, negative, leave) a state."""
        place = (source, state, reason)
        self._deltas[place] = self._deltas.get(place, 0) + records

    def write(self, connection: sqlite3.Connection) -> None:
        change_rows(
            connection,
            "INSERT INTO record_tallies (source, state, reason, records) VALUES ",
            "(?, ?, ?, ?)",
            " ON CONFLICT DO UPDATE SET records = records + excluded.records",
            [(*place, delta) for place, delta in self._deltas.items() if delta],
        )


def any_records(connection: sqlite3.Connection) -> bool:
    """Whether there are any at all."""
    return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM records)").fetchone()[0])


def tallies(connection: sqlite3.Connection) -> list[RecordTally]:
    """By source, state and reason; only those that count something."""
    rows = connection.execute("SELECT source, state, reason, records FROM record_progress").fetchall()
    return [RecordTally(source, RecordState(state), reason, records) for source, state, reason, records in rows]


def follow_items(connection: sqlite3.Connection, items: Iterable[int]) -> None:
    """Waiting records of those of `items` that are settled: ready, or failed where other bytes stand under the key."""
    numbers = orjson.dumps(list(items)).decode()
    waiting = "records.state = 'planned' AND records.item IN (SELECT value FROM json_each(?))"
    counted = connection.execute(
        f"SELECT records.source, {_ARRIVED}, {_LEFT}, count(*) FROM records JOIN items ON items.id = records.item"
        f" WHERE {waiting} AND ({_ARRIVED} OR {_LEFT}) GROUP BY 1, 2, 3",
        (numbers,),
    ).fetchall()
    if not counted:
        return
    moves = RecordMoves()
    for source, _, left, number in counted:
        moves.add(source, RecordState.PLANNED, "", -number)
        moves.add(source, *((RecordState.FAILED, Fault.CONFLICT) if left else (RecordState.READY, "")), number)
    moves.write(connection)
    if any(arrived for _, arrived, _, _ in counted):
        connection.execute(
            f"UPDATE records SET state = 'ready' FROM items WHERE items.id = records.item AND {waiting} AND {_ARRIVED}",
            (numbers,),
        )
    if any(left for _, _, left, _ in counted):
        connection.execute(
            f"UPDATE records SET state = 'failed', fault = '{Fault.CONFLICT}', message = ?, settled_at = ? FROM items"
            f" WHERE items.id = records.item AND {waiting} AND {_LEFT}",
            (_LEFT_MESSAGE, int(time.time()), numbers),
        )


def ready(connection: sqlite3.Connection, limit: int, sources: dict[int, str]) -> list[RecordTask]:
    """Records of one of `sources` (number -> name) whose objects stand, those intended before first. Reads only."""
    for state in (RecordState.INTENDED, RecordState.READY):
        for source, name in sources.items():
            if found := _in_state(connection, state, source, name, limit):
                if state is RecordState.INTENDED and len(found) < limit:
                    found += _in_state(connection, RecordState.READY, source, name, limit - len(found))
                return found
    return []


def _in_state(
    connection: sqlite3.Connection, state: RecordState, source: int, name: str, limit: int
) -> list[RecordTask]:
    # What an attempt before a retry kept is for undoing: the row need not be that any more.
    before = "before_image" if state is RecordState.INTENDED else "NULL"
    rows = connection.execute(
        f"SELECT records.id, primary_key, seen, records.fields, {before},"
        " key, sha256, coalesce(stored_size, size), content_type, records.item"
        " FROM records JOIN items ON items.id = records.item"
        f" WHERE records.state = '{state}' AND records.source = ? AND records.fault IS NULL"
        " ORDER BY records.id LIMIT ?",
        (source, limit),
    ).fetchall()
    variants = _variants_of(connection, source, [row[-1] for row in rows])
    return [
        RecordTask(
            number,
            name,
            Row(primary_key, seen, orjson.loads(fields) if fields else None),
            {"key": key, "sha256": sha256, "size": None if size is None else str(size), "content_type": content_type},
            before,
            variants.get(item, {}),
        )
        for number, primary_key, seen, fields, before, key, sha256, size, content_type, item in rows
    ]


def _variants_of(
    connection: sqlite3.Connection, source: int, items: Sequence[int]
) -> dict[int, dict[tuple[str, str], str]]:
    """Keys of the variants that rows of `source` refer to, by item."""
    found: dict[int, dict[tuple[str, str], str]] = {}
    for item, name, image_format, key in connection.execute(
        "SELECT item, variants.name, variants.format, key FROM needed_variants AS needed JOIN variants"
        " ON variants.name = needed.name AND variants.format = needed.format AND variants.state = 'stored'"
        " AND item IN (SELECT value FROM json_each(?)) WHERE needed.source = ?",
        (orjson.dumps(list(items)).decode(), source),
    ):
        found.setdefault(item, {})[name, image_format] = key
    return found


def intend(connection: sqlite3.Connection, changes: Sequence[RowChange], run: int) -> None:
    """Keeps what is about to be written, and what undoing needs: the row as it was before the first attempt."""
    _leave(connection, [change.task for change in changes], RecordState.INTENDED)
    kept = {
        number: (before, after)
        for number, before, after in connection.execute(
            "SELECT id, before_image, after_image FROM records WHERE before_image IS NOT NULL"
            " AND id IN (SELECT value FROM json_each(?))",
            (orjson.dumps([change.task.id for change in changes]).decode(),),
        )
    }
    change_rows(
        connection,
        "UPDATE records SET state = 'intended', before_image = v.column2,"
        f" after_image = v.column3, run = {run} FROM (VALUES ",
        "(?, ?, ?)",
        ") AS v WHERE records.id = v.column1",
        [(change.task.id, _original(change, *kept.get(change.task.id, ("", ""))), change.after) for change in changes],
    )


def _original(change: RowChange, before: str, after: str | None) -> str:
    """The row before any attempt of ours: what shows the `after` of an earlier one had the `before` of that one.

    All else is the row's own, by whomever: somebody may have changed it between two attempts.
    """
    if not before or before == change.before:
        return change.before
    was, wrote = orjson.loads(before), orjson.loads(after or "{}")
    now = orjson.loads(change.before)
    mended = {
        name: was[name] if name in was and name in wrote and value == wrote[name] else value
        for name, value in now.items()
    }
    return orjson.dumps(mended, option=orjson.OPT_SORT_KEYS).decode()


def settle(
    connection: sqlite3.Connection,
    outcomes: Sequence[tuple[RecordTask, RecordOutcome]],
    run: int,
    audit: AuditLog,
) -> None:
    """Outcomes into rows. Raises LedgerError, with nothing written, when one of the records is settled already."""
    now = int(time.time())
    recorded = [(task, outcome) for task, outcome in outcomes if not isinstance(outcome, Failed)]
    failed = [(task, outcome) for task, outcome in outcomes if isinstance(outcome, Failed)]
    audit.add(of_records(connection, outcomes))
    _leave(connection, [task for task, _ in recorded], RecordState.RECORDED)
    for fault in sorted({outcome.fault for _, outcome in failed}):
        _leave(connection, [task for task, outcome in failed if outcome.fault is fault], RecordState.FAILED, fault)
    change_rows(
        connection,
        "UPDATE records SET state = 'recorded', message = NULL, attempts = records.attempts + 1,"
        f" run = {run}, settled_at = {now} WHERE id IN (",
        "?",
        ")",
        [(task.id,) for task, _ in recorded],
    )
    change_rows(
        connection,
        "UPDATE records SET state = 'failed', attempts = records.attempts + 1, fault = v.column2,"
        f" message = v.column3, run = {run}, settled_at = {now} FROM (VALUES ",
        "(?, ?, ?)",
        ") AS v WHERE records.id = v.column1",
        [(task.id, outcome.fault, plain(mask_text(outcome.message))) for task, outcome in failed],
    )


def _leave(connection: sqlite3.Connection, tasks: Sequence[RecordTask], state: RecordState, reason: str = "") -> None:
    """Moves the tallies of `tasks`, which must be ready or intended, to `state`."""
    if not tasks:
        return
    moves, found = RecordMoves(), 0
    for source, before, number in connection.execute(
        # By number: the index of what is ready holds all that waits, be it millions.
        "SELECT source, state, count(*) FROM records NOT INDEXED WHERE id IN (SELECT value FROM json_each(?))"
        " AND (state = 'ready' OR state = 'intended') GROUP BY 1, 2",
        (orjson.dumps([task.id for task in tasks]).decode(),),
    ).fetchall():
        moves.add(source, before, "", -number)
        moves.add(source, state, reason, number)
        found += number
    if found != len(tasks):
        raise LedgerError(
            f"{len(tasks) - found} rows were not waiting for an update; none of these was written to the ledger",
            "run the same command again",
        )
    moves.write(connection)


def retry(connection: sqlite3.Connection, faults: Sequence[str] | None, sources: dict[int, str]) -> int:
    """Failed records ready again, or planned where the object does not stand: how many.

    What was kept of the row before stays, for undoing: the update may have been made. A record whose object was left
    out (`on_conflict = "skip"`) stays failed.
    """
    numbers = ", ".join(map(str, sources))
    chosen = f"records.state = 'failed' AND records.source IN ({numbers}) AND items.id = records.item AND NOT {_LEFT}"
    if faults is not None:
        chosen += " AND records.fault IN (SELECT value FROM json_each(?))"
    values = [] if faults is None else [orjson.dumps(list(faults)).decode()]
    counted = connection.execute(
        f"SELECT records.source, records.fault, {_ARRIVED}, count(*)"
        f" FROM records, items WHERE {chosen} GROUP BY 1, 2, 3",
        values,
    ).fetchall()
    moves = RecordMoves()
    for source, fault, arrived, number in counted:
        moves.add(source, RecordState.FAILED, fault, -number)
        moves.add(source, RecordState.READY if arrived else RecordState.PLANNED, "", number)
    moves.write(connection)
    return connection.execute(
        f"UPDATE records SET state = iif({_ARRIVED}, 'ready', 'planned'), fault = NULL, message = NULL FROM items"
        f" WHERE {chosen}",
        values,
    ).rowcount
