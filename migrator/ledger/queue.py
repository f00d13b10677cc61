"""The items as a queue: claim, settle, release, retry. Tallies move in the same transaction."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TypeGuard

import orjson

from migrator.core.model import (
    Failed,
    Fault,
    Lacking,
    OpenUpload,
    Outcome,
    Settlement,
    State,
    Stood,
    Task,
    VariantOutcome,
)
from migrator.ledger import records, variants
from migrator.ledger.audit import AuditLog
from migrator.ledger.audit_changes import of_later_variants, of_settlements
from migrator.ledger.journal import source_numbers
from migrator.ledger.outcomes import write_outcomes
from migrator.ledger.rows import Moves
from migrator.ledger.seal import Seal
from migrator.ledger.variants import Named

_TAKEN = (
    "RETURNING id, source, location, key, size, fingerprint, fields, sealed, unsure, etag, sha256,"
    " iif(adopted, NULL, settled_at), renewed"
)


class Retried(NamedTuple):
    """How many items, records and variants a retry put back in their queues."""

    items: int
    records: int
    variants: int = 0


class Queue:
    """Hands items out and takes outcomes back. `run` 0 stands for work outside any run.

    Without `has_records` no settlement looks for records.
    """

    def __init__(self, ledger_id: str, seal: Seal, audit: AuditLog) -> None:
        self.ledger_id = ledger_id
        self._seal = seal
        self._audit = audit
        self.run = 0
        self.surveyed = False
        self.has_records = False

    def claim(self, connection: sqlite3.Connection, limit: int, sources: dict[int, str]) -> list[Task]:
        """Planned items of `sources` (number -> name), now intended."""
        rows = connection.execute(
            "UPDATE items SET state = 'intended', run = ? WHERE id IN (SELECT id FROM items WHERE state = 'planned'"
            f" AND source IN ({_numbers(sources)}) LIMIT ?) {_TAKEN}",
            (self.run, limit),
        ).fetchall()
        moves = Moves()
        for row in rows:
            moves.add(row[1], State.PLANNED, "", -1, -(row[4] or 0))
            moves.add(row[1], State.INTENDED, "", 1, row[4] or 0)
        moves.write(connection)
        return self._tasks(connection, rows, sources, again=False)

    def leftovers(self, connection: sqlite3.Connection, limit: int, sources: dict[int, str]) -> list[Task]:
        """Intended items that nobody works on."""
        rows = connection.execute(
            "UPDATE items SET run = ? WHERE id IN (SELECT id FROM items WHERE state = 'intended'"
            f" AND source IN ({_numbers(sources)}) AND run IS NULL LIMIT ?) {_TAKEN}",
            (self.run, limit),
        ).fetchall()
        return self._tasks(connection, rows, sources, again=True)

    def _present(self, connection: sqlite3.Connection, keys: list[str]) -> set[str]:
        """Those of `keys` that the destination showed. Not asked for in RETURNING, where SQLite 3.40 uses no index."""
        if not self.surveyed:
            return set()
        wanted = orjson.dumps(keys).decode()
        found = "SELECT key FROM destination_keys WHERE key IN (SELECT value FROM json_each(?))"
        return {key for (key,) in connection.execute(found, (wanted,))}

    def _tasks(
        self, connection: sqlite3.Connection, rows: list[tuple[Any, ...]], sources: dict[int, str], *, again: bool
    ) -> list[Task]:
        # Few uploads are ever open at once; the newest of an item comes last.
        found = connection.execute("SELECT item, upload_id, part_size FROM uploads ORDER BY id") if rows else ()
        rows.sort(key=itemgetter(0))
        variants_stood = _variants_stood(connection, [item for item, *_, renewed in rows if renewed])
        uploads = {item: OpenUpload(upload_id, part_size) for item, upload_id, part_size in found}
        present = self._present(connection, [key for _, _, _, key, *_ in rows])
        return [
            Task(
                id=item,
                put_id=f"{self.ledger_id}/{item}",
                source=sources[source],
                location=location,
                key=key,
                size=size,
                fingerprint=fingerprint,
                fields=orjson.loads(fields) if fields else None,
                signed=self._seal.url(sealed),
                again=again or unsure is not None or etag is not None,
                present=key in present if self.surveyed else None,
                upload=uploads.get(item),
                stood=_stood(etag, stored, variants_stood.get(item, ())) if etag is not None else None,
            )
            for item, source, location, key, size, fingerprint, fields, sealed, unsure, etag, *stored in rows
        ]

    def settle(self, connection: sqlite3.Connection, settlements: Sequence[Settlement]) -> None:
        """Outcomes into rows. A fatal failure is no outcome of its item: that one is given back."""
        fatal = [(s.task, s.outcome.again) for s in settlements if _is_fatal(s.outcome)]
        if fatal:
            self.release(connection, [task for task, _ in fatal], [task.id for task, unsure in fatal if unsure])
        sources = {name: number for number, name in source_numbers(connection).items()}
        write_outcomes(connection, [s for s in settlements if not _is_fatal(s.outcome)], sources)
        self._audit.add(of_settlements(settlements))
        made = [(s.task.id, s.outcome.variants) for s in settlements if not isinstance(s.outcome, Failed)]
        variants.write(connection, [(item, outcomes) for item, outcomes in made if outcomes], self.run)
        if self.has_records:
            records.follow_items(connection, [s.task.id for s in settlements if not isinstance(s.outcome, Failed)])

    def settle_variants(
        self, connection: sqlite3.Connection, settled: Sequence[tuple[Lacking, Sequence[VariantOutcome]]]
    ) -> None:
        """Variants of items that were settled before; rows that waited for them become ready."""
        self._audit.add(of_later_variants(settled))
        variants.write(connection, [(job.task.id, outcomes) for job, outcomes in settled if outcomes], self.run)
        variants.write_skipped(connection, [(job.task.id, job.wanted) for job, made in settled if not made], self.run)
        if self.has_records:
            records.follow_items(connection, [job.task.id for job, _ in settled])

    def release(self, connection: sqlite3.Connection, tasks: Sequence[Task], unsure: Sequence[int] = ()) -> None:
        """Planned again. What may be stored already (`unsure`, or found so before) stays intended, for `leftovers`."""
        doubtful = {*unsure, *(task.id for task in tasks if task.again)}
        connection.execute(
            f"UPDATE items SET run = NULL WHERE state = 'intended' AND id IN ({_numbers(sorted(doubtful))})"
        )
        rows = connection.execute(
            "UPDATE items SET state = 'planned', run = NULL WHERE state = 'intended'"
            f" AND id IN ({_numbers([task.id for task in tasks if task.id not in doubtful])})"
            " RETURNING source, coalesce(size, 0)"
        ).fetchall()
        moves = Moves()
        for source, size in rows:
            moves.add(source, State.INTENDED, "", -1, -size)
            moves.add(source, State.PLANNED, "", 1, size)
        moves.write(connection)


def retry(
    connection: sqlite3.Connection,
    faults: Sequence[str] | None,
    sources: dict[int, str],
    wanted: Mapping[str, Sequence[tuple[str, str]]],
) -> Retried:
    """Failed items back to planned, except collisions (another try gives them no other key); then failed records.

    Of failed variants those that are `wanted`, (name, format) by the name of the source.
    """
    chosen = f"state = 'failed' AND source IN ({_numbers(sources)}) AND collides IS NULL"
    if faults is not None:
        chosen += " AND fault IN (SELECT value FROM json_each(?))"
    values = [] if faults is None else [orjson.dumps(list(faults)).decode()]
    counted = connection.execute(
        f"SELECT source, fault, count(*), coalesce(sum(size), 0) FROM items WHERE {chosen} GROUP BY 1, 2", values
    ).fetchall()
    moves = Moves()
    for source, fault, items, size in counted:
        moves.add(source, State.FAILED, fault, -items, -size)
        moves.add(source, State.PLANNED, "", items, size)
    moves.write(connection)
    planned = connection.execute(
        f"UPDATE items SET state = 'planned', fault = NULL, message = NULL, unlisted = NULL WHERE {chosen}", values
    ).rowcount
    again = variants.retry(connection, faults, {number: wanted.get(name, ()) for number, name in sources.items()})
    return Retried(planned, records.retry(connection, faults, sources), again)


def _stood(etag: str, stored: Sequence[Any], made: Sequence[tuple[Named, str]]) -> Stood:
    sha256, at, renewed = stored
    return Stood(etag, bytes.fromhex(sha256) if sha256 else None, at, renewed is not None, tuple(made))


def _variants_stood(connection: sqlite3.Connection, items: Sequence[int]) -> dict[int, list[tuple[Named, str]]]:
    """(name, format) and ETag of the variants of these items that are stored."""
    found: dict[int, list[tuple[Named, str]]] = {}
    if items:
        for item, name, image_format, etag in connection.execute(
            f"SELECT item, name, format, etag FROM variants WHERE etag IS NOT NULL AND item IN ({_numbers(items)})"
        ).fetchall():
            found.setdefault(item, []).append(((name, image_format), etag))
    return found


def disown(connection: sqlite3.Connection) -> None:
    """Nobody works on anything: what stands `intended` was left behind by an earlier process."""
    connection.execute("UPDATE items SET run = NULL WHERE state = 'intended'")


def _is_fatal(outcome: Outcome) -> TypeGuard[Failed]:
    return isinstance(outcome, Failed) and outcome.fault is Fault.FATAL


def _numbers(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
