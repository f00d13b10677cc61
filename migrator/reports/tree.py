"""An overview as plain values for machines: what `status --json`, `plan --json` and the JSON report say."""

from typing import TYPE_CHECKING

from msgspec.structs import asdict

from migrator.core.model import State, Summary
from migrator.core.records import RecordState
from migrator.reports import words
from migrator.reports.history import head_tree
from migrator.reports.overview import Overview, PastRun, SourceState
from migrator.reports.rollbacks import rolled_back_tree
from migrator.reports.rows import failed_row
from migrator.reports.variants import failed_tree, state_tree
from migrator.reports.verification import verified_tree

if TYPE_CHECKING:
    from migrator.core.throughput import RunPace

Tree = dict[str, object]


def overview_tree(seen: Overview) -> Tree:
    """The whole overview; sizes in bytes, times in ISO 8601."""
    return {
        "ledger": str(seen.path),
        "scan_complete": seen.complete,
        "items": seen.total,
        "states": {state.value: {"items": seen.items(state), "bytes": seen.size(state)} for state in State},
        "skipped": seen.skipped,
        "failed": seen.failed,
        "examples": {
            fault: {"location": item.location, "key": item.key, "message": item.message}
            for fault, (item, *_) in seen.examples.items()
        },
        "problems": seen.problem_count,
        "first_problems": [asdict(problem) for problem in seen.problems],
        "collisions": seen.collision_count,
        "first_collisions": [
            {"key": each.key, "first": each.first, "second": each.second, "not_moved": each.number}
            for each in seen.collisions
        ],
        "records": {state.value: seen.records(state) for state in RecordState},
        "failed_records": seen.failed_records,
        "first_failed_records": [failed_row(record, seen.targets) for record in seen.failed_rows],
        "rows_waiting_for_variants": seen.waiting_rows,
        "variants": [state_tree(state) for state in seen.variants],
        "failed_variants": seen.failed_variants,
        "variant_examples": {fault: failed_tree(each) for fault, each in seen.variant_examples.items()},
        "verification": verified_tree(seen.verified) if seen.verified else None,
        "cleaned": [asdict(tally) for tally in seen.cleaned],
        "rollback": rolled_back_tree(seen.undone) if seen.undone else None,
        "audit": head_tree(seen.audit),
        "throughput": [pace_tree(run) for run in seen.pace],
        "sources": [source_tree(source) for source in seen.sources],
        "requests": seen.requests,
        "retries": seen.retries,
        "capabilities": asdict(seen.capabilities) if seen.capabilities else None,
        "runs": [run_tree(run) for run in seen.runs],
    }


def source_tree(source: SourceState) -> Tree:
    """One source."""
    return {
        "name": source.name,
        "scan_complete": source.complete,
        "states": {
            state.value: {"items": source.items.get(state, 0), "bytes": source.sizes.get(state, 0)} for state in State
        },
        "skipped": dict(source.skipped),
        "failed": dict(source.failed),
        "records": {state.value: source.records.get(state, 0) for state in RecordState},
        "failed_records": dict(source.failed_records),
        "left_out": source.left_out,
        "problems": source.problems,
    }


def run_tree(run: PastRun) -> Tree:
    """One run."""
    return {
        "run": run.number,
        "command": run.command,
        "config_hash": run.config_hash,
        "started": words.moment(run.started_at),
        "finished": words.moment(run.finished_at) if run.finished_at is not None else None,
        "exit_status": run.status,
        "moved_items": run.moved_items,
        "moved_bytes": run.moved_bytes,
        "requests": dict(run.requests),
        "retries": run.retries,
    }


def pace_tree(run: "RunPace") -> Tree:
    """How fast one run stored: seconds since it began, objects and bytes in each stretch."""
    return {
        "run": run.run,
        "seconds": run.seconds,
        "stretches": [[each.begin, each.end, each.items, each.bytes] for each in run.stretches],
    }


def summary_tree(summary: Summary) -> Tree:
    """What one run did."""
    return {
        "run": summary.run,
        "seconds": round(summary.seconds, 3),
        "moved_items": summary.moved_items,
        "moved_bytes": summary.moved_bytes,
        "run_requests": dict(summary.requests),
    }
