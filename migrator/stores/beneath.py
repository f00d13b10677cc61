"""Opening files below a folder without ever leaving it: no symbolic link and no `..` leads out."""

import asyncio
import ctypes
import errno
import functools
import os
import stat
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress

from msgspec import Struct

_OPENAT2 = 437
"""System call number: the same on every architecture that Linux 5.6 and later run on."""

_NO_MAGICLINKS = 0x02
_NO_SYMLINKS = 0x04
_BENEATH = 0x08
_CACHED = 0x20
"""Linux 5.12: EAGAIN in place of waiting for a disk. These are the RESOLVE_* flags of openat2(2)."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Root(Struct, frozen=True):
    """An open folder: its descriptor and its real path."""

    descriptor: int
    path: str

    @classmethod
    def of(cls, path: str) -> "Root":
        """Opens the folder; links on the way to it are the operator's own and are followed. Raises OSError."""
        real = os.path.realpath(path, strict=True)
        return cls(os.open(real, _FOLDER), real)

    def close(self) -> None:
        """Gives the descriptor back. Once."""
        with suppress(OSError):  # a share that is gone says so once more
            os.close(self.descriptor)


class _OpenHow(ctypes.Structure):
    """`struct open_how` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@functools.cache
def _how(flags: int, resolve: int) -> _OpenHow:
    return _OpenHow(flags | os.O_CLOEXEC, 0, resolve)


_PROTOTYPE = (ctypes.c_long, ctypes.c_long, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t)
# For a lookup in memory, letting go of the interpreter's lock costs more than the call: PyDLL keeps it, CDLL does not.
_quick_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_syscall = ctypes.CDLL(None, use_errno=True).syscall
for _call in (_quick_syscall, _syscall):
    _call.argtypes = _PROTOTYPE
    _call.restype = ctypes.c_long


def _openat2(folder: int, path: str, flags: int, resolve: int) -> int:
    call = _quick_syscall if resolve & _CACHED else _syscall
    answer: int = call(_OPENAT2, folder, os.fsencode(path), _how(flags, resolve), ctypes.sizeof(_OpenHow))
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return answer


def _understands(resolve: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    top = os.open("/", _FOLDER)
    try:
        os.close(_openat2(top, ".", _FOLDER, _BENEATH | resolve))
    except OSError:
        # An older kernel (ENOSYS, EINVAL), or a container whose filter does not know the call (EPERM).
        return False
    finally:
        os.close(top)
    return True


HAS_OPENAT2 = _understands(0)
HAS_CACHED = _understands(_CACHED)


def open_cached(root: Root, path: str, flags: int, *, follow: bool) -> int:
    """`open_beneath` for a caller that must not wait: BlockingIOError where more than memory would have to be asked."""
    if not HAS_CACHED:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)
    links = _NO_MAGICLINKS if follow else _NO_SYMLINKS
    try:
        return _openat2(root.descriptor, path, flags, _BENEATH | _CACHED | links)
    except OSError as error:
        if follow and error.errno == errno.EXDEV:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), path) from None
        raise


def open_beneath(root: Root, path: str, flags: int, *, follow: bool) -> int:
    """Opens the existing `path`, relative to `root`. Raises OSError: EXDEV or ELOOP where a link or `..` leads out.

    `follow`: symbolic links count as long as they stay below the root; else any link on the way is ELOOP. Checking and
    opening are one step of the kernel, so nothing can be swapped in between.
    """
    if not follow:
        return _open_plain(root, path, flags)
    if HAS_OPENAT2:
        try:
            return _openat2(root.descriptor, path, flags, _BENEATH | _NO_MAGICLINKS)
        except OSError as error:
            # EXDEV: an absolute link, which may still lead below the root. EAGAIN: somebody renames just now.
            if error.errno not in (errno.EXDEV, errno.EAGAIN):
                raise
    return _open_resolved(root, path, flags)


async def open_in_thread(threads: Executor, opening: Callable[[], int]) -> int:
    """The descriptor that `opening` gives; it is closed when nobody waits for it any more."""
    future = threads.submit(opening)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        future.add_done_callback(_discard)
        raise


def _discard(opened: Future[int]) -> None:
    if not opened.cancelled() and opened.exception() is None:
        os.close(opened.result())


def _open_plain(root: Root, path: str, flags: int) -> int:
    if HAS_OPENAT2:
        return _openat2(root.descriptor, path, flags, _BENEATH | _NO_SYMLINKS)
    return walk(root, path, flags)


def _open_resolved(root: Root, path: str, flags: int) -> int:
    """Resolves every link, then opens the real path with links forbidden: what is swapped meanwhile is refused."""
    real = os.path.realpath(f"{root.path}/{path}", strict=True)
    inside = os.path.relpath(real, root.path)
    if inside == ".." or inside.startswith("../"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    return _open_plain(root, inside, flags)


def walk(root: Root, path: str, flags: int) -> int:
    """`open_beneath` without links, one component at a time, for systems that have no openat2."""
    *folders, last = path.split("/")
    here = os.dup(root.descriptor)
    try:
        for name in folders:
            below = _step(here, name, path)
            os.close(here)
            here = below
        if last == "..":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
        return os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(here)


def _step(folder: int, name: str, path: str) -> int:
    if name == "..":
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except NotADirectoryError:
        # O_DIRECTORY hides what O_NOFOLLOW found.
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None
        raise
