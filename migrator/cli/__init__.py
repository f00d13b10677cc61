"""What the operator sees: Typer commands, one file a group, and the observers for the terminal."""

import os
import sys


def main() -> None:
    """Entry point of the console script; imports the commands only when it runs."""
    # No other package has a say in what a configuration means, and looking for one reads all that is installed.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        from migrator.cli.app import run
    except KeyboardInterrupt:  # Ctrl+C before anything was begun: importing takes its time
        sys.exit(130)
    run()
