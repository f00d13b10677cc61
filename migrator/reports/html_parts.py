"""The sections of report.html as values for its templates; one with nothing to say is left out."""

from collections.abc import Iterator, Mapping

from migrator.core.model import State
from migrator.core.records import RecordState
from migrator.core.verification import Match
from migrator.reports import charts, tables, words
from migrator.reports.charts import Piece
from migrator.reports.facts import Facts
from migrator.reports.html_troubles import (
    failed_objects,
    failed_variants,
    left_things,
    more_than,
    unlike_objects,
    unmade_rows,
)
from migrator.reports.overview import Overview, PastRun, SourceState
from migrator.reports.rows import what_happened
from migrator.reports.sheet import Sheet
from migrator.reports.tables import Table
from migrator.reports.variants import HEADS, SIDES, removed_line, table
from migrator.reports.verification import proofs, verdict, when

Part = dict[str, object]

STATES = ("stored", "skipped", "failed", "rolled-back", "to-move")
"""Kinds of the pieces of a source's bar."""
ENDINGS = {"good": "complete", "warn": "something failed or differs", "idle": "stopped", "bad": "cut off"}
"""Kinds of the pieces of the time line."""
RUNS = 50
"""Runs shown one by one, the latest."""


def parts(seen: Overview, facts: Facts, sheet: Sheet) -> Iterator[Part]:
    """Each with the `id` of its template and its `title`."""
    if seen.sources:
        yield {"id": "sources", "title": "What moved from where", **_sources(seen, facts)}
    if seen.pace:
        yield {"id": "throughput", "title": "Throughput", **_throughput(seen)}
    if seen.failed:
        yield {"id": "failed", "title": "Failed objects", **_failed(seen)}
    if seen.collisions:
        yield {"id": "conflicts", "title": "Two locations for one key", **_collisions(seen)}
    if seen.problems:
        more = more_than(seen.problem_count, len(seen.problems))
        yield {"id": "problems", "title": "Problems in the sources", "problems": seen.problems, "more": more}
    if seen.variants:
        yield {"id": "variants", "title": "Variants", **_variants(seen, sheet)}
    if seen.rows:
        yield {"id": "rows", "title": "Rows of the database", **_rows(seen)}
    yield from _proofs(seen)
    if seen.capabilities:
        found = tables.capabilities(seen.capabilities)
        yield {"id": "destination", "title": "What the destination honours", "capabilities": found}
    if seen.requests:
        yield {"id": "requests", "title": "Cost in requests", **_requests(seen)}
    if seen.runs:
        yield {"id": "runs", "title": "Runs", **_runs(seen)}
    yield {"id": "about", "title": "About this report", "hashes": len({run.config_hash for run in seen.runs})}


def _proofs(seen: Overview) -> Iterator[Part]:
    if seen.verified:
        yield {"id": "verification", "title": "Verification", **_verification(seen)}
    if seen.undone:
        yield {"id": "rollback", "title": "Rollback", **_rollback(seen)}
    if seen.cleaned:
        yield {"id": "cleanup", "title": "Cleanup", "table": tables.cleaned(seen)}


def _sources(seen: Overview, facts: Facts) -> Part:
    longest = max(sum(source.items.values()) for source in seen.sources)
    bars = [charts.bar(_states(source), longest) for source in seen.sources]
    return {
        "sources": tables.sources(seen),
        "bars": bars,
        "legend": [(kind, _named(kind)) for kind in STATES if any(piece.kind == kind for bar in bars for piece in bar)],
        "totals": tables.totals(seen),
        "skipped": [
            f"Skipped {words.count(number)}, {reason}: {words.MEANING[reason]}."
            for reason, number in seen.skipped.items()
        ],
        "origins": [(source.name, facts.origins.get(source.name, "no longer configured")) for source in seen.sources],
    }


def _states(source: SourceState) -> Iterator[tuple[str, int, str]]:
    counts = {state.value: source.items.get(state, 0) for state in State} | {"to-move": source.to_move}
    for kind in STATES:
        yield kind, counts[kind], f"{words.count(counts[kind])} {_named(kind)}"


def _named(kind: str) -> str:
    return kind.replace("-", " ")


def _throughput(seen: Overview) -> Part:
    objects = charts.area(seen.pace, lambda stretch: stretch.items)
    sizes = charts.area(seen.pace, lambda stretch: stretch.bytes)
    lasted = sum(run.seconds for run in seen.pace)
    return {
        "charts": [
            {
                "title": "Objects a second",
                "area": objects,
                "top": words.rate(objects.top),
                "peak": words.rate(objects.peak),
                "mean": words.rate(objects.mean),
            },
            {
                "title": "Bytes a second",
                "area": sizes,
                "top": words.size(sizes.top),
                "peak": words.size(sizes.peak),
                "mean": words.size(sizes.mean),
            },
        ],
        "marks": charts.marks(seen.pace) if len(seen.pace) > 1 else [],
        "lasted": words.duration(lasted),
        "middle": words.duration(lasted / 2),
    }


def _failed(seen: Overview) -> Part:
    rows = [(fault, words.count(number)) for fault, number in seen.failed.items()]
    return {
        "faults": Table(("fault", "objects"), "lr", rows),
        "bars": _shares(seen.failed, "bad"),
        "troubles": list(failed_objects(seen)),
    }


