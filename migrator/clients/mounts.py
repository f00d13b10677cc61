"""What the system has mounted, as mountinfo(5) tells it."""

import os
import re
from pathlib import Path

from msgspec import Struct

TABLE = Path("/proc/self/mountinfo")


class Mount(Struct, frozen=True):
    """One mounted file system: `device` is the `st_dev` of its files, `kind` its type, as `ext4` or `fuse.sshfs`."""

    device: int
    point: Path
    kind: str


def mounts(table: Path = TABLE) -> list[Mount]:
    """All of them, the later over the earlier of one place; none where the system has no such table (macOS)."""
    try:
        lines = table.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    return [_mount(line) for line in lines]


def kind_at(path: Path, table: Path = TABLE) -> str | None:
    """The type of the file system on which `path` (resolved) lies, or would lie; None where that cannot be known."""
    best, kind = -1, None
    for mount in mounts(table):
        if len(mount.point.parts) >= best and path.is_relative_to(mount.point):
            best, kind = len(mount.point.parts), mount.kind
    return kind


def _mount(line: str) -> Mount:
    mount, _, rest = line.partition(" - ")
    fields = mount.split(" ")
    major, _, minor = fields[2].partition(":")
    return Mount(os.makedev(int(major), int(minor)), Path(_unescape(fields[4])), rest.split(" ")[0])


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
