"""Commands that undo: rollback."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from migrator.cli.asking import confirm
from migrator.cli.history import head_of
from migrator.cli.observers.deeds import Deeds
from migrator.cli.options import CONFIG_FILE, ConfigFile, Json, LogFile, Quiet, SourceNames, Verbose, Yes
from migrator.cli.output import Output, observing, paint
from migrator.cli.summary import command
from migrator.core.errors import ConfigError
from migrator.core.ports import EventKind
from migrator.core.undoing import Doing, Undone
from migrator.reports import words
from migrator.reports.history import head_line, head_tree

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.wiring import RollbackResult

WORDS: Mapping[Doing, tuple[str, str]] = {
    Doing.RETURN: ("brought back from the trash", "would be brought back from the trash"),
    Doing.PUT_BACK: ("put back", "would be put back"),
    Doing.DELETE: ("deleted", "would be deleted"),
    Doing.UNCOVER: ("deleted; what it had covered stands again", "would be deleted; what it covers would stand again"),
    Doing.RESTORE: ("replaced by what had stood there", "would be replaced by what had stood there"),
    Doing.DISCARD: ("no longer needed as a backup", "no longer needed as a backup"),
    Doing.ABORT: ("aborted", "would be aborted"),
    Doing.DROP: ("dropped", "would be dropped"),
    Doing.NOTHING: ("as it was already", "as it is already"),
    Doing.LEAVE: ("left alone", "would be left alone"),
}
"""What was done to one thing, and what a dry run says instead."""

PLURALS = {
    "source": "sources",
    "object": "objects",
    "variant": "variants",
    "row": "rows",
    "upload": "open uploads",
    "column": "columns",
}

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say what would be undone, thing by thing; nothing changes.")
]
RunNumber = Annotated[
    int | None, typer.Option("--run", metavar="N", min=1, help="Only what this run did (see `migrator report`).")
]
DropColumns = Annotated[
    bool,
    typer.Option("--drop-columns", help="Also drop columns that `setup` added, where no row holds a value in them."),
]
SourcesGone = Annotated[
    bool, typer.Option("--sources-gone", help="Undo although the sources are gone: last copies may be deleted.")
]


def rollback(
    config_file: ConfigFile = CONFIG_FILE,
    dry_run: DryRun = False,
    run: RunNumber = None,
    source: SourceNames = None,
    drop_columns: DropColumns = False,
    sources_gone: SourcesGone = False,
    yes: Yes = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: Json = False,
) -> int:
    """Undo what was migrated: rows get their old values, then objects go and what they replaced comes back.

    What somebody changed since is left alone and listed (exit status 1). The same command again goes on where it was.
    Where the sources are gone, whatever it deletes would be the last copy: it refuses.

    \b
    Examples:
      migrator rollback --dry-run          each thing that would be undone
      migrator rollback                    all of it, after the migration's name was typed
      migrator rollback --run 3 --yes      what run 3 did, without asking
      migrator rollback --source photos    what came from one source
      migrator rollback --drop-columns     and the columns that `migrator setup` added
    """
    from migrator import wiring
    from migrator.cli.observers.counts import Counts
    from migrator.cli.observers.several import Several
    from migrator.core.undoing import Scope
    from migrator.engine.rollback import RollbackOptions

    if drop_columns and run is not None:
        raise ConfigError("--drop-columns: columns are not of one run", hint="leave out --run")
    options = RollbackOptions(Scope(run, tuple(source or ())), dry_run)
    config = wiring.load_config(config_file, {})
    if not dry_run and not yes and config.ledger_path.exists():
        where = config.destination.url or config.destination.bucket
        confirm(config, f"This undoes the migration {config.name} in {where}.", "nothing was undone")
    output = Output(verbose, quiet, as_json, log_file)
    deeds = Deeds(EventKind.UNDONE, "undone", "thing", partial(_show, output) if dry_run else None)
    shown = [deeds] if dry_run or not (quiet or as_json) else []
    silent = Output(verbose, quiet=True, log_file=log_file)
    with observing(silent, config, "rollback", Counts(), log=not dry_run) as log:
        result = wiring.rollback(
            config, options, Several([log, *shown]), drop_columns=drop_columns, sources_gone=sources_gone
        )
    head = None if dry_run else head_of(config)
    if as_json:
        output.emit({**_tree(result, dry_run=dry_run), "audit": head_tree(head)})
    else:
        output.say([*_lines(result, config_file, dry_run=dry_run), *head_line(head)])
    return result.exit_status


def _show(output: Output, parts: Sequence[Mapping[str, str]]) -> None:
    """Each thing on stdout."""
    if output.as_json:
        for part in parts:
            output.emit({"event": "undo", **part})
    else:
        output.say(_line(part, dry_run=True) for part in parts)


def _part(part: Undone) -> dict[str, str]:
    return {"do": part.doing.value, "kind": part.kind, "name": part.name, "source": part.source, "why": part.message}


def _line(part: Mapping[str, str], *, dry_run: bool) -> str:
    why = f" ({part['why']})" if part["why"] else ""
    return f"  {part['kind']:8} {part['name']}: {WORDS[Doing(part['do'])][dry_run]}{why}"


def _tree(result: "RollbackResult", *, dry_run: bool) -> dict[str, object]:
    return {
        "event": "summary",
        "dry_run": dry_run,
        "done": [
            {"kind": kind, "do": doing.value, "count": count} for (kind, doing), count in sorted(result.done.items())
        ],
        "left_alone": result.left,
        "examples": [_part(part) for part in result.examples],
        "stopped": result.error.message if result.error else "",
        "exit_status": result.exit_status,
    }


def _lines(result: "RollbackResult", config_file: "Path", *, dry_run: bool) -> Iterator[str]:
    for kind in ("source", "row", "upload", "variant", "object", "backup", "column"):
        for doing, said in WORDS.items():
            count = result.done.get((kind, doing), 0)
            if count and doing is not Doing.NOTHING:
                text = f"{words.count(count, kind, PLURALS.get(kind, kind + 's'))} {said[dry_run]}"
                yield paint(text, "red" if doing is Doing.LEAVE else "green")
    if not dry_run:
        yield from (_line(_part(part), dry_run=False) for part in result.examples)
        if result.left > len(result.examples):
            rest = words.count(result.left - len(result.examples))
            yield f"  and {rest} more: the table `left_alone` of the ledger has all"
    if result.error:
        yield f"stopped: {result.error}"
    elif dry_run:
        yield f"nothing was changed; `{command('rollback', config_file)}` does it"
    elif result.left:
        yield "all else is as it was before; look at what is left, then run the same command again"
    elif any(count for (_, doing), count in result.done.items() if doing is not Doing.NOTHING):
        yield f"all of it is as it was before; `{command('retry', config_file)} --rolled-back` plans it again"
    else:
        yield "there was nothing to undo"


commands = {"rollback": rollback}
