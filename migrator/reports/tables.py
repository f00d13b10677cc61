"""The tables of a report, as plain text by kind of column: how they are drawn is the affair of each format."""

from collections.abc import Sequence

from msgspec import Struct

from migrator.core.model import State
from migrator.core.objects import Capabilities
from migrator.core.records import RecordState
from migrator.reports import words
from migrator.reports.cleaning import GONE
from migrator.reports.overview import Overview, PastRun


class Table(Struct, frozen=True):
    """Heads and rows of cells. `kinds` has a letter a column: l text from outside, c a name to copy, r a number."""

    heads: tuple[str, ...]
    kinds: str
    rows: Sequence[tuple[str, ...]]


def totals(seen: Overview) -> Table:
    """Objects and bytes by state."""
    rows = [
        (state.value, words.count(seen.items(state)), words.size(seen.size(state)) if seen.size(state) else "")
        for state in State
        if seen.items(state)
    ]
    return Table(("state", "objects", "bytes"), "lrr", [*rows, ("all", words.count(seen.total), "")])


def sources(seen: Overview) -> Table:
    """What became of the objects of each source."""
    rows = [
        (
            source.name,
            "complete" if source.complete else "incomplete",
            *(words.count(source.items.get(state, 0)) for state in (State.STORED, State.SKIPPED, State.FAILED)),
            words.count(source.to_move),
            words.count(source.left_out),
            words.count(source.problems),
        )
        for source in seen.sources
    ]
    heads = ("source", "scan", "stored", "skipped", "failed", "to move", "left out by filters", "problems")
    return Table(heads, "llrrrrrr", rows)


def database_rows(seen: Overview) -> Table:
    """What became of the rows of each source that updates some."""
    rows = [
        (
            source.name,
            target.table if (target := seen.targets.get(source.name)) else "",
            *(words.count(source.records.get(state, 0)) for state in (RecordState.RECORDED, RecordState.FAILED)),
            words.count(sum(source.records.get(state, 0) for state in (RecordState.READY, RecordState.INTENDED))),
            words.count(source.records.get(RecordState.PLANNED, 0)),
        )
        for source in seen.sources
        if source.records
    ]
    heads = ("source", "table", "updated", "failed", "to update", "waiting for their objects")
    return Table(heads, "lcrrrr", rows)


def cleaned(seen: Overview) -> Table:
    """Sources that were taken away, by what became of them."""
    rows = [
        (tally.source, GONE[tally.state], words.count(tally.sources), words.size(tally.bytes)) for tally in seen.cleaned
    ]
    return Table(("source", "state", "sources", "bytes"), "llrr", rows)


def requests(seen: Overview) -> Table:
    """Requests to the destination by operation."""
    rows = [(operation, words.count(number)) for operation, number in seen.requests.items()]
    return Table(("operation", "requests"), "lr", rows)


def runs(shown: Sequence[PastRun]) -> Table:
    """The runs, a row each."""
    rows = [
        (
            str(run.number),
            run.command,
            words.moment(run.started_at),
            words.duration(run.finished_at - run.started_at) if run.finished_at is not None else "not finished",
            words.ended(run.command, run.status, run.finished_at),
            "-" if run.status is None else str(run.status),
            *(("-", "-") if run.finished_at is None else (words.count(run.moved_items), words.size(run.moved_bytes))),
            words.count(run.retries),
            run.config_hash[:12],
        )
        for run in shown
    ]
    heads = ("run", "command", "started", "took", "end", "status", "objects", "bytes", "retries", "config")
    return Table(heads, "rllllrrrrc", rows)


def capabilities(found: Capabilities) -> list[tuple[str, str]]:
    """(what, how) of all that was seen to be honoured."""
    return [
        ("conditional puts", _yes(found.conditional_put)),
        ("conditional ends of multipart uploads", _yes(found.conditional_complete)),
        ("check of small objects", words.DIGESTS[found.digest]),
        ("check of parts of large objects", words.DIGESTS[found.part_digest]),
        ("versioning", _yes(found.versioned)),
        ("listing", _yes(found.can_list)),
    ]


def _yes(honoured: bool) -> str:
    return "yes" if honoured else "no"
