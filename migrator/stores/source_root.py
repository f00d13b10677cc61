"""Where the files of one source must lie, and whether that is still there."""

import errno
import os
from pathlib import Path

from msgspec import Struct

from migrator.core.errors import Fatal, Forbidden
from migrator.stores.beneath import Root

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES)


class LocalRoot(Struct, frozen=True):
    """Where the files of one source must lie. `follow_symlinks`: links count as long as they stay below `path`."""

    path: str
    follow_symlinks: bool = False


class SourceRoot:
    """The root of one source, opened when first needed."""

    def __init__(self, root: LocalRoot) -> None:
        self.follow = root.follow_symlinks
        # As the scan names it: links kept, `..` and the like dropped, which pathlib cannot do.
        self._given = os.path.abspath(root.path)  # noqa: PTH100
        self._root: Root | None = None

    def locate(self, path: str) -> tuple[Root, str]:
        """The open root and `path` relative to it. Raises Forbidden when the path lies elsewhere, Fatal."""
        if self._root is None:
            try:
                self._root = Root.of(self._given)
            except OSError as error:
                raise self._lost(f"cannot be opened: {error.strerror}") from None
        for top in (self._given, self._root.path):
            if path.startswith(top if top.endswith("/") else top + "/"):
                return self._root, path[len(top) :].lstrip("/")
        raise Forbidden(f"{path!r} lies outside the source's root {self._given!r}: only files below it are read")

    def answers(self) -> bool:
        """Whether the root can be read, after a file in it could not. Blocks.

        Raises Fatal where not that file is missing but all of them: a disk that is not mounted, or no longer, leaves
        an empty folder behind, and a million files would be taken for gone.
        """
        if self._root is None:
            return True
        try:
            moved = not os.path.samestat(Path(self._given).stat(), os.fstat(self._root.descriptor))
            with os.scandir(self._given) as entries:
                empty = next(entries, None) is None
        except OSError as error:
            if error.errno in _NOT_THERE:
                raise self._lost(f"cannot be opened any more: {error.strerror}") from None
            return False
        if moved:
            raise self._lost("is another folder than it was when this run began")
        if empty:
            raise self._lost("is empty")
        return True

    def close(self) -> None:
        """Gives the descriptor back. Idempotent."""
        if self._root is not None:
            self._root.close()
            self._root = None

    def _lost(self, what: str) -> Fatal:
        return Fatal(
            f"the source's root {self._given!r} {what}",
            hint="mount it or correct `root`; where it was emptied on purpose, put any file there. No item was failed",
        )
