"""Reader of `file://` locations: each below the root of its source, regular files only, small ones without a thread."""

import asyncio
import errno
import os
import stat
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from types import TracebackType
from typing import TypeVar

from migrator.clients.fingerprints import file_fingerprint
from migrator.core.errors import Changed, Forbidden, Gone, Invalid, ObjectError, Transient
from migrator.core.files import file_path
from migrator.core.model import MIB, Task
from migrator.core.objects import Description
from migrator.stores.beneath import open_beneath, open_cached, open_in_thread
from migrator.stores.source_root import LocalRoot, SourceRoot

INLINE = MIB
"""Bytes up to which a read is tried in the event loop."""

_PAUSES = (0.002, 0.004)
"""Seconds between asking for what is not in memory yet; where a disk takes longer than all of them, a thread waits."""

_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
# O_NONBLOCK: opening a FIFO that nobody writes to must not wait for a writer; regular files ignore it.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY

_Answer = TypeVar("_Answer")


class LocalReader:
    """Opens files below the root that their source names; a source without a root may not read files at all.

    `threads`: files that are waited for at once where the system cannot say what is in memory. On a network share each
    waits for the server, so there should be one for each transfer.
    """

    def __init__(self, roots: Mapping[str, LocalRoot], *, threads: int = 8) -> None:
        self._folders = {name: SourceRoot(root) for name, root in roots.items()}
        self._threads = ThreadPoolExecutor(threads, "read")
        # One piece of warm memory for all reads in the event loop, where only one can happen at a time.
        self._scratch = memoryview(bytearray(INLINE))

    async def reach(self, task: Task) -> None:
        """Files are here."""

    def open(self, task: Task) -> AbstractAsyncContextManager["LocalBody"]:
        """Raises Gone, Forbidden (also outside the root), Invalid (no regular file), Changed or Transient."""
        return LocalBody(task, self._folders.get(task.source), self._threads, self._scratch)

    async def close(self) -> None:
        """Closes the folders. Idempotent."""
        self._threads.shutdown(wait=False)
        for folder in self._folders.values():
            folder.close()


class LocalBody:
    """One open file; the descriptor lives as long as the `async with`."""

    content_type: str | None = None

    def __init__(
        self, task: Task, folder: SourceRoot | None, threads: ThreadPoolExecutor, scratch: "memoryview[int]"
    ) -> None:
        self._task = task
        self._folder = folder
        self._threads = threads
        self._scratch = scratch
        self._descriptor = -1
        self._offset = 0
        self.size: int | None = None
        self.modified: float | None = None
        self.fingerprint: str | None = None
        self.description: Description | None = None

    async def __aenter__(self) -> "LocalBody":
        if self._folder is None:
            raise Forbidden(f"{self._task.location}: source {self._task.source!r} has no root, so it reads no files")
        try:
            root, path = self._folder.locate(file_path(self._task.url))
            try:
                self._descriptor = open_cached(root, path, _FLAGS, follow=self._folder.follow)
            except BlockingIOError:
                follow = self._folder.follow
                opening = partial(open_beneath, root, path, _FLAGS, follow=follow)
                self._descriptor = await open_in_thread(self._threads, opening)
            self._inspect()
        except OSError as error:
            raise await self._failure(error) from None
        except ValueError:
            raise Invalid(f"{self._task.location} is no path of a local file") from None
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    async def read(self, limit: int) -> bytes:
        """The next bytes. Raises Changed when the file has become shorter than it was when it was opened."""
        assert self.size is not None
        wanted = min(limit, self.size - self._offset)
        if wanted <= 0:
            return b""
        try:
            data = await self._read_inline(wanted) if wanted <= INLINE and _NOWAIT else b""
            if len(data) < wanted:
                data = await self._in_thread(lambda: self._read_all(self._offset, wanted))
        except OSError as error:
            raise await self._failure(error) from None
        self._offset += len(data)
        if len(data) < wanted:
            raise Changed(
                f"{self._task.location} became shorter while it was read: {self._offset} of {self.size} bytes"
            )
        return data

    async def go_on(self) -> bool:
        """A file that cannot be read is not read any better from the middle."""
        return False

    async def check(self) -> None:
        """Raises Changed when time, size or inode are no longer what they were when the file was opened."""
        if file_fingerprint(os.fstat(self._descriptor)) != self.fingerprint:
            raise Changed(f"{self._task.location} was written to while it was read")

    async def _failure(self, error: OSError) -> ObjectError:
        """What it means that the file could not be read. Raises Fatal where nothing below the root can."""
        self._close()
        failure = _read_error(error, self._task.location)
        if not isinstance(failure, Gone | Transient) or self._folder is None:
            return failure
        if await self._in_thread(self._folder.answers):
            return failure
        text = f"{self._task.location} could not be read, nor the root of its source"
        return Transient(f"{text}: {error.strerror or error}", hint="see whether its disk is mounted", silent=True)

    def _inspect(self) -> None:
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Invalid(f"{self._task.location} is {_kind(status.st_mode)}, not a regular file")
        self.size = status.st_size
        self.modified = status.st_mtime_ns / 1e9
        self.fingerprint = file_fingerprint(status)
        if self._task.fingerprint is not None and self._task.fingerprint != self.fingerprint:
            raise Changed(f"{self._task.location} is no longer the file that the scan saw")

    async def _read_inline(self, wanted: int) -> bytes:
        """The next bytes as far as they are in memory, or come there soon.

        A hop to a thread and back costs more CPU than copying 100 KB out of the page cache. RWF_NOWAIT makes the kernel
        say that it would have to wait, and fetch what is missing all the same: a little later it is there. So a disk
        has as many files to fetch at once as there are transfers, not as there are threads.
        """
        data = self._read_cached(wanted)
        for pause in _PAUSES:
            if data is None or len(data) == wanted:
                break
            await asyncio.sleep(pause)
            data = self._read_cached(wanted)
        return data or b""

    def _read_cached(self, wanted: int) -> bytes | None:
        """The next bytes as far as they are in memory; None where the file system cannot say."""
        try:
            count = os.preadv(self._descriptor, [self._scratch[:wanted]], self._offset, _NOWAIT)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                return None
            raise
        return bytes(self._scratch[:count])

    def _read_all(self, offset: int, wanted: int) -> bytes:
        pieces = []
        while wanted > 0 and (piece := os.pread(self._descriptor, wanted, offset)):
            pieces.append(piece)
            offset += len(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _in_thread(self, work: Callable[[], _Answer]) -> _Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _close(self) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):  # a share that is gone says so once more
                os.close(self._descriptor)
            self._descriptor = -1


def _kind(mode: int) -> str:
    names = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return names.get(stat.S_IFMT(mode), "a special file")


def _read_error(error: OSError, location: str) -> ObjectError:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return Gone(f"{location} is not there any more")
        case errno.EACCES | errno.EPERM:
            return Forbidden(f"{location} may not be read by this user", hint="change its permissions or the user")
        case errno.ELOOP | errno.EXDEV:
            return Forbidden(f"{location} is reached through a symbolic link that is not followed or leaves the root")
        case errno.ENXIO:
            return Invalid(f"{location} is a socket or a device without one, not a regular file")
        case errno.ENAMETOOLONG | errno.EINVAL:
            return Invalid(f"{location} is no path that this system can open: {error.strerror}")
        case errno.EMFILE | errno.ENFILE:
            return Transient(f"{location}: too many open files", hint="raise `ulimit -n` or lower transfer.concurrency")
        case _:
            return Transient(f"{location} could not be read: {error.strerror or error}")
