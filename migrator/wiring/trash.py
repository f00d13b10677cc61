"""Where the files of each source go when they are taken away, and which folders no scan may enter for that."""

import os
from pathlib import Path

from migrator.core.config import Config, DirectorySource, SourceConfig
from migrator.core.errors import PreflightError
from migrator.core.places import TrashRoot


def trash_of(config: Config, source: SourceConfig) -> TrashRoot | None:
    """The root of `source` and the folder for what is taken away of it; None where it has no local files."""
    if source.root is None:
        return None
    root, trash = Path(os.path.realpath(source.root)), Path(config.cleanup.trash)
    folder = trash / source.name if trash.is_absolute() else root / trash
    return TrashRoot(str(root), os.path.realpath(folder))


def hidden_folders(config: Config) -> tuple[str, ...]:
    """Real paths of the trash of every source: a scan of another one may pass there too."""
    found = (trash_of(config, source) for source in config.sources)
    return tuple(dict.fromkeys(one.trash for one in found if one))


def trash_roots(config: Config) -> dict[str, TrashRoot]:
    """By source, checked. Raises PreflightError where nothing could be moved there, with the reason."""
    roots = {}
    for source in config.sources:
        found = trash_of(config, source)
        # A root that is not there has no files to take away.
        if found is not None and Path(found.path).is_dir():
            roots[source.name] = found
            _check(source, found)
    return roots


def _check(source: SourceConfig, root: TrashRoot) -> None:
    above = Path(root.trash)
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        raise PreflightError(f"cleanup.trash: {above} is no folder", "remove it, or name another")
    if above.stat().st_dev != Path(root.path).stat().st_dev:
        raise PreflightError(
            f"cleanup.trash: {root.trash} is on another filesystem than the source {source.name!r} ({root.path})",
            "name a folder on the same one: moving there must not copy",
        )
    if Path(root.path).is_relative_to(root.trash):
        raise PreflightError(
            f"cleanup.trash: the source {source.name!r} ({root.path}) lies in the trash {root.trash}",
            "name another folder",
        )
    if isinstance(source, DirectorySource) and not os.access(above, os.W_OK):
        raise PreflightError(f"cleanup.trash: {above} may not be written", "grant write access, or name another")
