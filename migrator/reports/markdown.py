"""report.md: a migration on one page, for a ticket or a wiki."""

from collections.abc import Callable, Iterator

from migrator.core.objects import Capabilities
from migrator.core.secrets import mask_text
from migrator.reports import tables, words
from migrator.reports.conclusion import conclusion
from migrator.reports.overview import Overview
from migrator.reports.rollbacks import RolledBack
from migrator.reports.rows import what_happened
from migrator.reports.tables import Table
from migrator.reports.variants import HEADS, SIDES, removed_line, table, what_failed
from migrator.reports.verification import Verified, proofs, verdict, when


def markdown(seen: Overview, name: str, version: str, now: float) -> str:
    """The whole page."""
    sections = (
        _head(seen, name, version, now),
        _totals(seen),
        _sources(seen),
        _variants(seen),
        _rows(seen),
        _failures(seen),
        _failed_variants(seen),
        _failed_rows(seen),
        _verification(seen.verified),
        _rollback(seen.undone),
        _cleanup(seen),
        _problems(seen),
        _capabilities(seen.capabilities),
        _requests(seen),
        _runs(seen),
    )
    return "\n".join(line for section in sections for line in section)


def _head(seen: Overview, name: str, version: str, now: float) -> Iterator[str]:
    yield f"# Migration {_plain(name)}"
    yield ""
    headline, sentence = conclusion(seen)
    yield f"**{headline}:** {sentence} Written {words.moment(now)} by migrator {version} from `{seen.path}`."
    yield ""


def _totals(seen: Overview) -> Iterator[str]:
    yield "## Totals"
    yield ""
    yield from _table(tables.totals(seen))
    if seen.skipped:
        yield (
            "Skipped: "
            + "; ".join(
                f"{words.count(number)} {reason} ({words.MEANING[reason]})" for reason, number in seen.skipped.items()
            )
            + "."
        )
        yield ""


def _sources(seen: Overview) -> Iterator[str]:
    yield "## Sources"
    yield ""
    yield from _table(tables.sources(seen))


def _variants(seen: Overview) -> Iterator[str]:
    if not seen.variants:
        return
    yield "## Variants"
    yield ""
    yield from _table(Table(HEADS, SIDES, table([state for state in seen.variants if state.configured])))
    removed = [state for state in seen.variants if not state.configured]
    if removed:
        yield "No longer configured; their objects stay where they are:"
        yield ""
        yield from (f"- {removed_line(state)}" for state in removed)
        yield ""


def _failed_variants(seen: Overview) -> Iterator[str]:
    if not seen.failed_variants:
        return
    yield "## Variants that were not made"
    yield ""
    for fault, number in seen.failed_variants.items():
        advice = words.VARIANT_ADVICE.get(fault, words.ADVICE[fault])
        meaning = words.VARIANT_MEANING.get(fault, words.MEANING[fault])
        yield f"{fault} {words.count(number)}: {meaning}. What to do: {advice}."
        yield ""
        if example := seen.variant_examples.get(fault):
            yield f"Example: {_plain(what_failed(example))}"
            yield ""


def _rows(seen: Overview) -> Iterator[str]:
    if not seen.rows:
        return
    yield "## Rows of the database"
    yield ""
    yield from _table(tables.database_rows(seen))
    if seen.waiting_rows:
        yield f"{words.waiting_for_variants(seen.waiting_rows)}."
        yield ""


def _failed_rows(seen: Overview) -> Iterator[str]:
    if not seen.failed_records:
        return
    yield "## Rows that were not updated"
    yield ""
    for fault, number in seen.failed_records.items():
        advice = words.ROW_ADVICE.get(fault, words.ADVICE[fault])
        meaning = words.ROW_MEANING.get(fault, words.MEANING[fault])
        yield f"{fault} {words.count(number)}: {meaning}. What to do: {advice}."
        yield ""
    for record in seen.failed_rows:
        yield f"- {_plain(what_happened(record, seen.targets))} (object {_code(record.key)})"
    yield from _rest(sum(seen.failed_records.values()) - len(seen.failed_rows))


def _failures(seen: Overview) -> Iterator[str]:
    if not seen.failed:
        return
    yield "## Failed objects"
    yield ""
    for fault, number in seen.failed.items():
        yield f"### {fault}: {words.count(number, 'object')}"
        yield ""
        yield f"{words.MEANING[fault].capitalize()}. What to do: {words.ADVICE[fault]}."
        yield ""
        for example in seen.examples.get(fault, ())[:1]:
            yield f"Example: {_code(example.location)} -> {_code(example.key)}. {_plain(mask_text(example.message))}"
            yield ""


