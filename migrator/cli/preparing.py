"""Commands that make ready and check: init, setup, test-connection, smoke."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from migrator.cli.options import CONFIG_FILE, ConfigFile, Json, LogFile, Quiet, Verbose
from migrator.cli.output import Output, complain, observing, paint
from migrator.core.errors import ConfigError, MigratorError, PreflightError
from migrator.core.quantities import parse_duration
from migrator.reports import words

if TYPE_CHECKING:
    from migrator.setup.change import Change
    from migrator.wiring import Check

SOURCE_TYPES = ("directory", "manifest", "bucket", "table")
"""Of `migrator.cli.template`, which takes too long to import for a help text."""


def init(
    config_file: ConfigFile = CONFIG_FILE,
    source_type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help=f"{', '.join(SOURCE_TYPES)}; asked for when missing.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write over a file that is already there.")] = False,
) -> int:
    """Write a commented migrator.toml to fill in.

    \b
    Examples:
      migrator init                            asks what the source is
      migrator init --type manifest            for lists of URLs
      migrator init --type table               for rows of a database that name objects
      migrator init --type directory -c photos.toml
    """
    from migrator.cli.template import template

    if config_file.exists() and not yes:
        raise ConfigError(f"{config_file} is already there", hint="name another with -c, or write over it with --yes")
    chosen = source_type or _ask_type()
    if chosen not in SOURCE_TYPES:
        raise ConfigError(f"--type {chosen}: there is no such source type", hint=f"one of {', '.join(SOURCE_TYPES)}")
    try:
        config_file.write_text(template(chosen))
    except OSError as error:
        raise MigratorError(f"{config_file} cannot be written: {error.strerror}") from None
    Output().say(
        [
            f"wrote {config_file}",
            "next: fill it in, then `migrator test-connection`, `migrator plan` and `migrator migrate`",
        ]
    )
    return 0


def _ask_type() -> str:
    if not sys.stdin.isatty():
        raise ConfigError("the source type is not given and there is nobody to ask", hint="give --type")
    # Not typer.prompt: it leaves a blank on stdout even when it asks on stderr.
    print(f"What is the source? ({'/'.join(SOURCE_TYPES)}) [{SOURCE_TYPES[0]}]: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() or SOURCE_TYPES[0]


def setup(
    config_file: ConfigFile = CONFIG_FILE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    versioning: Annotated[
        bool, typer.Option("--versioning", help="Keep old versions of objects, so that overwrites have a way back.")
    ] = False,
    lifecycle: Annotated[
        bool, typer.Option("--lifecycle", help="Also rules by which leftovers, backups and old versions expire.")
    ] = False,
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep",
            metavar="TIME",
            help="With --lifecycle: how long backups and old versions stay for a rollback (default: 30d).",
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Make destination and tables right; safe to repeat.

    Bucket (or the first fallback that can be had), public access block, encryption, lifecycle of unfinished uploads;
    the columns of add_columns that a table lacks.

    \b
    Examples:
      migrator setup --dry-run                      what is, and what would change
      migrator setup                                change it
      migrator setup --versioning                   and switch versioning on
      migrator setup --lifecycle --dry-run          the lifecycle rules that are recommended
      migrator setup --lifecycle --keep 90d         put them beside those that are there
    """
    from migrator import wiring

    config = wiring.load_config(config_file, {})
    output = Output(as_json=as_json)
    kept = _kept(keep, lifecycle=lifecycle)
    rules = [] if kept is None else wiring.lifecycle_rules(config, kept)
    if not as_json:
        output.say(f"rule  {rule}" for rule in rules)
    changes = wiring.setup(
        config,
        dry_run=dry_run,
        versioning=versioning,
        keep=kept,
        announce=lambda statement: complain([f"now   {statement}"]),
    )
    if as_json:
        done = [{"what": each.describe(), "applied": each.applied} for each in changes]
        output.emit({"changes": done} | ({"rules": rules} if rules else {}))
        return 0
    output.say(_lines(changes, dry_run=dry_run))
    return 0


