"""What people and machines read of the past: the list of runs, the lines of the audit log, whether that is whole."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import asdict

from migrator.core.audit import Checked, Event, Head
from migrator.reports import words
from migrator.reports.overview import PastRun

RUN_HEADS = ("run", "command", "began", "took", "ended", "objects", "bytes", "requests")
RUN_SIDES = "rllrlrrr"
"""To which side each column of `run_row` goes."""

_SILENT = frozenset({"sha256", "etag", "version_id", "upload_id"})
"""Details that say nothing to the eye; JSON has them."""


def run_row(run: PastRun, running: int | None) -> tuple[str, ...]:
    """One run as a row below RUN_HEADS; `running` is the number of the one at work."""
    known = run.finished_at is not None
    return (
        str(run.number),
        run.command,
        words.moment(run.started_at),
        words.duration(run.finished_at - run.started_at) if run.finished_at is not None else "",
        how_it_ended(run, running),
        words.count(run.moved_items) if known else "",
        words.size(run.moved_bytes) if known else "",
        words.count(sum(run.requests.values())) if known else "",
    )


def how_it_ended(run: PastRun, running: int | None) -> str:
    """In a word or a few."""
    if run.finished_at is None:
        return "running" if run.number == running else "killed"
    return words.ended(run.command, run.status, run.finished_at).removeprefix("was ")


def event_head(sources: Sequence[str]) -> str:
    """What stands above lines of `event_line`."""
    return f"{'time':<20}  {'run':>4}  {'deed':<7}  {'kind':<7}  {'source':<{_width(sources)}}  name"


def event_line(event: Event, sources: Sequence[str]) -> str:
    """One line of the log; `sources` are all that there are, for the width of their column."""
    said = ", ".join(_said(event.details))
    what = event.name + (f"  ({said})" if said else "")
    when, source = f"{_moment(event.time)}  {event.run or '-':>4}", f"{event.source:<{_width(sources)}}"
    return _printable(f"{when}  {event.deed:<7}  {event.kind:<7}  {source}  {what}")


def _width(sources: Sequence[str]) -> int:
    return max((len("source"), *map(len, sources)))


def _said(details: Mapping[str, object]) -> Iterator[str]:
    for name, value in details.items():
        if value is None or name in _SILENT:
            continue
        if name == "size" and isinstance(value, int):
            yield words.size(value)
        elif name == "found":
            yield "it was so already"
        elif isinstance(value, list):
            yield f"{name} {', '.join(map(str, value))}"
        else:
            yield f"{name} {value}"


def _printable(text: str) -> str:
    # A name may hold what moves the cursor of a terminal.
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def checked_lines(checked: Checked) -> Iterator[str]:
    """Whether the log is whole, in words."""
    if checked.broken:
        yield f"broken at line {checked.broken.line:,} ({checked.broken.damage}): {checked.broken.message}"
        yield f"  the {words.count(checked.lines, 'line')} before it are as they were written"
        return
    if not checked.lines:
        yield "0 lines: nothing was changed yet"
    else:
        text = f"{words.count(checked.lines, 'line')}, unbroken, {_moment(checked.first)} to {_moment(checked.last)}"
        yield f"{text}, {_agreement(checked)}"
        yield f"the last one is {checked.hash}"
    if checked.unfinished:
        yield f"an unfinished line of {checked.unfinished} bytes follows (a kill); the next run cuts it off"


def _agreement(checked: Checked) -> str:
    ahead = checked.lines - (checked.known.number if checked.known else 0)
    if not ahead:
        return "head agrees with the ledger"
    return f"{words.count(ahead, 'line')} ahead of the ledger (a kill, or a run at work), which knows those before"


def _moment(time: str) -> str:
    return f"{time[:19]}Z"


def checked_tree(checked: Checked) -> dict[str, object]:
    """The same for machines."""
    return {
        "lines": checked.lines,
        "unbroken": checked.broken is None,
        "first": checked.first or None,
        "last": checked.last or None,
        "head": {"line": checked.lines, "hash": checked.hash} if checked.lines else None,
        "ledger": head_tree(checked.known),
        "unfinished_bytes": checked.unfinished,
        "broken": asdict(checked.broken) if checked.broken else None,
    }


def head_tree(head: Head | None) -> dict[str, object] | None:
    """The last line that the ledger knows."""
    return {"line": head.number, "hash": head.hash} if head else None


def head_line(head: Head | None) -> Iterator[str]:
    """What to keep elsewhere, at the end of a run."""
    if head:
        yield f"audit   line {head.number}, {head.hash}"
