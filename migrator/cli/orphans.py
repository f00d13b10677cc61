"""Commands that tidy up: orphans."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from migrator.cli.asking import confirm, expect_somebody
from migrator.cli.history import head_of
from migrator.cli.options import CONFIG_FILE, ConfigFile, Json, LogFile, Quiet, Verbose, Yes
from migrator.cli.output import Output, complain, observing, paint
from migrator.cli.summary import command
from migrator.clients.refusals import shown
from migrator.core.errors import ConfigError
from migrator.core.orphans import Kind, Orphan, Owner, Removal
from migrator.core.quantities import parse_duration
from migrator.core.secrets import mask_text
from migrator.reports import words
from migrator.reports.history import head_line, head_tree

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.core.config import Config
    from migrator.engine.orphans import OrphanOptions
    from migrator.wiring.leftovers import Found, OrphansResult, Removed

MEANING = {
    Owner.OURS: "of this migration: --delete removes them",
    Owner.FOREIGN: "without a mark of this ledger: only --delete --foreign removes them",
    Owner.UNKNOWN: "not asked for their mark: --marks asks each",
    Owner.AWAITED: "of items that are not settled yet: the next run adopts them",
}

NOUNS = {
    Kind.OBJECT: ("object", "objects"),
    Kind.UPLOAD: ("open upload", "open uploads"),
    Kind.BACKUP: ("backup", "backups"),
    Kind.CANARY: ("canary", "canaries"),
    Kind.SAMPLE: ("sample of smoke", "samples of smoke"),
    Kind.TEMPORARY: ("temporary file", "temporary files"),
}

HEAD = f"  {'kind':<9}  {'owner':<7}  {'size':>9}  {'last modified':<20}  key"


def orphans(
    config_file: ConfigFile = CONFIG_FILE,
    marks: Annotated[
        bool, typer.Option("--marks", help="Ask each object whether this migration put it; --delete always does.")
    ] = False,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="TIME",
            help='Also open uploads of others that were begun before that, such as "7d".',
        ),
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove what is of this migration; abort its open uploads.")
    ] = False,
    foreign: Annotated[
        bool, typer.Option("--foreign", help="With --delete: remove everything that is listed, whoever put it there.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --delete: only say what would be removed.")] = False,
    yes: Yes = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: Json = False,
) -> int:
    """List what stands below the migration's prefixes and no row of the ledger explains.

    Objects, open multipart uploads, and what a kill may leave of this tool: canaries, samples of smoke, backups that no
    row needs, temporary files. Only listings are asked, no object. Exit status 1: something is left; 0: nothing is.

    \b
    Examples:
      migrator orphans                           what nothing explains, with size and time
      migrator orphans --marks                   and whether this migration put it
      migrator orphans --older-than 7d           open uploads of others too, when they are that old
      migrator orphans --delete --dry-run        what would be removed
      migrator orphans --delete                  remove it, after the migration's name was typed
      migrator orphans --delete --foreign --yes  files of others below the prefixes as well, without asking
    """
    from migrator import wiring
    from migrator.cli.observers.counts import Counts
    from migrator.cli.observers.several import Several
    from migrator.cli.observers.verifying import Verifying
    from migrator.engine.orphans import OrphanOptions

    _check_options(delete=delete, foreign=foreign, dry_run=dry_run, yes=yes)
    options = OrphanOptions(marks or delete, foreign, _age(older_than))
    config = wiring.load_config(config_file, {})
    output = Output(verbose, quiet, as_json, log_file)
    telling = _Telling(output, config, config_file, options, delete=delete, dry_run=dry_run, yes=yes)
    with observing(Output(verbose, quiet=True, log_file=log_file), config, "orphans", Counts()) as log:
        shown_meanwhile = [] if quiet or as_json else [Verifying(each=False)]
        result = wiring.orphans(config, options, Several([log, *shown_meanwhile]), telling.decide)
    telling.end(result)
    return result.exit_status


def _check_options(*, delete: bool, foreign: bool, dry_run: bool, yes: bool) -> None:
    """Raises ConfigError for options that would be without effect, and where nobody can be asked."""
    for given, name in ((foreign, "--foreign"), (dry_run, "--dry-run"), (yes, "--yes")):
        if given and not delete:
            raise ConfigError(f"{name}: nothing is removed without --delete", hint="give both, or neither")
    if delete and not (dry_run or yes):
        expect_somebody("nothing was removed", "in scripts: --yes, after a look at --dry-run")


def _age(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"--older-than {text}: {error}") from None


class _Telling:
    """Says what was found, asks where something would be removed, and says what became of it."""

    def __init__(
        self,
        output: Output,
        config: "Config",
        config_file: "Path",
        options: "OrphanOptions",
        *,
        delete: bool,
        dry_run: bool,
        yes: bool,
    ) -> None:
        self._output = output
        self._config = config
        self._config_file = config_file
        self._options = options
        self._delete = delete
        self._dry_run = dry_run
        self._yes = yes
        self._found: Found | None = None

    def decide(self, found: "Found") -> bool:
        """Shows what was found; whether it is to be removed. Raises ConfigError where the operator does not say so."""
        self._found = found
        if self._output.as_json:
            for orphan in found.each():
                self._output.emit(_tree(orphan))
        else:
            self._output.say(self._lines(found))
        if not self._delete or self._dry_run or not found.removable[0]:
            return False
        if not self._yes:
            where = self._config.destination.url or self._config.destination.bucket
            what = f"This removes {_amount(*found.removable)} of the migration {self._config.name} from {where}."
            confirm(self._config, what, "nothing was removed")
        return True

    def _lines(self, found: "Found") -> Iterator[str]:
        if not self._output.quiet and found.tallies:
            yield HEAD
            for orphan in found.each():
                yield _line(orphan)
            yield ""
        yield from _totals(found)
        for gap in found.gaps:
            yield paint(f"  {gap}", "red")
        if found.left and any(tally.owner is Owner.UNKNOWN for tally in found.tallies):
            left = words.count(found.left, "item")
            yield f"  {left} of this migration are still to be moved; some of it may be theirs: --marks tells"
        if not self._delete or self._dry_run or not found.removable[0]:
            yield ""
            yield from self._next(found)

    def _next(self, found: "Found") -> Iterator[str]:
        again = command("orphans", self._config_file)
        amount = _amount(*found.removable)
        if not found.tallies:
            yield (
                "next    nothing: the ledger explains all of it" if not found.gaps else "next    allow that, look again"
            )
        elif self._dry_run:
            extra = " --foreign" * self._options.foreign
            yield f"next    `{again} --delete{extra}` would remove {amount}; nothing was changed"
        elif self._delete:
            yield "next    none of it is of this migration; --foreign would remove it all the same"
        elif found.removable[0]:
            yield f"next    `{again} --delete` removes {amount}, and what turns out to carry this ledger's mark"
        else:
            yield f"next    `{again} --delete` removes what carries this ledger's mark, and nothing else"

    def end(self, result: "OrphansResult") -> None:
        """Says how it ended."""
        assert self._found
        head = head_of(self._config) if result.removed else None
        if self._output.as_json:
            self._output.emit({**_summary(self._found, result, dry_run=self._dry_run), "audit": head_tree(head)})
        elif result.removed:
            self._output.say([*_removed(result.removed), *head_line(head)])
        if result.error:
            complain([f"stopped: {mask_text(str(result.error))}"])


def _totals(found: "Found") -> Iterator[str]:
    standing = [tally for tally in found.tallies if tally.owner is not Owner.AWAITED]
    count, size = sum(tally.count for tally in standing), sum(tally.bytes for tally in standing)
    if not found.tallies:
        yield paint("Nothing stands there that no row of the ledger explains.", "green")
        return
    yield f"Found {_amount(count, size)} that no row of the ledger explains."
    for owner in Owner:
        kinds = Counter({tally.kind: tally.count for tally in found.tallies if tally.owner is owner})
        if kinds:
            named = ", ".join(words.count(number, *NOUNS[kind]) for kind, number in kinds.items())
            yield f"  {owner.value:<8} {named}; {MEANING[owner]}"


def _removed(removed: "Removed") -> Iterator[str]:
    yield paint(f"Removed {_amount(*removed.gone)}.", "green")
    if removed.versioned:
        yield "  the bucket keeps versions: what was deleted stays beneath a delete marker until a rule expires it"
    if removed.kept:
        yield paint(f"  {words.count(removed.kept)} left alone", "red")
        yield from (f"    {shown(one.orphan.key)}: {mask_text(one.kept)}" for one in removed.examples)


def _amount(count: int, size: int) -> str:
    return f"{words.count(count, 'orphan')}, {words.size(size)}"


def _line(orphan: Orphan) -> str:
    size = "" if orphan.size is None else words.size(orphan.size)
    time = _moment(orphan) or ""
    return f"  {orphan.kind:<9}  {orphan.owner:<7}  {size:>9}  {time:<20}  {shown(orphan.key)}"


def _moment(orphan: Orphan) -> str | None:
    if orphan.modified is None:
        return None
    return datetime.fromtimestamp(orphan.modified, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _tree(orphan: Orphan) -> dict[str, object]:
    return {
        "event": "orphan",
        "kind": orphan.kind.value,
        "owner": orphan.owner.value,
        "key": orphan.key,
        "size": orphan.size,
        "modified": _moment(orphan),
        "etag": orphan.etag or None,
        "upload_id": orphan.upload_id or None,
    }


def _left_alone(one: Removal) -> dict[str, str]:
    return {"key": one.orphan.key, "why": mask_text(one.kept)}


def _summary(found: "Found", result: "OrphansResult", *, dry_run: bool) -> dict[str, object]:
    removed = result.removed
    return {
        "event": "summary",
        "found": [
            {"kind": tally.kind.value, "owner": tally.owner.value, "count": tally.count, "bytes": tally.bytes}
            for tally in found.tallies
        ],
        "removable": {"count": found.removable[0], "bytes": found.removable[1]},
        "dry_run": dry_run,
        "removed": {"count": removed.gone[0], "bytes": removed.gone[1]} if removed else None,
        "left_alone": removed.kept if removed else 0,
        "examples": [_left_alone(one) for one in removed.examples] if removed else [],
        "not_looked_at": list(found.gaps),
        "stopped": mask_text(result.error.message) if result.error else "",
        "exit_status": result.exit_status,
    }


commands = {"orphans": orphans}
