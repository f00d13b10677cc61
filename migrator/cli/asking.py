"""What is asked of the operator before something is destroyed."""

import sys
from typing import TYPE_CHECKING

from migrator.cli.output import complain
from migrator.core.errors import ConfigError

if TYPE_CHECKING:
    from migrator.core.config import Config


def expect_somebody(otherwise: str, hint: str) -> None:
    """Raises ConfigError where there is no terminal on which the name could be typed: before the work of looking."""
    if not sys.stdin.isatty():
        raise ConfigError(f"{otherwise}: the name of the migration is typed on a terminal", hint=hint)


def confirm(config: "Config", what: str, otherwise: str) -> None:
    """Says `what` is about to happen and waits. Raises ConfigError unless the name of the migration is typed.

    `otherwise` begins the error: what was not done.
    """
    complain([f"{what} Type its name to go on:"])
    try:
        typed = input().strip()
    except EOFError:
        typed = ""
    if typed != config.name:
        raise ConfigError(f"{otherwise}: the name of the migration was not typed", hint="in scripts: --yes")
