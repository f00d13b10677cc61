"""Commands that move, or say what would move: plan, migrate."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import to_builtins

from migrator.cli.options import (
    CONFIG_FILE,
    Bandwidth,
    Concurrency,
    ConfigFile,
    CopyModes,
    Json,
    Limit,
    LogFile,
    MaxDuration,
    Quiet,
    Rescan,
    RetryFailed,
    SourceNames,
    Verbose,
)
from migrator.cli.output import Output, observing
from migrator.cli.summary import after_run, planned
from migrator.core.errors import ConfigError, LedgerError
from migrator.core.model import State
from migrator.core.objects import CopyMode

if TYPE_CHECKING:
    from migrator.cli.observers.counts import Counts
    from migrator.core.config import Config
    from migrator.wiring import RunOptions


def plan(
    config_file: ConfigFile = CONFIG_FILE,
    source: SourceNames = None,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> int:
    """Say what would move and what is wrong; nothing moves.

    \b
    Examples:
      migrator plan                   items, bytes, problems, collisions, requests
      migrator plan --source lots     one source only
      migrator plan --json            the same for machines

    Exits 1 when there are problems or collisions.
    """
    from migrator import wiring

    config = wiring.load_config(config_file, {})
    return show_plan(Output(verbose, quiet, as_json, log_file), config, config_file, source)


def migrate(
    config_file: ConfigFile = CONFIG_FILE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would move; ledger and bucket stay untouched.")
    ] = False,
    limit: Limit = None,
    source: SourceNames = None,
    concurrency: Concurrency = None,
    bandwidth: Bandwidth = None,
    max_duration: MaxDuration = None,
    retry_failed: RetryFailed = False,
    rescan: Rescan = False,
    only_variants: Annotated[
        bool,
        typer.Option("--only-variants", help="Move nothing; make variants that stored images lack, from these images."),
    ] = False,
    copy_mode: CopyModes = CopyMode.AUTO,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> int:
    """Scan and move; the same command again resumes.

    Whatever stopped the last run, nothing is lost and nothing is sent twice. Objects move while the scan goes on.

    \b
    Examples:
      migrator migrate                                    all of it
      migrator migrate --dry-run                          what would move, without touching anything
      migrator migrate --limit 100                        a first hundred, to look at
      migrator migrate --source photos --concurrency 128  one source, faster
      migrator migrate --max-duration 2h --bandwidth 50MB for two hours, at 50 MB a second at most
      migrator migrate --retry-failed                     and try failed items again
      migrator migrate --only-variants                    variants that were configured after the images had moved
    """
    from migrator import wiring

    output = Output(verbose, quiet, as_json, log_file)
    config = wiring.load_config(config_file, speed(concurrency, bandwidth))
    if dry_run:
        return show_plan(output, config, config_file, source, dry_run=True)
    chosen = tuple(source or ())
    if only_variants and not any(config.variants_of(each) for each in config.sources):
        raise ConfigError("--only-variants: no source has variants", hint="add [[variants]] to the configuration")
    options = wiring.RunOptions(
        limit, chosen, seconds(max_duration), retry_failed, rescan, only_variants, copy_mode=copy_mode
    )
    return move(output, config, options, config_file)


def move(output: Output, config: "Config", options: "RunOptions", config_file: Path) -> int:
    """A run with everything around it: the display, the log, the summary."""
    from migrator import wiring
    from migrator.reports.overview import overview
    from migrator.reports.targets import targets_of, variants_of
    from migrator.reports.tree import overview_tree, summary_tree

    counts = _counts(config, options)
    with observing(output, config, "migrate", counts) as observer:
        result = wiring.migrate(config, options, observer)
    with wiring.view(config) as view:
        seen = overview(view, targets_of(config), variants_of(config))
    if output.as_json:
        ending = {"exit_status": result.exit_status, "stopped": result.error.message if result.error else ""}
        made = {"made_variants": counts.variants}
        output.emit({"event": "summary", **summary_tree(result.summary), **made, **ending, **overview_tree(seen)})
    else:
        log = output.log_file or config.log_path
        output.say(after_run(result.summary, counts.variants, result.error, seen, config_file, log))
    return result.exit_status


def _counts(config: "Config", options: "RunOptions") -> "Counts":
    """Counts that begin where the ledger stands, if there is one that can be read."""
    from migrator import wiring
    from migrator.cli.observers.counts import Counts

    sources = set(options.sources or [source.name for source in config.sources])
    if not config.ledger_path.exists():
        return Counts.resuming((), sources)
    try:
        with wiring.view(config) as view:
            scans, tallies = view.scans(), view.tallies()
    except LedgerError:  # the run itself says so, and better
        return Counts.resuming((), sources)
    complete = {scan.source for scan in scans if scan.complete}
    left = sources - complete or any(tally.state in (State.PLANNED, State.INTENDED) for tally in tallies if tally.items)
    return Counts.resuming(
        tallies, sources, complete if left and not options.rescan else (), failed_too=options.retry_failed
    )


def show_plan(
    output: Output, config: "Config", config_file: Path, sources: list[str] | None, *, dry_run: bool = False
) -> int:
    """Scans, into the ledger or (dry) into one that is thrown away, and prints what was found."""
    from migrator import wiring
    from migrator.cli.observers.counts import Counts
    from migrator.reports.plan import plan_of

    names = tuple(sources or ())
    counts = Counts.resuming((), names or [source.name for source in config.sources])
    with observing(output, config, "plan", counts, log=not dry_run) as observer:
        result = wiring.plan(config, names, observer, dry_run=dry_run)
        try:
            with result.view() as view:
                samples = {} if result.error else wiring.sample_variants(config, names, view, observer)
        except BaseException:
            if dry_run:
                result.discard()
            raise
    try:
        with result.view() as view:
            found = plan_of(view, config, samples)
            rows = wiring.preview_rows(config, names, view)
    finally:
        if dry_run:
            result.discard()
    if output.as_json:
        examples = {"example_rows": [to_builtins(row) for row in rows]}
        output.emit({"event": "summary", "dry_run": dry_run, **examples, **found.tree()})
    else:
        output.say(planned(found, rows, config_file, dry_run=dry_run))
    if result.error:
        raise result.error
    wrong = found.seen.problem_count or found.seen.collision_count or any(row.problem for row in rows)
    return 1 if wrong else 0


def speed(concurrency: int | None, bandwidth: str | None) -> dict[str, Any]:
    """The flags that stand for keys of [transfer]."""
    return {"transfer.concurrency": concurrency, "transfer.bandwidth": bandwidth}


def seconds(text: str | None) -> float | None:
    """What `--max-duration` says."""
    from migrator.core.quantities import parse_duration

    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"--max-duration {text}: {error}") from None


commands: dict[str, Callable[..., Any]] = {"plan": plan, "migrate": migrate}
