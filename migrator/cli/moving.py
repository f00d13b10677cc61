"""Commands that move, or say what would move: plan, migrate, retry."""

from collections.abc import Callable, Sequence
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
    Verified,
)
from migrator.cli.output import Output, observing
from migrator.cli.summary import after_run, command, planned
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


def retry(
    fault: Annotated[
        list[str] | None, typer.Option("--fault", metavar="FAULT", help="Only this fault; may be given several times.")
    ] = None,
    rolled_back: Annotated[
        bool, typer.Option("--rolled-back", help="Not what failed, but what `migrator rollback` has undone.")
    ] = False,
    verified: Verified = None,
    changed: Annotated[
        bool,
        typer.Option("--changed", help="Not what failed, but stored objects whose sources have changed since."),
    ] = False,
    config_file: ConfigFile = CONFIG_FILE,
    source: SourceNames = None,
    as_json: Json = False,
) -> int:
    """Put failed items back in the queue.

    What `verify` found missing is stored again from its source. What differs is replaced only where nothing is lost:
    when it was damaged where it stands, stays beneath as a version, or is backed up (on_conflict = "overwrite").
    What has changed at its source since it was stored takes the place of what was stored, and of nothing else.

    \b
    Examples:
      migrator retry                       all failed items
      migrator retry --fault transient     those of one fault
      migrator retry --fault gone --fault forbidden --source lots
      migrator retry --rolled-back         what was rolled back: `migrator migrate` moves it again
      migrator retry --verified missing    what `migrator verify` did not find
      migrator retry --changed             what the last scan saw changed since it was stored
    """
    from migrator import wiring
    from migrator.core.verification import Match
    from migrator.reports import words

    _check_retry(fault or [], rolled_back=rolled_back, verified=bool(verified), changed=changed)
    config = wiring.load_config(config_file, {})
    found = tuple(Match(each.value) for each in verified or ())
    items, records, variants = wiring.retry(
        config, tuple(fault or ()), tuple(source or ()), rolled_back=rolled_back, verified=found, changed=changed
    )
    output = Output(as_json=as_json)
    if as_json:
        output.emit({"planned": items, "records": records, "variants": variants})
    elif items or records or variants:
        counted = ((items, "item"), (records, "row"), (variants, "variant"))
        said = [words.count(number, word) for number, word in counted if number]
        output.say([f"{' and '.join(said)} planned again; `{command('migrate', config_file)}` tries them"])
    else:
        output.say([f"nothing {_sought(found, rolled_back=rolled_back, changed=changed)}; nothing changed"])
    return 0


def _sought(verified: Sequence[str], *, rolled_back: bool, changed: bool) -> str:
    """What there was nothing of."""
    if verified:
        return f"was found {' or '.join(verified)} by the last verify that could be stored again"
    if changed:
        return "that is stored was seen to have changed since by the last scan (`migrator plan` looks)"
    return "was rolled back" if rolled_back else "of that kind has failed"


def _check_retry(faults: Sequence[str], *, rolled_back: bool, verified: bool, changed: bool) -> None:
    """Raises ConfigError for what does not go together, and for faults that there are not."""
    from migrator.core.model import Fault

    if rolled_back and faults:
        raise ConfigError("--rolled-back and --fault exclude each other: what was rolled back has not failed")
    if verified and (faults or rolled_back):
        raise ConfigError("--verified goes with neither --fault nor --rolled-back: what was verified stood there")
    if changed and (faults or rolled_back or verified):
        raise ConfigError("--changed goes alone, or with --source: what has changed is stored")
    unknown = sorted(set(faults) - set(Fault))
    if unknown:
        raise ConfigError(f"--fault {unknown[0]}: there is no such fault", hint=f"faults are {', '.join(Fault)}")


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


commands: dict[str, Callable[..., Any]] = {"plan": plan, "migrate": migrate, "retry": retry}
