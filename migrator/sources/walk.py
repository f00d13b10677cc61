"""Walks a tree in an order that does not change, folder by folder: a folder's files by name, then its folders by name.

A folder with more than `SORTED_ENTRIES` entries is not held in memory: its files come in the order of the operating
system, in a second pass its folders, and a walk that resumes inside it begins that folder anew.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from msgspec import Struct

from migrator.clients.roots import lost, require_same
from migrator.core.model import Fault, Problem
from migrator.sources.page import shown

SORTED_ENTRIES = 100_000


class Position(Struct, frozen=True):
    """Where a walk stands: after the file `after` of `folder` (None: before its first)."""

    folder: str
    after: str | None


@dataclass(slots=True)
class Folder:
    """One folder: `relative` to the root ("" is the root itself), and the names in it that are no folders."""

    relative: str
    path: str
    files: Iterable[str]
    begin: Position
    """Where a resume begins before any of the files."""
    held: bool
    """Whether it begins there after any of them too: in a folder that is not sorted, and below it."""

    def position(self, after: str) -> Position:
        """Where a resume begins after the file called `after`."""
        return self.begin if self.held else Position(self.relative, after)


@dataclass(slots=True)
class _Listing:
    files: Iterable[str]
    folders: Iterator[str]
    streamed: bool


class Walk:
    """A walk below `root` that enters the folders that `enters` allows.

    Symbolic links to folders are walked only with `follow`, never into a loop nor out of `inside`.
    """

    def __init__(self, root: str, enters: Callable[[str], bool], *, follow: bool, inside: str | None = None) -> None:
        self._root = root
        self._enters = enters
        self._follow = follow
        self._inside = inside
        self._troubles: list[Problem] = []
        self._standing: os.stat_result | None = None

    def problem(self, path: str, error: OSError, meaning: str) -> Problem:
        """What the operating system said of `path`. Raises Fatal where it holds for the root, and so for all below it:
        a scan would come to its end, and what it did not see would be left behind.
        """
        problem = _os_problem(path, error, meaning)
        if problem.fault in (Fault.GONE, Fault.TRANSIENT) and self._standing:
            try:
                require_same(self._root, self._standing)
            except OSError as silence:
                raise lost(self._root, f"does not answer: {silence.strerror}") from None
        return problem

    def folders(self, start: Position | None) -> Iterator[Folder | Problem | None]:
        """Every folder from `start` on; a Problem for one that cannot be listed, None for one that is not entered."""
        with suppress(OSError):  # said when it is listed
            self._standing = os.stat(self._root)
        stack = [iter(("",))]
        held: tuple[Position, int] | None = None
        while stack:
            relative = next(stack[-1], None)
            yield from self._drain()
            if relative is None:
                stack.pop()
                if held and len(stack) <= held[1]:
                    held = None
                continue
            if relative and not self._enters(relative):
                yield None
                continue
            listing = self._list(relative, start)
            if listing is None:
                yield from self._drain()
                continue
            begin = start if start and _leads_to(relative, start.folder) else Position(relative, None)
            if listing.streamed and not held:
                held = (begin, len(stack))
            begin = held[0] if held else begin
            yield Folder(relative, self._path(relative), listing.files, begin, held is not None)
            yield from self._drain()
            stack.append(listing.folders)

    def _path(self, relative: str) -> str:
        return f"{self._root.rstrip('/')}/{relative}" if relative else self._root

    def _drain(self) -> Iterator[Problem]:
        while self._troubles:
            yield self._troubles.pop(0)

    def _list(self, relative: str, start: Position | None) -> _Listing | None:
        path = self._path(relative)
        refusal = link_refusal(path, self._inside) if relative and self._follow else None
        if refusal:
            self._troubles.append(Problem(shown(path), "", Fault.FORBIDDEN, refusal))
            return None
        files: list[str] = []
        names: list[str] = []
        try:
            with os.scandir(path) as listed:
                for entry in listed:
                    (names if self._is_folder(entry) else files).append(entry.name)
                    if len(files) + len(names) > SORTED_ENTRIES:
                        return _Listing(self._stream(path, False), self._stream_names(relative, path), True)
        except OSError as error:
            self._troubles.append(self.problem(path, error, "this folder was not listed"))
        files.sort()
        names.sort()
        if start and relative == start.folder:
            files = [name for name in files if start.after is None or name > start.after]
        elif start and _leads_to(relative, start.folder):
            files = []
            step = start.folder[len(relative) :].lstrip("/").partition("/")[0]
            names = [name for name in names if name >= step]
        return _Listing(files, (_joined(relative, name) for name in names), False)

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        if entry.is_dir(follow_symlinks=False):
            return True
        try:
            return self._follow and entry.is_dir()
        except OSError:
            return False

    def _stream(self, path: str, folders: bool) -> Iterator[str]:
        try:
            with os.scandir(path) as listed:
                for entry in listed:
                    if self._is_folder(entry) is folders:
                        yield entry.name
        except OSError as error:
            self._troubles.append(self.problem(path, error, "the rest of this folder was not listed"))

    def _stream_names(self, relative: str, path: str) -> Iterator[str]:
        return (_joined(relative, name) for name in self._stream(path, True))


def link_refusal(path: str, inside: str | None) -> str | None:
    """Why the symbolic link at `path` is not followed; None when it may be, or when `path` is no link at all."""
    if not os.path.islink(path):
        return None
    target = os.path.realpath(path)
    if inside is not None and target != inside and not target.startswith(inside.rstrip("/") + "/"):
        return "a symbolic link that leads out of the root: not followed"
    if os.path.isdir(target) and _stands_above(target, path):
        return "a symbolic link to a folder that it lies in: a loop, not followed"
    return None


def _os_problem(path: str, error: OSError, meaning: str) -> Problem:
    """What the operating system said of `path`, and what it means."""
    if error.errno in (errno.EACCES, errno.EPERM):
        fault = Fault.FORBIDDEN
    elif error.errno in (errno.ENOENT, errno.ENOTDIR):
        fault = Fault.GONE
    else:
        fault = Fault.INVALID if error.errno in (errno.ELOOP, errno.ENAMETOOLONG) else Fault.TRANSIENT
    return Problem(shown(path), "", fault, f"{error.strerror or type(error).__name__}: {meaning}")


def _joined(relative: str, name: str) -> str:
    return f"{relative}/{name}" if relative else name


def _leads_to(relative: str, folder: str) -> bool:
    return not relative or folder == relative or folder.startswith(relative + "/")


def _stands_above(target: str, path: str) -> bool:
    """Whether one of the folders on the way to `path`, as it was walked, is `target` itself."""
    folder = os.path.dirname(os.path.abspath(path))
    while os.path.realpath(folder) != target:
        parent = os.path.dirname(folder)
        if parent == folder:
            return False
        folder = parent
    return True
