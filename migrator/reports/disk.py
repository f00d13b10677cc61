"""How much a plan will write on this machine: ledger and audit log, and the objects where they go into a folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from migrator.core.config import Config
from migrator.reports import words
from migrator.reports.overview import Overview

OBJECT = 510
"""Bytes that ledger and audit log grow by with an object, beside its names (60,000 files, planned and then moved)."""
ROW = 510
"""With a row of two columns that is updated (20,000 of them)."""
VARIANT = 730
"""With a variant (900 of them)."""


class View(Protocol):
    """An open ledger, read only."""

    def mean_names(self) -> float:
        """Bytes of key and location together, of an item, as far as some of them tell."""
        ...


class Disk(Struct, frozen=True):
    """Bytes that a run will write, and that are free where it writes them.

    logs          more than ledger and audit log hold now
    objects       of known size that go into the destination's folder, None for a bucket
    together      folder and ledger lie on one filesystem
    """

    folder: Path
    logs: int
    logs_free: int
    destination: Path | None
    objects: int | None
    objects_free: int | None
    together: bool

    @property
    def enough(self) -> bool:
        """Whether there is room for all of it, as it is now."""
        objects = self.objects or 0
        logs = self.logs + objects if self.together else self.logs
        return logs <= self.logs_free and (self.objects_free is None or objects <= self.objects_free)

    def lines(self) -> Iterator[str]:
        """For people."""
        if self.logs:
            free = f"{words.size(self.logs_free)} free"
            yield f"about {words.size(self.logs)} more of ledger and audit log in {self.folder} ({free})"
        if self.objects and self.objects_free is not None:
            free = f"{words.size(self.objects_free)} free"
            yield f"{words.size(self.objects)} of objects in {self.destination} ({free})"
        if not self.enough:
            yield "that is not enough: `migrate` would stop when the disk is full, and go on when there is room"

    def tree(self) -> dict[str, object]:
        """As plain values."""
        return {
            "logs": self.logs,
            "logs_free": self.logs_free,
            "objects": self.objects,
            "objects_free": self.objects_free,
            "enough": self.enough,
        }


def estimate(seen: Overview, view: View, config: Config, variants: int) -> Disk:
    """For what is still to be moved, and for making this many `variants`."""
    logs = seen.to_move * (OBJECT + view.mean_names()) + seen.rows_left * ROW + variants * VARIANT
    logs += _size(seen.path) - _size(config.ledger_path)  # a dry run plans into a ledger that is thrown away
    folder, target = config.ledger_path.parent, config.destination.folder
    here, there = _standing(folder), target and _standing(target)
    return Disk(
        folder=folder,
        logs=round(logs),
        logs_free=shutil.disk_usage(here).free,
        destination=target,
        objects=seen.all_sources.bytes_to_move if there else None,
        objects_free=shutil.disk_usage(there).free if there else None,
        together=there is not None and there.stat().st_dev == here.stat().st_dev,
    )


def _standing(path: Path) -> Path:
    """The folder itself, or the nearest above it that there is: a dry run makes none."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.exists())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
