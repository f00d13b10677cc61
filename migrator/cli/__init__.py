"""What the operator sees: Typer commands, one file a group, and the observers for the terminal."""


def main() -> None:
    """Entry point of the console script; imports the commands only when it runs."""
    from migrator.cli.app import run

    run()
