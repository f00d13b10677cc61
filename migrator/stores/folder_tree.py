"""The folder that is a destination: temporary files, publishing them under a key, and what stands there. Blocking."""

import ctypes
import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock

from msgspec import Struct

from migrator.clients.fingerprints import inode_of
from migrator.clients.refusals import shown
from migrator.core.errors import Conflict, Fatal, Forbidden, Invalid, ObjectError, Transient
from migrator.core.model import RESERVED_PREFIX, Side
from migrator.core.objects import Guards
from migrator.stores.beneath import Root, open_beneath

UPLOADS = f"{RESERVED_PREFIX}uploads"
TEMPORARY = f"{RESERVED_PREFIX}tmp"
"""Below the destination's own root, so that publishing never crosses a file system."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_FILE = os.O_RDONLY | os.O_NONBLOCK
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_NO_ONE_STEP = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_RENAME_NOREPLACE = 1


class Temporary(Struct, frozen=True):
    """A file that is being written; nobody sees it before it is published."""

    descriptor: int
    folder: int
    name: str


class _Session(Struct, frozen=True):
    """The folder in which this process keeps its temporary files, locked as long as it lives."""

    name: str
    descriptor: int


class Tree:
    """All access to the destination goes through here. No symbolic link below the root is ever followed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.root = Root.of(path)
        self._lock = Lock()
        self._session: _Session | None = None

    def close(self) -> None:
        """Removes the folders of our own that are empty and gives the descriptors back."""
        if self._session is not None:
            os.close(self._session.descriptor)
            for folder in (f"{TEMPORARY}/{self._session.name}", TEMPORARY, UPLOADS, RESERVED_PREFIX):
                with suppress(OSError):
                    os.rmdir(folder, dir_fd=self.root.descriptor)
        self.root.close()

    def open_file(self, key: str) -> int:
        """A descriptor of the regular file under `key`. Raises OSError, Conflict where something else stands."""
        descriptor = open_beneath(self.root, key, _FILE, follow=False)
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            return descriptor
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), key)
        raise Conflict(f"something that is no regular file stands under {shown(key)}", side=Side.DESTINATION)

    def status_of(self, key: str) -> os.stat_result:
        """What the system says of the regular file under `key`. Raises as `open_file` does."""
        descriptor = self.open_file(key)
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def is_written(self, key: str) -> bool:
        """Whether a living run holds the folder of the temporary file `key`."""
        try:
            folder = open_beneath(self.root, key.rpartition("/")[0], _FOLDER, follow=False)
        except OSError:
            return False
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(folder)
        return False

    def make_folder(self, path: str) -> int:
        """A descriptor of the folder `path` ("": the root), made durably where it is missing."""
        if not path:
            return os.dup(self.root.descriptor)
        try:
            return open_beneath(self.root, path, _FOLDER, follow=False)
        except FileNotFoundError:
            pass
        parent, _, name = path.rpartition("/")
        above = self.make_folder(parent)
        try:
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=above)
            sync_folder(above)
        finally:
            os.close(above)
        return open_beneath(self.root, path, _FOLDER, follow=False)

    @contextmanager
    def temporary(self) -> Iterator[Temporary]:
        """A new temporary file, removed at the end wherever it was not moved away."""
        with self._lock:
            session = self._session = self._session or self._begin_session()
        name = secrets.token_hex(8)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o666, dir_fd=session.descriptor)
        try:
            yield Temporary(descriptor, session.descriptor, name)
        finally:
            os.close(descriptor)
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=session.descriptor)

    def publish(self, temporary: Temporary, key: str, guards: Guards) -> bool:
        """Puts a file that is on disk under `key`, all of it at once; False when `guards` do not hold.

        With `guards.replace` somebody else may write between the look and the rename: no file system can compare and
        swap. `guards.absent` has no such gap, but where there are neither hard links nor a careful
        rename (see `rename_new`).
        """
        folder, _, name = key.rpartition("/")
        for _ in range(3):
            with suppress(FileNotFoundError):  # a delete removed the folder that had become empty
                parent = self.make_folder(folder)
                try:
                    placed = self._place(temporary, parent, name, guards)
                    if placed:
                        _make_durable(parent, key)
                    return placed
                finally:
                    os.close(parent)
        raise Transient(f"{shown(key)}: its folder is removed again and again", side=Side.DESTINATION)

    def move_into(self, temporary: Temporary, folder: int, name: str) -> None:
        """Moves a file that is on disk into a folder of our own, durably."""
        os.rename(temporary.name, name, src_dir_fd=temporary.folder, dst_dir_fd=folder)
        sync_folder(folder)

    def remove(self, key: str) -> None:
        """Removes a file and the folders that it leaves empty; an absent one is no error."""
        folder, _, name = key.rpartition("/")
        try:
            parent = open_beneath(self.root, folder or ".", _FOLDER, follow=False)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            os.unlink(name, dir_fd=parent)
            sync_folder(parent)
        except (FileNotFoundError, IsADirectoryError):
            return
        finally:
            os.close(parent)
        self._prune(folder)

    def _place(self, temporary: Temporary, parent: int, name: str, guards: Guards) -> bool:
        if guards.absent:
            return self._place_new(temporary, parent, name)
        if guards.replace is not None:
            try:
                standing = os.stat(name, dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                return False
            if etag_of(standing) != guards.replace:
                return False
        os.rename(temporary.name, name, src_dir_fd=temporary.folder, dst_dir_fd=parent)
        return True

    def _place_new(self, temporary: Temporary, parent: int, name: str) -> bool:
        try:
            try:
                os.link(temporary.name, name, src_dir_fd=temporary.folder, dst_dir_fd=parent, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                # FAT, exFAT and some mounted shares have no hard links.
                rename_new(temporary.folder, temporary.name, parent, name)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name) from None
            return False
        return True

    def _prune(self, folder: str) -> None:
        while folder:
            above, _, name = folder.rpartition("/")
            try:
                parent = open_beneath(self.root, above or ".", _FOLDER, follow=False)
                try:
                    os.rmdir(name, dir_fd=parent)
                finally:
                    os.close(parent)
            except OSError:
                return  # not empty, or somebody is at it as well
            folder = above

    def _begin_session(self) -> _Session:
        """Removes what killed runs left over: their folders are those that nobody holds a lock on any more."""
        for _ in range(10):
            with suppress(FileNotFoundError):  # another run has just tidied up
                above = self.make_folder(TEMPORARY)
                try:
                    self._sweep(above)
                    return _lock_new_folder(above)
                finally:
                    os.close(above)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), TEMPORARY)

    def _sweep(self, above: int) -> None:
        for name in os.listdir(above):
            with suppress(OSError):
                left = os.open(name, _FOLDER | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
                try:
                    fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(name, ignore_errors=True, dir_fd=above)
                finally:
                    os.close(left)


def _lock_new_folder(above: int) -> _Session:
    name = secrets.token_hex(8)
    os.mkdir(name, dir_fd=above)
    descriptor = os.open(name, _FOLDER | os.O_CLOEXEC, dir_fd=above)
    try:
        with suppress(OSError):  # a file system without locks: then nobody sweeps either
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.stat(name, dir_fd=above)  # FileNotFoundError: swept between making and locking it
    except BaseException:
        os.close(descriptor)
        raise
    return _Session(name, descriptor)


def etag_of(status: os.stat_result) -> str:
    """What changes whenever a file is replaced or written; no hash of its bytes."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{inode_of(status):x}"


def sync_folder(descriptor: int) -> None:
    """Makes the names in a folder durable, where the file system knows how (some shares do not)."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP):
            raise


def _make_durable(parent: int, key: str) -> None:
    try:
        sync_folder(parent)
    except OSError as error:
        raise store_error(error, key, ambiguous=True) from None


def rename_new(source: int, name: str, target: int, new: str) -> None:
    """Renames, never over anything that stands there. Raises FileExistsError.

    Most of FUSE cannot do that in one step: there somebody else may write between the look and the rename.
    """
    try:
        _rename_in_one_step(source, name, target, new)
    except OSError as error:
        if error.errno not in _NO_ONE_STEP:
            raise
        with suppress(FileNotFoundError):
            os.stat(new, dir_fd=target, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from None
        os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)


def _rename_in_one_step(source: int, name: str, target: int, new: str) -> None:
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if rename(source, os.fsencode(name), target, os.fsencode(new), _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), new)


