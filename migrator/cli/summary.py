"""What people read at the end of a command: what was done, what is wrong, what to do next. Lines, no printing."""

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.cli.options import CONFIG_FILE
from migrator.core.errors import Interrupted, LimitReached, MigratorError
from migrator.core.model import State, Summary
from migrator.core.records import RecordState
from migrator.core.secrets import mask_text
from migrator.reports import words
from migrator.reports.history import head_line
from migrator.reports.overview import Overview, SourceState
from migrator.reports.rendering import lines as lines_of_variants
from migrator.reports.rows import what_happened
from migrator.reports.variants import HEADS as HEADS_OF_VARIANTS
from migrator.reports.variants import SIDES, table, what_failed

if TYPE_CHECKING:
    from migrator.records.preview import RowPreview
    from migrator.reports.plan import Plan

SHOWN = 5
"""Rows of one fault that are named; the report names more."""

HEADS = ("source", "to move", "bytes", "stored", "skipped", "failed", "left out", "problems")


def command(verb: str, config_file: Path) -> str:
    """How the operator types it, for the config file that is in use."""
    return f"migrator {verb}" + ("" if config_file == CONFIG_FILE else f" -c {shlex.quote(str(config_file))}")


def aimed(advice: str, config_file: Path) -> str:
    """`advice` with the commands in it for the config file that is in use."""
    return re.sub(r"`migrator ([a-z-]+)", lambda found: f"`{command(found[1], config_file)}", advice)


def after_run(
    summary: Summary, made: int, error: MigratorError | None, seen: Overview, config_file: Path, log: Path
) -> Iterator[str]:
    """The end of `migrate` and `copy`; `made` variants came of this run."""
    yield _moved(summary, made)
    yield ""
    yield from totals(seen)
    yield from troubles(seen, config_file)
    if error:
        yield ""
        yield f"Stopped: {mask_text(error.message)}"
        if error.hint and not isinstance(error, Interrupted | LimitReached):
            yield f"  what to do: {aimed(mask_text(error.hint), config_file)}"
    yield from ["", *_next(seen, error is not None, config_file)]
    yield f"ledger  {seen.path}"
    yield f"log     {log}"
    yield from head_line(seen.audit)


def _moved(summary: Summary, made: int) -> str:
    variants = words.count(made, "variant")
    if not summary.moved_items:
        return f"{f'Made {variants}' if made else 'Moved nothing'} in {words.duration(summary.seconds)}."
    pace = ""
    if summary.seconds >= 1:
        items, sent = summary.moved_items / summary.seconds, summary.moved_bytes / summary.seconds
        pace = f" ({words.rate(items)} objects/s, {words.size(sent)}/s)"
    moved = f"{words.count(summary.moved_items, 'object')}, {words.size(summary.moved_bytes)}"
    return f"Moved {moved}{f' and made {variants}' if made else ''} in {words.duration(summary.seconds)}{pace}."


def _next(seen: Overview, stopped: bool, config_file: Path) -> Iterator[str]:
    if stopped or seen.to_move or seen.rows_to_update or seen.planned_variants or not seen.complete:
        variants = f", {words.count(seen.planned_variants, 'variant')} to make" if seen.planned_variants else ""
        rows = f" and {words.count(seen.rows_to_update, 'row')} to update" if seen.rows_to_update else ""
        left = words.count(seen.to_move, "object")
        more = "" if seen.complete else ", and the scan goes on"
        yield f"next    the same command again goes on where this stopped ({left} to move{variants}{rows}{more})"
    elif seen.records(RecordState.FAILED):
        yield f"next    `{command('report', config_file)} -o report/` lists what failed, rows as well"
    elif seen.failed_variants and not seen.items(State.FAILED):
        retried = f"`{command('retry', config_file)} --fault {next(iter(seen.failed_variants))}`"
        yield f"next    {retried}, then `{command('migrate', config_file)}`, tries the variants again that failed"
    elif seen.items(State.FAILED) or seen.problem_count:
        yield f"next    `{command('report', config_file)} --format csv -o failed.csv` lists what failed"
    elif seen.items(State.ROLLED_BACK):
        yield f"next    nothing; `{command('retry', config_file)} --rolled-back` plans what was rolled back again"
    else:
        yield f"next    all done; `{command('report', config_file)}` says so on one page"


