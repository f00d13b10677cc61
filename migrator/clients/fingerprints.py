"""What tells one version of a file from another without reading it."""

import os
import re

from migrator.clients.mounts import mounts

_DRAWN = re.compile(r"fuse|fuseblk|fuse\..*|vfat|msdos|exfat|cifs|smb\d?|smbfs")
"""File systems that may give a file another inode number when it is looked up or mounted again: FUSE as its programs
like it (sshfs counts, rclone hashes the path), FAT because it has none, shares as their server has some."""

_drawn: dict[int, bool] = {}
"""By device. One that no mount has (btrfs gives each subvolume its own) keeps its numbers."""


def file_fingerprint(status: os.stat_result) -> str:
    """What changes when a file is written or replaced: mtime (ns), size and, where it is the file's own, inode."""
    return f"{status.st_mtime_ns}:{status.st_size}:{inode_of(status)}"


def inode_of(status: os.stat_result) -> int:
    """The number of the file; 0 where its file system may give it another one tomorrow."""
    drawn = _drawn.get(status.st_dev)
    if drawn is None:
        _drawn.update({mount.device: bool(_DRAWN.fullmatch(mount.kind)) for mount in mounts()})
        drawn = _drawn.setdefault(status.st_dev, False)
    return 0 if drawn else status.st_ino
