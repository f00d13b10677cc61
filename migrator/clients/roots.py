"""Whether the folder that files lie in is still the one it was: a disk or a share may be unmounted at any moment."""

import errno
import os

from migrator.core.errors import Fatal
from migrator.core.model import Side

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENOTCONN)
"""ENOTCONN: the program behind a FUSE mount has ended, and it takes a new mount to bring it back."""


def require_same(path: str, was: os.stat_result) -> None:
    """Raises Fatal where not one file is missing but all of them: a disk that is not mounted, or no longer, leaves an
    empty folder behind, and a million files would be taken for gone. Raises OSError where it does not answer. Blocks.
    """
    try:
        same = os.path.samestat(os.stat(path), was)  # noqa: PTH116
        with os.scandir(path) as entries:
            empty = next(entries, None) is None
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise lost(path, f"cannot be opened any more: {error.strerror}") from None
        raise
    if not same:
        raise lost(path, "is another folder than it was when this run began")
    if empty:
        raise lost(path, "is empty")


def lost(path: str, what: str) -> Fatal:
    """The root of a source is not there."""
    return Fatal(
        f"the source's root {path!r} {what}",
        side=Side.SOURCE,
        hint="mount it or correct `root`; where it was emptied on purpose, put any file there. No item was failed",
    )