def totals(seen: Overview) -> Iterator[str]:
    """A line for each state that has items or rows."""
    reasons = {State.SKIPPED: seen.skipped, State.FAILED: seen.failed}
    rows = [
        (state.value, words.count(seen.items(state)), _size(seen, state), words.reasons(reasons.get(state, {})))
        for state in State
        if seen.items(state)
    ]
    rows += [
        (
            f"rows {state.value}",
            words.count(seen.records(state)),
            "",
            words.reasons(seen.failed_records if state is RecordState.FAILED else {}),
        )
        for state in RecordState
        if seen.records(state)
    ]
    rows += _variant_totals(seen)
    if seen.problem_count:
        rows.append(("problems", words.count(seen.problem_count), "", "in the sources"))
    yield from aligned(rows, "lrrl")
    counted = [state for state in seen.variants if state.stored or state.failures or state.planned]
    if len(counted) > 1:
        yield ""
        yield from aligned(*_without_empty([HEADS_OF_VARIANTS, *table(counted)], SIDES))
    if not rows:
        yield "  nothing in the ledger yet"


def _variant_totals(seen: Overview) -> list[tuple[str, str, str, str]]:
    stored, size = sum(state.stored for state in seen.variants), sum(state.bytes for state in seen.variants)
    failed = seen.failed_variants
    counted = (
        ("variants stored", stored, words.size(size), ""),
        ("variants planned", seen.planned_variants, "", ""),
        ("variants failed", sum(failed.values()), "", words.reasons(failed)),
    )
    return [(name, words.count(number), known, why) for name, number, known, why in counted if number]


def _without_empty(rows: Sequence[tuple[str, ...]], sides: str) -> tuple[list[tuple[str, ...]], str]:
    """The table without the columns that say nothing below their heads."""
    kept = [column for column in range(len(sides)) if any(row[column] not in ("", "0") for row in rows[1:])]
    return [tuple(row[column] for column in kept) for row in rows], "".join(sides[column] for column in kept)


def _size(seen: Overview, state: State) -> str:
    return words.size(seen.size(state)) if seen.size(state) else ""


def troubles(seen: Overview, config_file: Path) -> Iterator[str]:
    """Failed items by fault with an example each, then problems and collisions one by one, up to a bound."""
    if seen.failed:
        yield ""
        yield "Failed"
    for fault, number in seen.failed.items():
        yield f"  {fault} {words.count(number)}: {words.MEANING[fault]}"
        for example in seen.examples.get(fault, ())[:1]:
            message = mask_text(example.message)
            yield f"    such as     {message if example.location in message else f'{example.location}: {message}'}"
        yield f"    what to do  {aimed(words.ADVICE[fault], config_file)}"
    yield from failed_variants(seen, config_file)
    yield from failed_rows(seen, config_file)
    if seen.waiting_rows:
        yield ""
        yield words.waiting_for_variants(seen.waiting_rows)
    yield from problems(seen)
    yield from collisions(seen, config_file)


def failed_variants(seen: Overview, config_file: Path) -> Iterator[str]:
    """Variants that were not made, by fault, with an example each."""
    if seen.failed_variants:
        yield ""
        yield "Variants not made"
    for fault, number in seen.failed_variants.items():
        yield f"  {fault} {words.count(number)}: {words.VARIANT_MEANING.get(fault, words.MEANING[fault])}"
        if example := seen.variant_examples.get(fault):
            yield f"    such as     {what_failed(example)}"
        yield f"    what to do  {aimed(words.VARIANT_ADVICE.get(fault, words.ADVICE[fault]), config_file)}"


def failed_rows(seen: Overview, config_file: Path) -> Iterator[str]:
    """Rows that were not updated, by fault, and the first of them by name."""
    if not seen.failed_records:
        return
    yield ""
    yield "Rows not updated"
    for fault, number in seen.failed_records.items():
        yield f"  {fault} {words.count(number)}: {words.ROW_MEANING.get(fault, words.MEANING[fault])}"
        for record in [record for record in seen.failed_rows if record.fault == fault][:SHOWN]:
            yield f"    {what_happened(record, seen.targets)}"
        yield f"    what to do  {aimed(words.ROW_ADVICE.get(fault, words.ADVICE[fault]), config_file)}"


def problems(seen: Overview) -> Iterator[str]:
    """What could not become an item, with file and position."""
    if not seen.problem_count:
        return
    yield ""
    yield f"Problems in the sources: {words.count(seen.problem_count)}"
    for problem in seen.problems:
        place = f"{problem.place}:{problem.position}" if problem.position else problem.place
        yield f"  {problem.fault:<9}  {place}: {mask_text(problem.message)}"
    yield from _rest(seen.problem_count - len(seen.problems))


