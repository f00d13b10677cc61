"""What the operator sees: Typer commands, one file a group, and the observers for the terminal."""

import sys


def main() -> None:
    """Entry point of the console script; imports the commands only when it runs."""
    try:
        from migrator.cli.app import run
    except KeyboardInterrupt:  # Ctrl+C before anything was begun: importing takes its time
        sys.exit(130)
    run()
