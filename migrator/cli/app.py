"""The `migrator` command: all commands put together, and the one place where the process gets its exit status."""

import gc
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from migrator.cli import failing
from migrator.cli.output import complain, forget_stdout, reader_left
from migrator.core.errors import MigratorError

EPILOG = """\b
Exit status: 0 complete, 1 finished with failed items or problems, 2 usage or config,
3 preflight (credentials, permissions, bucket), 4 ledger, 5 stopped by a limit (resumable),
130/143 interrupted (resumable)."""


USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]
"""What Typer raises for a command line that it cannot parse; it has no public name."""


class Commands(TyperGroup):
    """Runs a command; what it returns or raises becomes the exit status, in words that help."""

    def invoke(self, ctx: Any) -> Any:
        """Always ends in `ctx.exit`, but for usage errors, which Typer prints itself (2)."""
        ctx.exit(self._status(ctx))

    def _status(self, ctx: Any) -> int:
        try:
            status = super().invoke(ctx)
            sys.stdout.flush()
        except (typer.Exit, typer.Abort, USAGE_ERROR):
            raise
        except MigratorError as error:
            complain(failing.explanation(error))
            return failing.exit_status(error)
        except KeyboardInterrupt:
            complain(["interrupted; nothing is lost by that"])
            return failing.INTERRUPTED
        except Exception as error:
            if isinstance(error, OSError) and reader_left(error):
                forget_stdout()
                return failing.BROKEN_PIPE
            wrapped = failing.unforeseen(error)
            complain(failing.explanation(wrapped))
            return failing.exit_status(wrapped)
        return status if isinstance(status, int) else 0


GROUPS: Mapping[str, tuple[str, ...]] = {
    "preparing": ("init", "setup", "test-connection", "smoke"),
    "moving": ("plan", "migrate"),
    "retrying": ("retry",),
    "copying": ("copy",),
    "looking": ("status", "report"),
    "history": ("runs", "events"),
    "preview": ("preview",),
    "proving": ("verify",),
    "undoing": ("rollback",),
    "cleaning": ("cleanup",),
    "orphans": ("orphans",),
    "trying": ("demo",),
}
"""The modules of the commands, in the order in which help names them."""


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"migrator {version('migrator')}")
        raise typer.Exit


def about(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Moves whole legacy collections of objects into one S3 bucket; can be killed and resumed at any point.

    \b
    Examples:
      migrator demo                        see it work on this machine, nothing needed
      migrator copy photos/ s3://bucket/   a directory into a bucket, without a config file
      migrator init                        write a migrator.toml to fill in
      migrator test-connection             check credentials, bucket and sources
      migrator plan                        what would move, and what is wrong with it
      migrator migrate                     move it; the same command again resumes
      migrator status                      how far it is, from another terminal too
      migrator verify                      prove that everything arrived
      migrator rollback --dry-run          what it takes to undo all of it
      migrator cleanup --dry-run           which sources are no longer needed
    """


@cache
def application(asked: str = "") -> typer.Typer:
    """Only the group of the command that is `asked` for, which is all that it needs to load; else all of them."""
    made = typer.Typer(
        cls=Commands,
        name="migrator",
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        epilog=EPILOG,
    )
    made.callback()(about)
    for group in [group for group, names in GROUPS.items() if asked in names] or GROUPS:
        for name, command in import_module(f"migrator.cli.{group}").commands.items():
            made.command(name)(command)
    return made


def run() -> None:
    """Parses the command line, runs one command and ends the process."""
    try:
        application(*sys.argv[1:2])()
    finally:
        gc.freeze()  # all of it ends now: looking through it for cycles would take as long as a hundred objects
