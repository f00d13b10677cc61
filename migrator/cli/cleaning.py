"""Commands that take sources away: cleanup."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from migrator.cli.asking import confirm, expect_somebody
from migrator.cli.history import head_of
from migrator.cli.observers.deeds import Deeds
from migrator.cli.observers.several import Silent
from migrator.cli.options import CONFIG_FILE, ConfigFile, Json, LogFile, Quiet, SourceNames, Verbose, Yes
from migrator.cli.output import Output, complain, observing
from migrator.cli.summary import aimed, command
from migrator.core.errors import Interrupted
from migrator.core.ports import EventKind
from migrator.core.secrets import mask_text
from migrator.reports import words
from migrator.reports.history import head_line, head_tree

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.core.config import Config
    from migrator.engine.taking import CleanupOptions
    from migrator.wiring import CleanupResult


def cleanup(
    config_file: ConfigFile = CONFIG_FILE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go, source by source; nothing is taken away.")
    ] = False,
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete what is in the trash for longer than the grace period.")
    ] = False,
    source: SourceNames = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most N sources.")] = None,
    without_condition: Annotated[
        bool,
        typer.Option(
            "--without-condition",
            help="Delete objects also where their server does not look at the ETag; HEAD comes right before.",
        ),
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> int:
    """Take away sources whose objects were verified: files into a trash folder, objects of buckets by a deletion.

    A source goes only if everything that is made of it was proven by `verify`, is done, and still stands. HTTP sources
    are never touched. Exit status 1: something that should have gone could not.

    \b
    Examples:
      migrator cleanup --dry-run           each source that would go, and why the others stay
      migrator cleanup                     the same after the migration's name was typed
      migrator cleanup --source photos --limit 100 --yes
      migrator cleanup --purge             delete what was moved to the trash before the grace period
      migrator rollback                    brings back what is in the trash, before anything else
    """
    from migrator import wiring
    from migrator.engine.taking import CleanupOptions

    options = CleanupOptions(dry_run, purge, limit, tuple(source or ()))
    config = wiring.load_config(config_file, {})
    output = Output(verbose, quiet, as_json, log_file)
    if not dry_run and not yes:
        status = _confirm(config, config_file, options, without_condition)
        if status is not None:
            return status
    result = _run(config, options, output, without_condition, dry_run=dry_run)
    head = None if dry_run else head_of(config)
    if as_json:
        output.emit({**_tree(result, dry_run=dry_run, purge=purge), "audit": head_tree(head)})
    else:
        output.say([*_lines(result, options, config_file), *head_line(head)])
    return result.exit_status


def _run(
    config: "Config", options: "CleanupOptions", output: Output, without_condition: bool, *, dry_run: bool
) -> "CleanupResult":
    from migrator import wiring
    from migrator.cli.observers.counts import Counts
    from migrator.cli.observers.several import Several

    show = partial(_show, output) if dry_run else None
    deeds = Deeds(EventKind.CLEANED, "sources", "source", show)
    shown = [deeds] if dry_run or not (output.quiet or output.as_json) else []
    silent = Output(output.verbose, quiet=True, log_file=output.log_file)
    with observing(silent, config, "cleanup", Counts(), log=not dry_run) as log:
        return wiring.cleanup(config, options, Several([log, *shown]), without_condition=without_condition)


def _confirm(config: "Config", config_file: "Path", options: "CleanupOptions", without_condition: bool) -> int | None:
    """Shows what would go and has the name typed; an exit status where nothing would.

    Raises ConfigError for any other word.
    """
    from msgspec.structs import replace

    from migrator import wiring
    from migrator.reports.cleaning import summary_lines

    look = f"`{command('cleanup', config_file)} --dry-run` says what would go"
    expect_somebody("nothing was changed", f"in scripts: --yes; {look}")
    planned = replace(options, dry_run=True)
    result = wiring.cleanup(config, planned, Silent(), without_condition=without_condition)
    if result.error:
        raise result.error
    complain(aimed(line, config_file) for line in summary_lines(result.summary, dry_run=True, purge=options.purge))
    if not result.summary.sources:
        complain(["nothing to clean up"])
        return result.exit_status
    went = f"{words.count(result.summary.sources, 'source')} ({words.size(result.summary.bytes)})"
    verb = "deletes" if options.purge else "takes away"
    confirm(config, f"This {verb} {went} of the migration {config.name}.", "nothing was taken away")
    return None


def _show(output: Output, sources: Sequence[Mapping[str, str]]) -> None:
    """Each source on stdout; of those that stay, machines are told."""
    for source in sources:
        if output.as_json:
            output.emit({"event": "cleanup", **source})
        elif not output.quiet and source["do"] != "keep":
            output.say([f"  {source['do']:<7} {source['location']}"])


def _tree(result: "CleanupResult", *, dry_run: bool, purge: bool) -> Mapping[str, object]:
    from migrator.reports.cleaning import summary_tree

    return {
        "event": "summary",
        "dry_run": dry_run,
        "purge": purge,
        **summary_tree(result.summary),
        "stopped": mask_text(str(result.error)) if result.error else "",
        "exit_status": result.exit_status,
    }


def _lines(result: "CleanupResult", options: "CleanupOptions", config_file: "Path") -> Iterator[str]:
    from migrator.reports.cleaning import summary_lines

    summary = result.summary
    for line in summary_lines(summary, dry_run=options.dry_run, purge=options.purge):
        yield aimed(line, config_file)
    if not summary.sources and not options.dry_run:
        yield "nothing was taken away"
    if result.error:
        yield f"stopped: {mask_text(result.error.message)}"
        if result.error.hint and not isinstance(result.error, Interrupted):
            yield f"  what to do: {aimed(mask_text(result.error.hint), config_file)}"
        yield "next    the same command again goes on where this stopped"
    elif options.dry_run:
        flag = " --purge" if options.purge else ""
        yield f"nothing was changed; `{command('cleanup', config_file)}{flag}` does it"
    elif summary.sources and not options.purge:
        back, later = command("rollback", config_file), command("cleanup", config_file)
        yield f"next    `{back}` brings back what is in the trash; `{later} --purge` deletes it"


commands = {"cleanup": cleanup}