def collisions(seen: Overview, config_file: Path) -> Iterator[str]:
    """Keys that several locations want, those that most want first."""
    if not seen.collision_count:
        return
    yield ""
    number = words.count(seen.collision_count)
    yield f"Two locations for one key: {number} (the first keeps it, others are not moved)"
    for each in seen.collisions:
        yield f"  {each.key}"
        yield f"    first   {each.first}"
        yield f"    second  {each.second}{words.and_others(each.number)}"
    yield from _rest(seen.collision_count - seen.named_collisions)
    yield f"  what to do  let `key` tell them apart, and run `{command('plan', config_file)}` again"


def _rest(number: int) -> Iterator[str]:
    if number > 0:
        yield f"  and {words.count(number)} more"


def planned(
    plan: "Plan",
    rows: Sequence["RowPreview"],
    config_file: Path,
    *,
    dry_run: bool,
) -> Iterator[str]:
    """The end of `plan` and of `migrate --dry-run`."""
    seen = plan.seen
    lines = [_plan_row(source) for source in seen.sources]
    if len(lines) > 1:
        lines.append(_plan_row(seen.all_sources))
    yield from aligned([HEADS, *lines], "lrrrrrrr")
    yield ""
    for reason, number in seen.skipped.items():
        yield f"skipped   {words.count(number, 'object')} {reason}: {words.MEANING[reason]}"
    if seen.rows:
        yield f"rows      {words.count(seen.rows_left, 'row')} to update when their objects stand"
    only_variants = f"{command('migrate', config_file)} --only-variants"
    yield from _labelled("variants", lines_of_variants(plan.variants, only_variants))
    yield from _labelled("requests", plan.requests.lines())
    yield from _labelled("disk", plan.disk.lines())
    yield from _examples(rows, seen)
    yield from problems(seen)
    yield from collisions(seen, config_file)
    yield ""
    if dry_run:
        yield "dry run: ledger and bucket are as they were"
    if not seen.complete:
        yield f"next      the scan was stopped; `{command('plan', config_file)}` goes on with it"
    elif seen.to_move:
        yield f"next      `{command('migrate', config_file)}` moves {words.count(seen.to_move, 'object')}"
    elif any(each.to_make for each in plan.variants):
        yield f"next      `{command('migrate', config_file)}` makes variants"
    else:
        yield "next      nothing is left to move"
    if not dry_run:
        yield f"ledger    {seen.path}"


def _labelled(label: str, lines: Iterable[str]) -> Iterator[str]:
    """The label stands before the first line only."""
    for number, line in enumerate(lines):
        yield f"{'' if number else label:<8}  {line}"


def _examples(rows: Sequence["RowPreview"], seen: Overview) -> Iterator[str]:
    """The first rows of each source, column by column."""
    for source in dict.fromkeys(row.source for row in rows):
        yield ""
        target = seen.targets.get(source)
        yield f"Rows of {target.table if target else source}, as they are -> as they will be"
        for row in rows:
            if row.source == source:
                yield f"  {row.row}" + (f": {mask_text(row.problem)}" if row.problem else "")
                width = max((len(column.name) for column in row.columns), default=0)
                for column in row.columns:
                    yield f"    {column.name:<{width}}  {mask_text(column.before)} -> {mask_text(column.after)}"


def _plan_row(source: SourceState) -> tuple[str, ...]:
    counts = (source.items.get(state, 0) for state in (State.STORED, State.SKIPPED, State.FAILED))
    known = words.size(source.bytes_to_move) if source.bytes_to_move or not source.to_move else "unknown"
    return (
        source.name + ("" if source.complete else " (scan incomplete)"),
        words.count(source.to_move),
        known,
        *(words.count(number) for number in counts),
        words.count(source.left_out),
        words.count(source.problems),
    )


def aligned(rows: Sequence[tuple[str, ...]], sides: str) -> Iterator[str]:
    """Rows as columns, each to its side, indented by two."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(sides))] if rows else []
    for row in rows:
        cells = [
            f"{cell:<{width}}" if side == "l" else f"{cell:>{width}}"
            for cell, width, side in zip(row, widths, sides, strict=True)
        ]
        yield ("  " + "  ".join(cells)).rstrip()
