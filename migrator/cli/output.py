"""Where a command's words go: results to stdout, progress to stderr, the log to its file; chosen by the options."""

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from migrator.cli import failing
from migrator.core.errors import MigratorError

if TYPE_CHECKING:
    from migrator.cli.observers.counts import Counts
    from migrator.core.config import Config
    from migrator.core.ports import Observer


COLOURS = {"red": "31", "green": "32", "yellow": "33", "bold": "1"}
"""Names of what a terminal is told (ECMA-48)."""


class Output(Struct, frozen=True):
    """What the operator asked to see."""

    verbose: int = 0
    quiet: bool = False
    as_json: bool = False
    log_file: Path | None = None

    def say(self, lines: Iterable[str]) -> None:
        """Results for people."""
        _print("".join(f"{line}\n" for line in lines))

    def emit(self, value: Mapping[str, object]) -> None:
        """A result for machines: one object on one line."""
        _print(json.dumps(value, default=str) + "\n")


def _print(text: str) -> None:
    # Whoever stopped reading does not change how the command ended.
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        if not reader_left(error):
            raise
        forget_stdout()


def reader_left(error: OSError) -> bool:
    """Whether a pipe's reader ended, or the terminal was closed."""
    return error.errno in (errno.EPIPE, errno.EIO)


def forget_stdout() -> None:
    """Lets go of a stdout that nobody reads: else the interpreter would complain once more when it flushes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def paint(text: str, colour: str) -> str:
    """`text` in a colour where stdout is a terminal and the operator does not mind."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM", "") in ("", "dumb"):
        return text
    return f"\033[{COLOURS[colour]}m{text}\033[0m"


def complain(lines: Iterable[str]) -> None:
    """Lines on stderr, where that is still open."""
    with contextlib.suppress(OSError, ValueError):
        for line in lines:
            print(line, file=sys.stderr)


@contextlib.contextmanager
def observing(
    output: Output, config: "Config", command: str, counts: "Counts", *, log: bool = True
) -> "Iterator[Observer]":
    """The observer that `output` asks for, at work; without a log where nothing may be written (`log=False`)."""
    from migrator.cli.observers.journal import LogObserver
    from migrator.cli.observers.several import Counting, Several

    path = output.log_file or (config.log_path if log else None)
    observers: list[Observer] = [Counting(counts)]
    with contextlib.ExitStack() as stack:
        if path is not None:
            journal = LogObserver(path, every_item=output.verbose >= 2)
            stack.callback(journal.close)
            journal.say("info", "begin", command=command, migration=config.name, pid=os.getpid())
            stack.callback(lambda: journal.say("info", "end", command=command, seconds=round(counts.seconds, 3)))
            observers.append(journal)
        observers += stack.enter_context(_display(output, f"{command} {config.name}", counts))
        try:
            yield Several(observers)
        except (MigratorError, KeyboardInterrupt, BrokenPipeError):
            raise
        except Exception as error:
            raise failing.unforeseen(error, path) from error


@contextlib.contextmanager
def _display(output: Output, title: str, counts: "Counts") -> "Iterator[list[Observer]]":
    """What the operator watches meanwhile."""
    from migrator.cli.observers.lines import JsonLines, Lines, PlainLines, Telling

    errors = Lines(sys.stderr)
    if output.as_json:
        telling: list[Observer] = [Telling(errors.write)] if output.verbose else []
        yield [JsonLines(Lines(sys.stdout).write, counts), *telling]
    elif output.quiet:
        yield []
    elif on_terminal():
        from rich.console import Console

        from migrator.cli.observers.terminal import RichProgress

        with RichProgress(title, counts, Console(stderr=True, highlight=False)) as progress:
            yield [progress, *([Telling(progress.write)] if output.verbose else [])]
    else:
        with PlainLines(errors.write, counts) as lines:
            yield [lines, *([Telling(errors.write)] if output.verbose else [])]


def on_terminal() -> bool:
    """Whether stderr is a terminal that can move its cursor, and the operator does not mind (NO_COLOR)."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb") and not os.environ.get("NO_COLOR")
