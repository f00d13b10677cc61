"""report.html: one page that needs nothing else: no script, no network, no other file."""

from collections.abc import Iterator

from migrator.core.model import State
from migrator.core.records import RecordState
from migrator.reports import html_parts, words
from migrator.reports.conclusion import conclusion
from migrator.reports.facts import Facts
from migrator.reports.overview import Overview
from migrator.reports.pages import template
from migrator.reports.sheet import Sheet
from migrator.reports.verification import verdict

_MOODS = {"Complete": "", "Finished with gaps": "gaps", "Not finished": "open"}


def page(seen: Overview, facts: Facts, sheet: Sheet) -> str:
    """The whole page: the same for the same ledger, whenever it is written."""
    headline, sentence = conclusion(seen)
    return template("report.html").render(
        title=f"Migration {facts.name}",
        facts=facts,
        path=seen.path,
        as_of=words.moment(_last_moment(seen)) if seen.runs else "",
        headline=headline,
        sentence=sentence,
        mood=_MOODS[headline],
        tiles=list(_tiles(seen)),
        parts=list(html_parts.parts(seen, facts, sheet)),
    )


def _last_moment(seen: Overview) -> int:
    return max(run.finished_at or run.started_at for run in seen.runs)


def _tiles(seen: Overview) -> Iterator[dict[str, str]]:
    """The figures that everybody looks for first."""
    yield _tile("stored", words.count(seen.items(State.STORED)), words.size(seen.size(State.STORED)))
    if seen.skipped:
        yield _tile("skipped", words.count(seen.items(State.SKIPPED)), words.reasons(seen.skipped))
    if seen.to_move:
        yield _tile("to move", words.count(seen.to_move))
    yield _tile("failed", words.count(seen.items(State.FAILED)), words.reasons(seen.failed))
    if seen.rows:
        yield _tile("rows updated", words.count(seen.records(RecordState.RECORDED)), f"of {words.count(seen.rows)}")
    if seen.variants:
        stored = sum(state.stored for state in seen.variants)
        yield _tile("variants", words.count(stored), words.size(sum(state.bytes for state in seen.variants)))
    if seen.verified:
        last = seen.verified.last
        share = f"{(last.looked_at - last.wrong) * 100 / last.looked_at:.4g} %" if last.looked_at else "-"
        yield _tile("verified", share, f"{verdict(last)}")
    if seen.items(State.ROLLED_BACK):
        yield _tile("rolled back", words.count(seen.items(State.ROLLED_BACK)))
    yield _tile("retries", words.count(seen.retries), "tries after the first")


def _tile(name: str, value: str, more: str = "") -> dict[str, str]:
    return {"name": name, "value": value, "more": more}