@contextmanager
def errors_of(key: str) -> Iterator[None]:
    """Translates the errors of the system into those of an object."""
    try:
        yield
    except OSError as error:
        raise store_error(error, key) from None


def store_error(error: OSError, key: str, *, ambiguous: bool = False) -> ObjectError:
    """What a failed system call means for the object under `key`."""
    key = shown(key)
    said = f"{key}: {error.strerror or error}"
    side = Side.DESTINATION
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return Fatal(f"the destination is full ({said})", side=side, hint="make room there and run again")
        case errno.EROFS:
            return Fatal(f"the destination is read-only ({said})", side=side, hint="mount it for writing and run again")
        case errno.ENOTCONN:
            # The program behind a FUSE mount has ended; what was opened stays dead when it is mounted again.
            return Fatal(f"the destination's mount is gone ({said})", side=side, hint="mount it again and run again")
        case errno.EACCES | errno.EPERM:
            return Forbidden(f"the destination may not be written ({said})", side=side, hint="check its permissions")
        case errno.ENOTDIR:
            return Conflict(f"{key}: a file stands where its folder would be", side=side, hint="move that file away")
        case errno.EISDIR | errno.ENOTEMPTY:
            return Conflict(f"{key}: a folder stands where the file would be", side=side, hint="move that folder away")
        case errno.ELOOP:
            return Conflict(f"{key}: a symbolic link stands in the way and is not followed", side=side)
        case errno.EXDEV:
            return Invalid(
                f"{key}: another file system is mounted there", side=side, hint="give it a migration of its own"
            )
        case errno.ENAMETOOLONG | errno.EFBIG | errno.EINVAL | errno.EILSEQ:
            return Invalid(f"the destination's file system cannot hold {said}", side=side)
        case _:
            return Transient(f"the destination failed ({said})", side=side, ambiguous=ambiguous)