def _verification(seen: Verified | None) -> Iterator[str]:
    if seen is None:
        return
    yield "## Verification"
    yield ""
    compared = proofs(seen.last)
    yield f"{verdict(seen.last)}: {when(seen.last)}, {seen.last.scope}.{f' Compared: {compared}.' if compared else ''}"
    if seen.last.extra is None:
        yield "Keys that are not of this migration were not looked for."
    if seen.stored_since:
        yield "**Something was stored since:** `migrator verify` looks at that too."
    yield ""
    for result, number in seen.counts.items():
        advice = words.MATCH_ADVICE[result]
        yield f"- {result} {words.count(number)}: {words.MATCH_MEANING[result]}. What to do: {advice}."
    if seen.counts:
        yield ""
    for each in seen.first:
        variant = f" (variant {_plain(each.variant)})" if each.variant else ""
        yield f"- {each.result} {_code(each.key)}{variant}: {_plain(mask_text(each.message))}".removesuffix(": ")
    if seen.first:
        more = sum(seen.counts.values()) - len(seen.first)
        if more > 0:
            yield f"- and {words.count(more)} more: `migrator report --format differences`"
        yield ""


def _rollback(seen: RolledBack | None) -> Iterator[str]:
    if seen is None:
        return
    yield "## Rollback"
    yield ""
    yield f"Run {seen.run}: {seen.when}. {words.left_alone(seen.left)}"
    yield ""
    for each in seen.first:
        yield f"- {each.kind} {_code(each.name)} ({each.fault}): {_plain(mask_text(each.message))}"
    if seen.left > len(seen.first):
        yield f"- and {words.count(seen.left - len(seen.first))} more: `migrator report --format left-alone`"
    if seen.first:
        yield ""


def _cleanup(seen: Overview) -> Iterator[str]:
    if seen.cleaned:
        yield "## Cleanup"
        yield ""
        yield from _table(tables.cleaned(seen))


def _problems(seen: Overview) -> Iterator[str]:
    if seen.problem_count:
        yield "## Problems in the sources"
        yield ""
        for problem in seen.problems:
            place = f"{problem.place}:{problem.position}" if problem.position else problem.place
            yield f"- {_code(place)} ({problem.fault}): {_plain(mask_text(problem.message))}"
        yield from _rest(seen.problem_count - len(seen.problems))
    if seen.collision_count:
        yield "## Two locations for one key"
        yield ""
        for each in seen.collisions:
            others = f"{_code(each.second)}{words.and_others(each.number)}"
            yield f"- {_code(each.key)}: {_code(each.first)} keeps it, not moved: {others}"
        yield from _rest(seen.collision_count - seen.named_collisions)


def _rest(number: int) -> Iterator[str]:
    if number > 0:
        yield f"- and {words.count(number)} more"
    yield ""


def _capabilities(found: Capabilities | None) -> Iterator[str]:
    if found is None:
        return
    yield "## What the destination honours, as seen by canaries"
    yield ""
    yield from (f"- {what}: {how}" for what, how in tables.capabilities(found))
    yield ""


def _requests(seen: Overview) -> Iterator[str]:
    if not seen.requests:
        return
    yield "## Requests to the destination"
    yield ""
    yield from _table(tables.requests(seen))


def _runs(seen: Overview) -> Iterator[str]:
    if not seen.runs:
        return
    yield "## Runs"
    yield ""
    yield from _table(tables.runs(seen.runs))


def _table(table: Table) -> Iterator[str]:
    draw: dict[str, Callable[[str], str]] = {"l": _plain, "c": _code, "r": str}
    yield "| " + " | ".join(table.heads) + " |"
    yield "|" + "|".join("---:" if kind == "r" else "---" for kind in table.kinds) + "|"
    for row in table.rows:
        yield "| " + " | ".join(draw[kind](cell) for kind, cell in zip(table.kinds, row, strict=True)) + " |"
    yield ""


def _plain(text: str) -> str:
    """`text` from outside, without what Markdown or a browser would take for markup."""
    flat = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in flat)


def _code(text: str) -> str:
    if not text:
        return ""
    flat = " ".join(text.split()).replace("`", "'")
    return f"`{flat}`"
