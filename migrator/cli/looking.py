"""Commands that only look: status, report."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from migrator.cli.history import check
from migrator.cli.options import CONFIG_FILE, ConfigFile, Json
from migrator.cli.output import Output
from migrator.cli.reporting import FILES, FORMATS, Subject, without, write
from migrator.cli.summary import command, totals
from migrator.core.errors import ConfigError, MigratorError
from migrator.core.model import State
from migrator.core.records import RecordState
from migrator.reports import words
from migrator.reports.cleaning import status_line as cleaned_line
from migrator.reports.verification import status_line

if TYPE_CHECKING:
    from migrator.core.config import Config
    from migrator.ledger.lock import Holder
    from migrator.ledger.seen import Pace
    from migrator.reports.overview import Overview

WATCH_EVERY = 2.0
"""Seconds between two looks."""


def status(
    config_file: ConfigFile = CONFIG_FILE,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds, until Ctrl+C.")] = False,
    as_json: Json = False,
) -> int:
    """Say how far the migration is, running or not.

    \b
    Examples:
      migrator status
      migrator status --watch          in another terminal
      migrator status --json | jq .states.failed.items
    """
    from migrator import wiring

    output = Output(as_json=as_json)
    config = wiring.load_config(config_file, {})
    while True:
        _show_status(output, config, config_file, clear=watch and sys.stdout.isatty())
        if not watch:
            return 0
        sys.stdout.flush()
        time.sleep(WATCH_EVERY)


def _show_status(output: Output, config: "Config", config_file: Path, *, clear: bool) -> None:
    from migrator import wiring
    from migrator.reports.overview import overview
    from migrator.reports.targets import targets_of, variants_of
    from migrator.reports.tree import overview_tree

    with wiring.view(config) as view:
        seen = overview(view, targets_of(config), variants_of(config), brief=True)
        holder = view.holder()
        # Not from before this run began: what lies between two runs would make it look slow.
        age = time.time() - seen.runs[-1].started_at if seen.runs else 0
        pace = view.pace(max(10, min(60, int(age))))
    if output.as_json:
        running = str(holder) if holder else None
        speed = {"items_per_second": round(pace.items, 2), "bytes_per_second": round(pace.bytes)}
        output.emit({"migration": config.name, "running": running, **speed, **overview_tree(seen)})
        return
    lines = list(_status(config.name, seen, holder, pace, config_file))
    if clear:
        # Home, each line to its end, then what is left below: no flicker, as a whole clear would.
        print("\033[H" + "\n".join(f"{line}\033[K" for line in lines) + "\n\033[J", end="")
    else:
        output.say(lines)


def _status(name: str, seen: "Overview", holder: "Holder | None", pace: "Pace", config_file: Path) -> Iterator[str]:
    yield f"{name}: {_running(seen, holder)}"
    yield ""
    yield from totals(seen)
    done = seen.items(State.STORED) + seen.items(State.SKIPPED)
    yield ""
    if seen.total:
        known = "" if seen.complete else " known so far (the scan is not complete)"
        yield f"done    {done * 100 // seen.total} %, {words.count(done)} of {words.count(seen.total, 'object')}{known}"
    if seen.rows:
        yield f"rows    {words.count(seen.records(RecordState.RECORDED))} of {words.count(seen.rows, 'row')} updated"
    if holder and pace.items:
        left = f", about {words.duration(seen.to_move / pace.items)} left" if seen.complete and seen.to_move else ""
        yield f"speed   {words.rate(pace.items)} objects/s, {words.size(pace.bytes)}/s{left}"
    if seen.verified:
        yield f"verify  {status_line(seen.verified)}"
    if taken := cleaned_line(seen.cleaned):
        yield f"cleaned {taken}"
    if seen.waiting_rows:
        yield f"wait    {words.waiting_for_variants(seen.waiting_rows)}"
    if seen.items(State.FAILED) or seen.records(RecordState.FAILED) or seen.failed_variants or seen.problem_count:
        yield f"more    `{command('report', config_file)}` names what failed, with examples and what to do"
    if not holder and (seen.to_move or seen.rows_to_update or seen.planned_variants or not seen.complete):
        yield f"next    `{command('migrate', config_file)}` goes on"
    yield f"ledger  {seen.path}"


def _running(seen: "Overview", holder: "Holder | None") -> str:
    if holder:
        return f"running ({holder})"
    if not seen.runs:
        return "not running; nothing was done yet"
    last = seen.runs[-1]
    when = words.moment(last.started_at)
    ended = words.ended(last.command, last.status, last.finished_at)
    return f"not running; the last {last.command} ({when}) {ended}"


def report(
    config_file: ConfigFile = CONFIG_FILE,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="md (default), html, json; as csv: csv (failed items), rows (failed rows), differences (of `verify`), "
            "left-alone (by `rollback`).",
        ),
    ] = None,
    output_path: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="PATH", help="A file, or a folder for all formats. Default: stdout."),
    ] = None,
    no_images: Annotated[
        bool, typer.Option("--no-images", help="html: no sample of variants, which is read from the destination.")
    ] = False,
    check_audit: Annotated[
        bool, typer.Option("--check-audit", help="No report: is the audit log as it was written? Exits 4 if not.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Write down what was moved, what was not and why.

    \b
    Examples:
      migrator report                              a page of Markdown on stdout
      migrator report -o report.html               one page with charts; it needs no network and no other file
      migrator report -o report/                   report.md, report.html, report.json and failed.csv in a folder;
                                                   where there are any, failed_rows.csv, differences.csv (of `verify`)
                                                   and left_alone.csv (by `rollback`) beside them
      migrator report --format csv -o failed.csv   failed items; itself a manifest, so
      migrator copy failed.csv s3://bucket/ --key '{key}'   tries them by another way
      migrator report --format json | jq '.failures[].location'
      migrator report --check-audit                follows the hashes of the audit log from line to line
    """
    from migrator import wiring

    if check_audit:
        if format_name or output_path or no_images:
            raise ConfigError("--check-audit: it writes no report", hint="leave out --format, -o and --no-images")
        return check(config_file, as_json=as_json)
    format_name = _format(format_name, output_path, as_json=as_json)
    config = wiring.load_config(config_file, {})
    with wiring.view(config) as view:
        subject = Subject(view, config, images=not no_images)
        if output_path is None:
            write(format_name or "md", subject, sys.stdout)
            return 0
        for path, each in _targets(output_path, format_name, without(view)):
            _write(path, each, subject)
    return 0


