"""Where the files of one source must lie, and whether that is still there."""

import os

from msgspec import Struct

from migrator.clients.roots import lost, require_same
from migrator.core.errors import Forbidden
from migrator.stores.beneath import Root


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
                raise lost(self._given, f"cannot be opened: {error.strerror}") from None
            self._standing = os.fstat(self._root.descriptor)
        for top in (self._given, self._root.path):
            if path.startswith(top if top.endswith("/") else top + "/"):
                return self._root, path[len(top) :].lstrip("/")
        raise Forbidden(f"{path!r} lies outside the source's root {self._given!r}: only files below it are read")

    def answers(self) -> bool:
        """Whether the root can be read, after a file in it could not. Raises Fatal where all of it is lost. Blocks."""
        if self._root is None:
            return True
        try:
            require_same(self._given, self._standing)
        except OSError:
            return False
        try:
            os.fstat(self._root.descriptor)
        except OSError as error:
            raise lost(self._given, f"is no longer what was opened: {error.strerror}") from None
        return True

    def close(self) -> None:
        """Gives the descriptor back. Idempotent."""
        if self._root is not None:
            self._root.close()
            self._root = None
