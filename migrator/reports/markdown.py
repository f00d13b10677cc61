"""report.md: a migration on one page, for a ticket or a wiki."""

from collections.abc import Iterator, Sequence

from migrator.core.model import State
from migrator.core.objects import Capabilities
from migrator.core.records import RecordState
from migrator.core.secrets import mask_text
from migrator.reports import words
from migrator.reports.overview import Overview
from migrator.reports.rows import what_happened
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
        _problems(seen),
        _capabilities(seen.capabilities),
        _requests(seen),
        _runs(seen),
    )
    return "\n".join(line for section in sections for line in section)


def _head(seen: Overview, name: str, version: str, now: float) -> Iterator[str]:
    yield f"# Migration {_plain(name)}"
    yield ""
    yield f"{_verdict(seen)} Written {words.moment(now)} by migrator {version} from `{seen.path}`."
    yield ""


def _verdict(seen: Overview) -> str:
    if seen.to_move:
        verb = "is" if seen.to_move == 1 else "are"
        return f"**Not finished:** {words.count(seen.to_move, 'object')} {verb} still to be moved."
    if not seen.complete:
        return "**Not finished:** the scan is incomplete."
    if seen.rows_to_update:
        verb = "is" if seen.rows_to_update == 1 else "are"
        return f"**Not finished:** {words.count(seen.rows_to_update, 'row')} {verb} still to be updated."
    if seen.planned_variants:
        verb = "is" if seen.planned_variants == 1 else "are"
        return f"**Not finished:** {words.count(seen.planned_variants, 'variant')} {verb} still to be made."
    if seen.items(State.FAILED) or seen.records(RecordState.FAILED) or seen.problem_count or seen.failed_variants:
        failed, problems = words.count(seen.items(State.FAILED), "object"), words.count(seen.problem_count, "problem")
        rows = f"{words.count(seen.records(RecordState.FAILED), 'row')} not updated, " if seen.rows else ""
        unmade = sum(seen.failed_variants.values())
        variants = f"{words.count(unmade, 'variant')} not made, " if unmade else ""
        return f"**Finished with gaps:** {failed} failed, {variants}{rows}{problems} in the sources."
    rows = ", and every row that refers to one says so" if seen.rows else ""
    return f"**Complete:** every object that the sources list stands in the destination{rows}."


def _totals(seen: Overview) -> Iterator[str]:
    yield "## Totals"
    yield ""
    rows = [
        (state.value, words.count(seen.items(state)), words.size(seen.size(state)) if seen.size(state) else "")
        for state in State
        if seen.items(state)
    ]
    yield from _table(("state", "objects", "bytes"), [*rows, ("all", words.count(seen.total), "")], "lrr")
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
    rows = [
        (
            _plain(source.name),
            "complete" if source.complete else "incomplete",
            *(words.count(source.items.get(state, 0)) for state in (State.STORED, State.SKIPPED, State.FAILED)),
            words.count(source.to_move),
            words.count(source.left_out),
            words.count(source.problems),
        )
        for source in seen.sources
    ]
    heads = ("source", "scan", "stored", "skipped", "failed", "to move", "left out by filters", "problems")
    yield from _table(heads, rows, "llrrrrrr")


def _variants(seen: Overview) -> Iterator[str]:
    if not seen.variants:
        return
    yield "## Variants"
    yield ""
    yield from _table(HEADS, table([state for state in seen.variants if state.configured]), SIDES)
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
    rows = [
        (
            _plain(source.name),
            _code(target.table) if (target := seen.targets.get(source.name)) else "",
            *(words.count(source.records.get(state, 0)) for state in (RecordState.RECORDED, RecordState.FAILED)),
            words.count(sum(source.records.get(state, 0) for state in (RecordState.READY, RecordState.INTENDED))),
            words.count(source.records.get(RecordState.PLANNED, 0)),
        )
        for source in seen.sources
        if source.records
    ]
    heads = ("source", "table", "updated", "failed", "to update", "waiting for their objects")
    yield from _table(heads, rows, "llrrrr")
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
        if example := seen.examples.get(fault):
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
            yield f"- {_code(each.key)}: {_code(each.first or '-')} keeps it, {_code(each.location)} is not moved"
        yield from _rest(seen.collision_count - len(seen.collisions))


def _rest(number: int) -> Iterator[str]:
    if number > 0:
        yield f"- and {words.count(number)} more"
    yield ""


def _capabilities(found: Capabilities | None) -> Iterator[str]:
    if found is None:
        return
    yield "## What the destination honours, as seen by canaries"
    yield ""
    yield f"- conditional puts: {_yes(found.conditional_put)}; at the end of multipart uploads: " + _yes(
        found.conditional_complete
    )
    yield f"- check of small objects: {words.DIGESTS[found.digest]}"
    yield f"- check of parts of large objects: {words.DIGESTS[found.part_digest]}"
    yield f"- versioning: {_yes(found.versioned)}; listing: {_yes(found.can_list)}"
    yield ""


def _requests(seen: Overview) -> Iterator[str]:
    if not seen.requests:
        return
    yield "## Requests to the destination"
    yield ""
    rows = [(operation, words.count(number)) for operation, number in seen.requests.items()]
    yield from _table(("operation", "requests"), rows, "lr")


def _runs(seen: Overview) -> Iterator[str]:
    if not seen.runs:
        return
    yield "## Runs"
    yield ""
    rows = [
        (
            str(run.number),
            run.command,
            words.moment(run.started_at),
            words.duration(run.finished_at - run.started_at) if run.finished_at is not None else "not finished",
            "-" if run.status is None else str(run.status),
            words.count(run.moved_items),
            words.size(run.moved_bytes),
            f"`{run.config_hash[:12]}`",
        )
        for run in seen.runs
    ]
    heads = ("run", "command", "started", "took", "exit status", "objects", "bytes", "config")
    yield from _table(heads, rows, "rlllrrrl")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], sides: str) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "|".join("---" if side == "l" else "---:" for side in sides) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def _yes(honoured: bool) -> str:
    return "yes" if honoured else "no"


def _plain(text: str) -> str:
    """`text` from outside, without what Markdown or a browser would take for markup."""
    flat = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in flat)


def _code(text: str) -> str:
    flat = " ".join(text.split()).replace("`", "'")
    return f"`{flat}`"
