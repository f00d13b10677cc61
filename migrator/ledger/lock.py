"""One writer at a time: a lock on a sibling file, and the file systems on which such a lock cannot be trusted."""

import fcntl
import os
import re
import socket
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from migrator.clients.mounts import TABLE, kind_at
from migrator.core.errors import LedgerError, LedgerLocked

_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|ncpfs|afs|9p|lustre|ceph|glusterfs|gpfs|beegfs|orangefs|pvfs2|coda|davfs|vboxsf|vmhgfs"
    r"|fuse\.(?:sshfs|s3fs|s3ql|gcsfuse|goofys|mount-s3|rclone|glusterfs|ceph-fuse|ceph|davfs2?|smbnetfs|juicefs|vmhgfs-fuse)"
)
"""File systems that share files between machines: SQLite's locks and its shared memory do not hold on them
(https://www.sqlite.org/wal.html#overview, https://www.sqlite.org/howtocorrupt.html#_filesystems_with_broken_or_missing_lock_implementations)."""


_SINCE = "%Y-%m-%d %H:%M:%S UTC"


class Holder(Struct, frozen=True):
    """The process that works on a ledger."""

    pid: int
    host: str
    since: str

    @property
    def since_epoch(self) -> float:
        """`since` in seconds since 1970."""
        return datetime.strptime(self.since, _SINCE).replace(tzinfo=UTC).timestamp()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


class Lock:
    """Held from construction to `release`. Raises LedgerLocked at once when someone else holds it."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            holder = _read(path)
            raise LedgerLocked(
                f"{path.with_suffix('.db')} is in use by {holder or 'another process'}",
                "wait until it ends, or stop it; `migrator status` works meanwhile",
            ) from None
        except OSError as error:
            os.close(self._fd)
            raise LedgerError(
                f"{path} cannot be locked: {error.strerror}", "keep the ledger on a local file system"
            ) from error
        now = datetime.now(UTC).strftime(_SINCE)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()} {socket.gethostname()} {now}\n".encode(), 0)

    def release(self) -> None:
        """Gives the lock back. Idempotent. The file stays: two processes could lock two files of one name."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def holder(path: Path) -> Holder | None:
    """Who works on the ledger whose lock file is `path`, as far as can be seen without touching the lock."""
    found = _read(path)
    return found if found and _lives(found) else None


def _read(path: Path) -> Holder | None:
    try:
        found = re.fullmatch(r"(\d+) (\S+) (.+)\n", path.read_text(errors="replace"))
    except OSError:
        return None
    return Holder(int(found[1]), found[2], found[3]) if found else None


def _lives(holder: Holder) -> bool:
    if holder.host != socket.gethostname():
        return True
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def refuse_network(path: Path, table: Path = TABLE) -> None:
    """Raises LedgerError when `path` lies, or would lie, on a network file system. `table` is a mountinfo(5) file."""
    kind = kind_at(path.resolve(), table)
    if kind and _NETWORK.fullmatch(kind):
        raise LedgerError(
            f"{path} would lie on a network file system ({kind}), where a ledger can be damaged",
            "set checkpoint_dir to a local directory",
        )
