"""What a stored file says of itself: content type, metadata and SHA-256, in one extended attribute."""

import errno
import json
import os
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from msgspec import Struct, field

from migrator.clients.refusals import shown
from migrator.core.errors import Invalid
from migrator.core.model import Side
from migrator.core.objects import Upload

ATTRIBUTE = "user.migrator"
METADATA_BYTES = 2048
"""As S3 has it, so that what a folder takes a bucket takes too; ext4 has 4 KiB for all attributes of a file."""

_NO_ATTRIBUTES = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM})


class Record(Struct, frozen=True):
    """`content_type` is empty and `sha256` None where the file has no attribute, or was written to since it got one."""

    content_type: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    sha256: bytes | None = None


def write_record(descriptor: int, upload: Upload, sha256: bytes | None) -> None:
    """Writes the attribute of a file whose bytes and time are final. Without attributes nothing is kept."""
    length = sum(len(name) + len(value) for name, value in upload.metadata.items())
    if length > METADATA_BYTES:
        message = f"the metadata of {shown(upload.key)} has {length} bytes; {METADATA_BYTES} are kept"
        raise Invalid(message, side=Side.DESTINATION, hint="shorten destination.metadata")
    status = os.fstat(descriptor)
    fields = {
        "content_type": upload.content_type,
        "metadata": dict(upload.metadata),
        "sha256": sha256.hex() if sha256 else None,
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
    }
    _set(descriptor, json.dumps(fields, separators=(",", ":")).encode())


def read_record(descriptor: int) -> Record:
    """The attribute, unless the file was written to afterwards: then it speaks of other bytes and says nothing."""
    raw = _get(descriptor)
    try:
        fields = json.loads(raw) if raw else {}
        status = os.fstat(descriptor)
        if (fields.get("size"), fields.get("mtime_ns")) != (status.st_size, status.st_mtime_ns):
            return Record()
        sha256 = bytes.fromhex(fields["sha256"]) if fields["sha256"] else None
        return Record(str(fields["content_type"]), dict(fields["metadata"]), sha256)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Record()


def copy_record(source: int, target: int) -> None:
    """Gives `target`, whose bytes are those of `source`, the same time and attribute."""
    status = os.fstat(source)
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))
    raw = _get(source)
    if raw:
        _set(target, raw)


def set_time(descriptor: int, metadata: Mapping[str, str]) -> None:
    """The source's modification time, where the metadata tell it as `mtime`: seconds since the epoch."""
    try:
        nanoseconds = int(Decimal(metadata["mtime"]) * 10**9)
    except (KeyError, InvalidOperation, ValueError, OverflowError):
        return
    if abs(nanoseconds) < 2**62:
        os.utime(descriptor, ns=(nanoseconds, nanoseconds))


def _set(descriptor: int, text: bytes) -> None:
    if not hasattr(os, "setxattr"):
        return
    try:
        os.setxattr(descriptor, ATTRIBUTE, text)
    except OSError as error:
        if error.errno not in _NO_ATTRIBUTES:
            raise


def _get(descriptor: int) -> bytes:
    if not hasattr(os, "getxattr"):
        return b""
    try:
        return os.getxattr(descriptor, ATTRIBUTE)
    except OSError:
        return b""
