"""Runs scans for the tests of sources: whole, or cut off after every page and resumed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrator.core.config import DirectorySource, ManifestSource
from migrator.core.keys import Naming
from migrator.core.model import Item, Page, Problem
from migrator.core.ports import Source
from migrator.sources.directory import DirectoryScan
from migrator.sources.manifest import ManifestScan


@dataclass(frozen=True)
class Scanned:
    """All that the pages of one scan hold."""

    pages: tuple[Page, ...]

    @property
    def items(self) -> list[Item]:
        return [item for page in self.pages for item in page.items]

    @property
    def keys(self) -> list[str]:
        return [item.key for item in self.items]

    @property
    def locations(self) -> list[str]:
        return [item.location for item in self.items]

    @property
    def problems(self) -> list[Problem]:
        return [problem for page in self.pages for problem in page.problems]

    @property
    def skipped(self) -> int:
        return sum(page.skipped for page in self.pages)

    @property
    def told(self) -> dict[str, str]:
        """Problems: `file name:position` to message."""
        return {f"{Path(p.place).name}:{p.position}": p.message for p in self.problems}


def whole(source: Source) -> Scanned:
    """A scan from beginning to end."""
    return Scanned(tuple(source.scan(None)))


def directory(root: Path, *, prefix: str = "", carry: Sequence[str] = (), **settings: Any) -> DirectoryScan:
    """A `directory` source."""
    values = {"type": "directory", "name": "tree", "root": root, "key": "{path}"} | settings
    return DirectoryScan(DirectorySource.model_validate(values), Naming(prefix, carry))


def manifest(files: Path | str, *, prefix: str = "", carry: Sequence[str] = (), **settings: Any) -> ManifestScan:
    """A `manifest` source with the fields `image_url` and `thumb_url`."""
    values = {
        "type": "manifest",
        "name": "lots",
        "files": str(files),
        "key": "{path}",
        "fields": ("image_url", "thumb_url"),
    }
    return ManifestScan(ManifestSource.model_validate(values | settings), Naming(prefix, carry))


def in_manifest(folder: Path, text: str | bytes, *, name: str = "lot.json", **settings: Any) -> Scanned:
    """What a scan finds in one manifest that holds `text`."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return whole(manifest(path, **settings))
