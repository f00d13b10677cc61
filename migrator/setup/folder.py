"""Makes a `file:///` destination right: the folder itself, nothing more."""

from pathlib import Path

from msgspec.structs import replace

from migrator.core.errors import PreflightError
from migrator.setup.change import Change


def prepare(folder: Path, *, dry_run: bool) -> list[Change]:
    """What was (or, for a dry run, would be) changed. Raises PreflightError when the folder cannot be made."""
    if folder.is_dir():
        return []
    change = Change(f"folder {folder}", "missing", "created")
    if dry_run:
        return [change]
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise PreflightError(
            f"the folder {folder} cannot be created: {error.strerror}", "correct destination.url or make it yourself"
        ) from error
    return [replace(change, applied=True)]
