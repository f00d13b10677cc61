"""Local files that are taken away: moved to a trash folder of the same filesystem, brought back, deleted out of it."""

import asyncio
import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from migrator.clients.fingerprints import file_fingerprint
from migrator.core.cleaning import Candidate, Found, Gone, Removal, SourceSeen, Way, Where
from migrator.core.errors import Changed, Conflict, Forbidden, Invalid, ObjectError, Transient
from migrator.core.errors import Gone as GoneError
from migrator.core.files import file_location, file_path
from migrator.core.objects import PUT_ID
from migrator.core.places import TrashRoot
from migrator.stores.beneath import Root, open_beneath
from migrator.stores.folder_record import read_record
from migrator.stores.folder_tree import rename_new, sync_folder

T = TypeVar("T")

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_LINK = "it is reached through a symbolic link, so its file may have other names"


class LocalRemover:
    """Fills in `Remover` for `file://` locations. `destination` is the folder that everything goes to, if it is one.

    `threads`: files that are waited for at once.
    """

    def __init__(self, roots: Mapping[str, TrashRoot], destination: Path | None, *, threads: int = 8) -> None:
        self._roots = roots
        self._destination = destination
        self._threads = ThreadPoolExecutor(threads, "trash")

    async def look(self, candidate: Candidate) -> SourceSeen | None:
        """See the port."""
        location, root = candidate.location, self._roots.get(candidate.task.source)
        if root is None:
            raise Forbidden(f"{location}: the root of its source {candidate.task.source!r} is not there")
        return await self._do(location, lambda: self._look(root, file_path(location), candidate.keys))

    async def way(self, source: str, location: str, seen: SourceSeen) -> tuple[Way, str | None]:
        """See the port."""
        del seen
        root, path = self._roots[source], file_path(location)
        return Way.TRASH, file_location(os.path.join(root.trash, _below(root, path)))

    async def remove(self, removal: Removal) -> Removal:
        """See the port."""
        await self._do(removal.location, lambda: _move_away(self._roots[removal.source], removal))
        return replace(removal, state=Gone.TRASHED)

    async def find(self, removal: Removal) -> Found:
        """See the port."""
        return await self._do(removal.location, lambda: _find(removal))

    async def restore(self, removal: Removal) -> None:
        """See the port."""
        await self._do(removal.location, lambda: _bring_back(self._roots.get(removal.source), removal))

    async def purge(self, removal: Removal) -> None:
        """See the port."""
        await self._do(removal.location, lambda: _purge(self._roots.get(removal.source), removal))

    async def close(self) -> None:
        """Nothing new begins. Idempotent."""
        self._threads.shutdown(wait=False)

    async def _do(self, location: str, work: Callable[[], T]) -> T:
        def translated() -> T:
            with _errors_of(location):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._threads, translated)

    def _look(self, root: TrashRoot, path: str, keys: Collection[str]) -> SourceSeen | None:
        try:
            with _opened(root, path) as descriptor:
                status = os.fstat(descriptor)
                mark = read_record(descriptor).metadata.get(PUT_ID)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EXDEV):
                return SourceSeen(0, "", link=_LINK)
            raise
        if not stat.S_ISREG(status.st_mode):
            raise Invalid(f"{path} is no regular file")
        here = self._key_of(root, path, status, keys)
        return SourceSeen(status.st_size, file_fingerprint(status), here=here, mark=mark)

    def _key_of(self, root: TrashRoot, path: str, status: os.stat_result, keys: Collection[str]) -> str | None:
        """The key under which this very file stands in the destination, through whatever mount or hard link."""
        if self._destination is None:
            return None
        for key in keys:
            with suppress(OSError, ValueError):
                if os.path.samestat(os.stat(self._destination / key), status):
                    return key
        target = os.stat(self._destination)
        folder, inside = os.path.dirname(path), os.path.basename(path)
        while True:
            if os.path.samestat(os.stat(folder), target):
                return inside
            if folder in (root.path, "/"):
                break
            folder, inside = os.path.dirname(folder), os.path.join(os.path.basename(folder), inside)
        real = os.path.realpath(self._destination)
        return os.path.relpath(path, real) if path.startswith(real.rstrip("/") + "/") else None


def _below(root: TrashRoot, path: str) -> str:
    if not path.startswith(root.path.rstrip("/") + "/"):
        raise Forbidden(f"{path} lies outside the source's root {root.path}")
    return path[len(root.path.rstrip("/")) + 1 :]


