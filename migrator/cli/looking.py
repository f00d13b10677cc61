"""Commands that only look: status, report."""

import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from migrator.cli.options import CONFIG_FILE, ConfigFile, Json
from migrator.cli.output import Output
from migrator.cli.summary import command, totals
from migrator.core.errors import ConfigError, MigratorError
from migrator.core.model import State
from migrator.core.records import RecordState
from migrator.reports import words
from migrator.reports.verification import difference_tree, status_line, verified, write_differences

if TYPE_CHECKING:
    from migrator.core.config import Config
    from migrator.ledger.lock import Holder
    from migrator.ledger.view import LedgerView, Pace
    from migrator.reports.overview import Overview

FILES = {
    "md": "report.md",
    "json": "report.json",
    "csv": "failed.csv",
    "rows": "failed_rows.csv",
    "differences": "differences.csv",
}
FORMATS = tuple(FILES)

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
    done = seen.total - seen.to_move
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
            help="md (default), json; as csv: csv (failed items), rows (failed rows), differences (of `verify`).",
        ),
    ] = None,
    output_path: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="PATH", help="A file, or a folder for all formats. Default: stdout."),
    ] = None,
) -> int:
    """Write down what was moved, what was not and why.

    \b
    Examples:
      migrator report                              a page of Markdown on stdout
      migrator report -o report/                   report.md, report.json, failed.csv in a folder; where there are
                                                   any, failed_rows.csv and differences.csv (of `verify`) beside them
      migrator report --format csv -o failed.csv   failed items; itself a manifest, so
      migrator copy failed.csv s3://bucket/ --key '{key}'   tries them by another way
      migrator report --format json | jq '.failures[].location'
    """
    from migrator import wiring

    if format_name not in (None, *FORMATS):
        raise ConfigError(f"--format {format_name}: there is no such format", hint=f"one of {', '.join(FORMATS)}")
    config = wiring.load_config(config_file, {})
    with wiring.view(config) as view:
        if output_path is None:
            _write(format_name or "md", view, config, sys.stdout)
            return 0
        # Where nothing updates rows, a file of failed ones would only puzzle; so would one of no differences.
        found = verified(view.verifications(), ())
        some = {"rows": bool(view.record_tallies()), "differences": bool(found and found.counts)}
        without = tuple(name for name, there in some.items() if not there)
        for path, each in _targets(output_path, format_name, without):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("w", encoding="utf-8", newline="") as file:
                    _write(each, view, config, file)
            except OSError as error:
                raise MigratorError(f"{path} cannot be written: {error.strerror}") from None
            Output().say([f"wrote {path}"])
    return 0


def _targets(path: Path, format_name: str | None, without: tuple[str, ...]) -> list[tuple[Path, str]]:
    """(file, format) of each that is wanted: a folder takes all formats, a file the one that its suffix says."""
    by_suffix = {".md": "md", ".json": "json", ".csv": "csv"}
    if path.is_dir() or (not path.suffix and format_name is None):
        return [
            (path / FILES[each], each)
            for each in FORMATS
            if format_name == each or (not format_name and each not in without)
        ]
    return [(path, format_name or by_suffix.get(path.suffix.lower(), "md"))]


def _write(format_name: str, view: "LedgerView", config: "Config", file: TextIO) -> None:
    from migrator.reports.overview import overview
    from migrator.reports.rows import write_failed_rows
    from migrator.reports.targets import targets_of, variants_of

    name, targets = config.name, targets_of(config)
    if format_name == "rows":
        write_failed_rows(view.failed_records(), targets, file)
        return
    if format_name == "csv":
        from migrator.reports.failed_csv import write_failed

        write_failed(view.failures(), file)
        return
    if format_name == "differences":
        write_differences(view.differences(), file)
        return
    seen, release = overview(view, targets, variants_of(config)), version("migrator")
    if format_name == "json":
        from migrator.reports.report_json import failed_item, write_json
        from migrator.reports.rows import failed_row
        from migrator.reports.tree import overview_tree
        from migrator.reports.variants import failed_tree

        head = {"migration": name, "migrator": release, "written": words.moment(time.time())}
        tree = {**head, **overview_tree(seen)}
        lists = {
            "failures": map(failed_item, view.failures()),
            "failed_rows": (failed_row(record, targets) for record in view.failed_records()),
            "unmade_variants": map(failed_tree, view.failed_variants()),
            "differences": map(difference_tree, view.differences()),
        }
        write_json(tree, lists, file)
    else:
        from migrator.reports.markdown import markdown

        file.write(markdown(seen, name, release, time.time()) + "\n")


commands: dict[str, Callable[..., Any]] = {"status": status, "report": report}