def _lines(changes: "Sequence[Change]", *, dry_run: bool) -> Iterator[str]:
    for change in changes:
        word = "left" if change.note else "would" if dry_run else "done"
        yield f"{word:<6}{change.describe()}"
    if not changes:
        yield "all is right as it is; nothing to change"
    elif dry_run:
        yield "nothing was changed; `migrator setup` does it"


def _kept(text: str | None, *, lifecycle: bool) -> float | None:
    if not lifecycle:
        if text is not None:
            raise ConfigError(f"--keep {text}: no rule is put without --lifecycle", hint="give both, or neither")
        return None
    try:
        return parse_duration(text or "30d")
    except ValueError as error:
        raise ConfigError(f"--keep {text}: {error}") from None


def check_connection(config_file: ConfigFile = CONFIG_FILE, as_json: Json = False) -> int:
    """Check credentials, bucket, server and every source.

    Finds out by canaries what the server honours (conditional puts, digests) and cleans up after itself.

    \b
    Examples:
      migrator test-connection
      migrator test-connection --json
      MIGRATOR_DESTINATION__BUCKET=other migrator test-connection

    Exits 3 when something that is needed fails.
    """
    from migrator import wiring

    config = wiring.load_config(config_file, {})
    return say_checks(Output(as_json=as_json), wiring.test_connection(config))


def smoke(
    config_file: ConfigFile = CONFIG_FILE,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> int:
    """Move ten sample images through the whole path.

    They go under _test/ in the destination, are read back and compared byte for byte; every configured variant is
    made of each; then all of it is removed.

    \b
    Examples:
      migrator smoke
      migrator smoke -v
    """
    from migrator import wiring
    from migrator.cli.observers.counts import Counts
    from migrator.cli.samples import samples

    config = wiring.load_config(config_file, {})
    # The lines of a run would drown the table: the log has them.
    output = Output(verbose, quiet or not verbose, False, log_file)
    with observing(output, config, "smoke", Counts()) as observer:
        checks = wiring.smoke(config, samples(), observer)
    return say_checks(Output(as_json=as_json), checks)


def say_checks(output: Output, checks: "Sequence[Check]") -> int:
    """Prints checks as a table (or JSON) and returns the exit status: 3 when one failed."""
    failed = [check for check in checks if check.ok is False]
    if output.as_json:
        fields = ("subject", "what", "ok", "detail", "hint")
        output.emit({"checks": [{name: getattr(check, name) for name in fields} for check in checks]})
    else:
        output.say(table(checks))
        good, notes = (sum(check.ok is verdict for check in checks) for verdict in (True, None))
        remarks = f", {words.count(notes, 'note')}" if notes else ""
        output.say(["", f"{words.count(good, 'check')} passed, {len(failed)} failed{remarks}"])
    return PreflightError.exit_status if failed else 0


def table(checks: "Sequence[Check]") -> list[str]:
    """Aligned lines, a subject's name on its first line only, what to do below what failed."""
    subjects = max((len(check.subject) for check in checks), default=0)
    whats = max((len(check.what) for check in checks), default=0)
    lines, before = [], ""
    for check in checks:
        verdict, colour = {True: ("ok", "green"), False: ("FAILED", "red"), None: ("note", "yellow")}[check.ok]
        subject = check.subject if check.subject != before else ""
        before = check.subject
        lines.append(
            f"{subject:<{subjects}}  {check.what:<{whats}}  {paint(f'{verdict:<6}', colour)}  {check.detail}".rstrip()
        )
        if check.hint and check.ok is not True:
            lines.append(f"{'':<{subjects}}  {'':<{whats}}  {'':<6}  what to do: {check.hint}")
    return lines


commands: dict[str, Callable[..., Any]] = {
    "init": init,
    "setup": setup,
    "test-connection": check_connection,
    "smoke": smoke,
}