@contextmanager
def _opened(root: TrashRoot, path: str, flags: int = _FILE) -> Iterator[int]:
    """The file (or folder) at `path`, reached without a symbolic link below the root."""
    top = Root.of(root.path)
    try:
        inside = _below(root, path) if path != root.path else "."
        descriptor = open_beneath(top, inside, flags, follow=False)
    finally:
        top.close()
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _move_away(root: TrashRoot, removal: Removal) -> None:
    assert removal.place is not None
    path, place = file_path(removal.location), file_path(removal.place)
    _make_folders(os.path.dirname(place))
    with _opened(root, os.path.dirname(path), _FOLDER) as folder:
        _move(folder, path, place, removal.fingerprint)


def _move(folder: int, path: str, place: str, fingerprint: str) -> None:
    """Moves a file; one that turns out to be another than was looked at goes back at once."""
    name, new = os.path.basename(path), os.path.basename(place)
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if file_fingerprint(status) != fingerprint:
        raise Changed(f"{path} has changed since it was looked at")
    target = os.open(os.path.dirname(place), _FOLDER | os.O_NOFOLLOW)
    try:
        rename_new(folder, name, target, new)
        if file_fingerprint(os.stat(new, dir_fd=target, follow_symlinks=False)) != fingerprint:
            rename_new(target, new, folder, name)
            raise Changed(f"{path} was replaced while it was moved, and stands where it stood")
        sync_folder(target)
        sync_folder(folder)
    finally:
        os.close(target)


def _make_folders(path: str) -> None:
    """Makes the folder and those above it; each is on disk before something is moved into it."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        with suppress(FileExistsError):
            os.mkdir(folder)
        above = os.open(os.path.dirname(folder), _FOLDER)
        try:
            sync_folder(above)
        finally:
            os.close(above)


def _find(removal: Removal) -> Found:
    assert removal.place is not None
    path, place = file_path(removal.location), file_path(removal.place)
    source, trashed = _stat(path), _stat(place)
    if trashed is not None and file_fingerprint(trashed) == removal.fingerprint:
        if source is None:
            return Found(Where.TRASH)
        return Found(Where.COVERED, "something else stands at its place since")
    if source is not None and file_fingerprint(source) == removal.fingerprint:
        return Found(Where.SOURCE)
    if trashed is not None:
        return Found(Where.OTHER, f"{place} is not what was moved there")
    return Found(Where.LOST, "it is not in the trash any more" if removal.state is Gone.TRASHED else "")


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _bring_back(root: TrashRoot | None, removal: Removal) -> None:
    assert removal.place is not None
    path, place = file_path(removal.location), file_path(removal.place)
    _make_folders(os.path.dirname(path))
    folder = os.open(os.path.dirname(place), _FOLDER | os.O_NOFOLLOW)
    try:
        _move(folder, place, path, removal.fingerprint)
    except FileExistsError:
        raise Conflict(f"something else stands at {path} since") from None
    finally:
        os.close(folder)
    _tidy(root, place)


def _purge(root: TrashRoot | None, removal: Removal) -> None:
    assert removal.place is not None
    place = file_path(removal.place)
    status = _stat(place)
    if status is None or file_fingerprint(status) != removal.fingerprint:
        raise Changed(f"{place} is not what was moved there")
    # Opened first: once it is empty, whoever purges beside us may remove it.
    folder = os.open(os.path.dirname(place), _FOLDER | os.O_NOFOLLOW)
    try:
        os.unlink(os.path.basename(place), dir_fd=folder)
        sync_folder(folder)
    finally:
        os.close(folder)
    _tidy(root, place)


def _tidy(root: TrashRoot | None, place: str) -> None:
    """Removes folders of the trash that are empty now, and at last the trash itself."""
    if root is None:
        return
    folder = os.path.dirname(place)
    with suppress(OSError):
        while folder == root.trash or folder.startswith(root.trash.rstrip("/") + "/"):
            os.rmdir(folder)
            folder = os.path.dirname(folder)


@contextmanager
def _errors_of(location: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise Conflict(f"{location}: {error.filename} stands in the trash already, and is never replaced") from None
    except (FileNotFoundError, NotADirectoryError):
        raise GoneError(f"{location} is not there any more") from None
    except ValueError:
        raise Invalid(f"{location} is no path of a local file") from None
    except OSError as error:
        raise _error(error, location) from None


def _error(error: OSError, location: str) -> ObjectError:
    said = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Forbidden(f"{location}: {said}", hint="its folder, and the trash, must be writable")
    if error.errno in (errno.ELOOP, errno.EXDEV):
        return Invalid(f"{location}: it cannot be renamed into the trash from here ({said})")
    return Transient(f"{location}: {said}")
