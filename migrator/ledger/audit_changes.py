"""What settlements changed outside the ledger: outcomes -> lines of the audit log. What was skipped changed nothing."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence

import orjson

from migrator.core.audit import Change, Deed, Kind, Plain
from migrator.core.model import Failed, Lacking, Made, Settlement, Stored, Task, VariantOutcome
from migrator.core.records import Recorded, RecordOutcome, RecordTask
from migrator.core.undoing import Doing, Placement, RowBack, Undone, UndoneItem

FOUND = "found"
"""A detail, true where it was so already: an earlier attempt that was killed had done it, or somebody else."""

_UNDOING: Mapping[Doing, Deed] = {
    Doing.DELETE: Deed.DELETE,
    Doing.UNCOVER: Deed.RESTORE,
    Doing.RESTORE: Deed.RESTORE,
}


def of_settlements(settlements: Sequence[Settlement]) -> Iterator[Change]:
    """Objects that were stored, and variants with them."""
    for settlement in settlements:
        task, outcome = settlement.task, settlement.outcome
        if isinstance(outcome, Failed):
            continue
        if isinstance(outcome, Stored) and outcome.original:
            deed = Deed.ADOPT if outcome.adopted else Deed.COPY if outcome.copied else Deed.PUT
            digest = outcome.sha256.hex() if outcome.sha256 else None
            details: dict[str, Plain] = {"from": task.location, "size": outcome.size, "sha256": digest}
            yield Change(deed, Kind.OBJECT, task.key, task.source, details | _standing(outcome))
        if outcome.variants:
            yield from _of_variants(task, outcome.variants)


def of_later_variants(settled: Sequence[tuple[Lacking, Sequence[VariantOutcome]]]) -> Iterator[Change]:
    """Variants that were made after their original."""
    for job, outcomes in settled:
        yield from _of_variants(job.task, outcomes)


def _of_variants(task: Task, outcomes: Sequence[VariantOutcome]) -> Iterator[Change]:
    for made in outcomes:
        if isinstance(made, Made):
            deed = Deed.ADOPT if made.adopted else Deed.PUT
            details: dict[str, Plain] = {"variant": f"{made.name}.{made.format}", "of": task.key, "size": made.size}
            details |= {"sha256": made.sha256.hex()}
            yield Change(deed, Kind.VARIANT, made.key, task.source, details | _standing(made))


def _standing(stored: Stored | Made) -> dict[str, Plain]:
    """What is known of the object, and of what stood there before."""
    standing: dict[str, Plain] = {"etag": stored.etag}
    if stored.version_id is not None:
        standing["version_id"] = stored.version_id
    if stored.replaced is not None:
        standing["replaced"] = stored.replaced
    return standing


def of_records(
    connection: sqlite3.Connection, outcomes: Sequence[tuple[RecordTask, RecordOutcome]]
) -> Iterator[Change]:
    """Rows that were updated. One that held its new values before this tool ever came was not."""
    done = {task.id: (task, outcome) for task, outcome in outcomes if isinstance(outcome, Recorded)}
    if not done:
        return
    for record, before, after in connection.execute(
        "SELECT id, before_image, after_image FROM records WHERE before_image IS NOT NULL"
        " AND id IN (SELECT value FROM json_each(?)) ORDER BY id",
        (orjson.dumps(list(done)).decode(),),
    ):
        task, outcome = done[record]
        deed = Deed.ADOPT if outcome.adopted else Deed.UPDATE
        yield Change(deed, Kind.ROW, task.row.primary_key, task.source, {"columns": _differing(before, after)})


def _differing(before: str, after: str) -> list[str]:
    """Columns that are not the same in both; their values stay where they are."""
    was, then = orjson.loads(before), orjson.loads(after)
    return [name for name, value in then.items() if was.get(name) != value]


def of_rows_back(connection: sqlite3.Connection, back: Sequence[RowBack]) -> Iterator[Change]:
    """Rows that hold their old values again. Called before they are settled."""
    updated = {
        record
        for (record,) in connection.execute(
            "SELECT id FROM records WHERE state = 'recorded' AND id IN (SELECT value FROM json_each(?))",
            (orjson.dumps([row.record for row in back]).decode(),),
        )
    }
    for row in back:
        if row.change and (row.changed or row.record in updated):
            details: dict[str, Plain] = {"columns": _differing(row.change.before, row.change.after)}
            yield Change(Deed.RESTORE, Kind.ROW, row.primary_key, row.source, details | _found(row.changed))


def of_undone(done: Sequence[UndoneItem]) -> Iterator[Change]:
    """Objects and variants that a rollback took away or brought back."""
    for item in done:
        known = {placement.variant: placement for placement in item.remains.variants}
        for variant, part in item.variants.items():
            yield from _of_part(part, known.get(variant), Kind.VARIANT)
        if item.own:
            yield from _of_part(item.own, item.remains.own, Kind.OBJECT)


def _of_part(part: Undone, placement: Placement | None, kind: Kind) -> Iterator[Change]:
    details = _undone_details(placement) if placement else {}
    if part.doing is Doing.DISCARD and placement:
        for backup in placement.kept:
            yield Change(Deed.DELETE, Kind.BACKUP, backup, part.source, {"of": part.name})
    elif part.doing in _UNDOING:
        yield Change(_UNDOING[part.doing], kind, part.name, part.source, details)
    elif part.doing is Doing.NOTHING and placement and placement.settled_at is not None:
        deed = Deed.RESTORE if placement.replaced else Deed.DELETE
        yield Change(deed, kind, part.name, part.source, details | _found(changed=False))


def _undone_details(placement: Placement) -> dict[str, Plain]:
    details: dict[str, Plain] = {}
    if placement.etag:
        details["etag"] = placement.etag
    if placement.version_id is not None:
        details["version_id"] = placement.version_id
    if placement.replaced or placement.backups:
        details["restored"] = placement.replaced or f"backup:{placement.backups[0]}"
    return details


def _found(changed: bool) -> dict[str, Plain]:
    return {} if changed else {FOUND: True}