def _write(path: Path, format_name: str, subject: Subject) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            write(format_name, subject, file)
    except OSError as error:
        raise MigratorError(f"{path} cannot be written: {error.strerror}") from None
    Output().say([f"wrote {path}"])


def _format(name: str | None, output_path: Path | None, *, as_json: bool) -> str | None:
    if name not in (None, *FORMATS):
        raise ConfigError(f"--format {name}: there is no such format", hint=f"one of {', '.join(FORMATS)}")
    if as_json and name not in (None, "json"):
        raise ConfigError(f"--json and --format {name}: there is one format", hint="leave out one of them")
    if output_path is None and name == "html" and sys.stdout.isatty():
        raise ConfigError("--format html: a page is not for a terminal", hint="-o report.html, or > report.html")
    return "json" if as_json else name


def _targets(path: Path, format_name: str | None, empty: tuple[str, ...]) -> list[tuple[Path, str]]:
    """(file, format) of each that is wanted: a folder takes all formats, a file the one that its suffix says."""
    by_suffix = {".md": "md", ".html": "html", ".htm": "html", ".json": "json", ".csv": "csv"}
    if path.is_dir() or (not path.suffix and format_name is None):
        return [
            (path / FILES[each], each)
            for each in FORMATS
            if format_name == each or (not format_name and each not in empty)
        ]
    return [(path, format_name or by_suffix.get(path.suffix.lower(), "md"))]


commands: dict[str, Callable[..., Any]] = {"status": status, "report": report}