def _variants(seen: Overview, sheet: Sheet) -> Part:
    shown = [state for state in seen.variants if state.configured]
    bars = [
        charts.bar([("plain", round(state.share * 1000), f"{state.share * 100:.1f} % of its original")], 1000)
        if state.share
        else []
        for state in shown
    ]
    return {
        "table": Table(HEADS, SIDES, table(shown)),
        "bars": bars,
        "sampled": sum(state.stored for state in seen.variants) > 5000,
        "removed": [removed_line(state) for state in seen.variants if not state.configured],
        "troubles": list(failed_variants(seen)),
        "sheet": sheet,
        "figures": [each.figure() for each in sheet.shown],
    }


def _collisions(seen: Overview) -> Part:
    named = [(each, words.and_others(each.number)) for each in seen.collisions]
    return {"collisions": named, "more": more_than(seen.collision_count, seen.named_collisions)}


def _rows(seen: Overview) -> Part:
    bars = [
        charts.bar(
            [
                ("stored", source.records.get(RecordState.RECORDED, 0), "updated"),
                ("failed", source.records.get(RecordState.FAILED, 0), "failed"),
            ],
            sum(source.records.values()),
        )
        for source in seen.sources
        if source.records
    ]
    failed = sum(seen.failed_records.values())
    shown = [{"text": what_happened(each, seen.targets), "key": each.key} for each in seen.failed_rows]
    return {
        "table": tables.database_rows(seen),
        "bars": bars,
        "waiting": words.waiting_for_variants(seen.waiting_rows) if seen.waiting_rows else "",
        "troubles": list(unmade_rows(seen)),
        "failed": shown,
        "more": more_than(failed, len(shown), "migrator report --format rows"),
    }


def _verification(seen: Overview) -> Part:
    assert seen.verified
    last, counts = seen.verified.last, seen.verified.counts
    found = {Match.MATCH.value: last.results.get(Match.MATCH, 0)} | counts
    kinds = {Match.MATCH.value: "good", "extra": "warn"}
    whole = max(found.values(), default=0)
    return {
        "verdict": verdict(last),
        "when": when(last),
        "scope": last.scope,
        "compared": proofs(last),
        "looked_for_extra": last.extra is not None,
        "stored_since": seen.verified.stored_since,
        "table": Table(("result", "objects"), "lr", [(name, words.count(number)) for name, number in found.items()]),
        "bars": [
            charts.bar([(kinds.get(name, "bad"), number, f"{words.count(number)} {name}")], whole)
            for name, number in found.items()
        ],
        "troubles": list(unlike_objects(seen.verified)),
        "more": more_than(sum(counts.values()), len(seen.verified.first), "migrator report --format differences"),
    }


def _rollback(seen: Overview) -> Part:
    assert seen.undone
    rows = [
        (source.name, words.count(objects), words.count(updated))
        for source in seen.sources
        if (objects := source.items.get(State.ROLLED_BACK, 0))
        + (updated := source.records.get(RecordState.ROLLED_BACK, 0))
    ]
    return {
        "undone": seen.undone,
        "said": words.left_alone(seen.undone.left),
        "table": Table(("source", "objects", "rows"), "lrr", rows),
        "troubles": list(left_things(seen.undone)),
        "more": more_than(seen.undone.left, len(seen.undone.first), "migrator report --format left-alone"),
    }


def _requests(seen: Overview) -> Part:
    by_command: dict[str, int] = {}
    for run in seen.runs:
        by_command[run.command] = by_command.get(run.command, 0) + sum(run.requests.values())
    cut_off = words.count(sum(run.finished_at is None for run in seen.runs), "run")
    left_out = "" if cut_off[0] == "0" else f" Not counted: {cut_off} without an end."
    return {
        "table": tables.requests(seen),
        "bars": _shares(seen.requests, "plain"),
        "said": f"{words.count(sum(by_command.values()), 'request')}: {words.reasons(by_command)}.{left_out}",
    }


def _shares(counts: Mapping[str, int], kind: str) -> list[list[Piece]]:
    whole = max(counts.values(), default=0)
    return [charts.bar([(kind, number, f"{words.count(number)} {name}")], whole) for name, number in counts.items()]


def _runs(seen: Overview) -> Part:
    shown = seen.runs[-RUNS:]
    paces = {run.run: run.seconds for run in seen.pace}
    # A run that was cut off is known to have lasted until it stored something for the last time.
    ends = [run.finished_at or run.started_at + paces.get(run.number, 0) for run in shown]
    spans = [
        (run.started_at, end, _ending(run), f"run {run.number}, {run.command}, {_ended(run)}")
        for run, end in zip(shown, ends, strict=True)
    ]
    number = words.count(len(seen.runs))
    return {
        "table": tables.runs(shown),
        "caption": f"The last {RUNS} of {number} runs" if len(seen.runs) > RUNS else "All runs, the oldest first",
        "bars": charts.timeline(spans) if len(shown) > 1 else [],
        "legend": [(kind, name) for kind, name in ENDINGS.items() if any(kind == span[2] for span in spans)],
        "first": words.moment(shown[0].started_at),
        "last": words.moment(max(ends)),
    }


def _ended(run: PastRun) -> str:
    return words.ended(run.command, run.status, run.finished_at)


def _ending(run: PastRun) -> str:
    if run.finished_at is None:
        return "bad"
    return {0: "good", 1: "warn"}.get(run.status or 0, "idle")
