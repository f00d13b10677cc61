"""Writes docs/reference/cli.md from the commands themselves: `python docs/generate_cli.py`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from migrator.cli.app import application
from migrator.cli.observers.lines import EVENTS

PAGE = Path(__file__).parent / "reference" / "cli.md"

WIDTH = 100

_HEAD = """\
# The command line

<!-- Made by docs/generate_cli.py of migrator/cli. Change it there. -->

Progress goes to stderr, results to stdout. On a terminal the progress stays in place; without one, or with `NO_COLOR`,
it is a line every ten seconds and never a control code. What happened in a run is in its log, JSON lines beside the
ledger.
"""

_EVENTS = """\
## Events of `--json`

`migrate`, `copy` and `plan` print one JSON object a line while they work; `event` says which:
"""


def reference() -> str:
    """The text of docs/reference/cli.md."""
    return "\n".join([_HEAD, *_commands(), _EVENTS, *(f"- `{name}`: {what}" for name, what in EVENTS.items()), ""])


def _commands() -> Iterator[str]:
    settings = application().info.context_settings or {}
    names = {"help_option_names": settings["help_option_names"]}
    root: Any = typer.main.get_command(application())
    context = root.context_class(root, info_name="migrator", terminal_width=WIDTH, **names)
    yield from _help("migrator", root, context)
    for name, command in root.commands.items():
        yield from _help(
            f"migrator {name}",
            command,
            command.context_class(command, info_name=name, parent=context, terminal_width=WIDTH),
        )


def _help(title: str, command: Any, context: Any) -> Iterator[str]:
    yield f"## {title}\n"
    yield "```text"
    yield command.get_help(context)
    yield "```\n"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
