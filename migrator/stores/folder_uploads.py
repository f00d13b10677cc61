"""Multipart uploads of a destination folder: a folder an upload, a file a part, whose name tells its SHA-256. Blocking.

Beside the parts only the key is kept, so what a kill leaves is exactly what is listed. Completing copies the parts into
one file (on file systems with reflinks without copying a byte); until then both need room.
"""

import errno
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress

from migrator.clients.refusals import shown
from migrator.core.errors import Gone, Invalid
from migrator.core.model import Side
from migrator.core.objects import Part
from migrator.core.orphans import Unfinished
from migrator.stores.beneath import open_beneath
from migrator.stores.folder_tree import UPLOADS, Tree, sync_folder

_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_UPLOAD = re.compile(r"([0-9a-f]{32})-([0-9]{1,20})-[0-9a-f]{16}")
_PART = re.compile(r"([0-9]{5})-([0-9a-f]{64})")
_PIECE = 1 << 30
_KEY = "key"
"""The file of an upload that holds its key."""
_LONGEST_KEY = 4096


def begin(tree: Tree, key: str) -> str:
    """Opens an upload; its id names the key (hashed) and the start (ns since the epoch)."""
    upload_id = f"{_hash(key)}-{time.time_ns()}-{secrets.token_hex(8)}"
    above = tree.make_folder(UPLOADS)
    try:
        os.mkdir(upload_id, dir_fd=above)
        note = os.open(f"{upload_id}/{_KEY}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=above)
        try:
            write_all(note, key.encode())
        finally:
            os.close(note)
        sync_folder(above)
    finally:
        os.close(above)
    return upload_id


def put_part(tree: Tree, key: str, upload_id: str, number: int, body: bytes, sha256: bytes) -> Part:
    """Stores one part durably; it takes the place of an earlier one of this number."""
    folder = _open(tree, key, upload_id)
    name = _name(number, sha256)
    try:
        with tree.temporary() as temporary:
            write_all(temporary.descriptor, body)
            os.fsync(temporary.descriptor)
            for old in os.listdir(folder):
                if old.startswith(name[:6]) and old != name:
                    os.unlink(old, dir_fd=folder)
            tree.move_into(temporary, folder, name)
    finally:
        os.close(folder)
    return Part(number, len(body), sha256.hex(), sha256)


def parts(tree: Tree, key: str, upload_id: str) -> list[Part]:
    """The parts that are there, by number."""
    folder = _open(tree, key, upload_id)
    try:
        found = [
            Part(int(match[1]), os.stat(match[0], dir_fd=folder).st_size, match[2], bytes.fromhex(match[2]))
            for name in os.listdir(folder)
            if (match := _PART.fullmatch(name))
        ]
    finally:
        os.close(folder)
    return sorted(found, key=lambda part: part.number)


def join(tree: Tree, key: str, upload_id: str, wanted: Sequence[Part], target: int) -> int:
    """Writes the wanted parts one after the other to the descriptor `target`; returns their length."""
    folder = _open(tree, key, upload_id)
    length = 0
    try:
        for part in wanted:
            try:
                source = os.open(
                    _name(part.number, bytes.fromhex(part.etag)), os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder
                )
            except (FileNotFoundError, ValueError):
                message = f"{shown(key)}: part {part.number} of the upload is not what was sent"
                raise Invalid(message, side=Side.DESTINATION) from None
            try:
                length += copy_bytes(source, target)
            finally:
                os.close(source)
    finally:
        os.close(folder)
    return length


def abort(tree: Tree, key: str, upload_id: str) -> None:
    """Drops an upload; an absent one is no error."""
    if not _is_of(key, upload_id):
        return
    with suppress(FileNotFoundError):
        above = open_beneath(tree.root, UPLOADS, _FOLDER, follow=False)
        try:
            shutil.rmtree(upload_id, dir_fd=above)
        finally:
            os.close(above)


def open_uploads(tree: Tree, key: str) -> list[tuple[str, float]]:
    """(upload id, start in seconds since the epoch) of the uploads for exactly this key, oldest first."""
    try:
        above = open_beneath(tree.root, UPLOADS, _FOLDER, follow=False)
    except FileNotFoundError:
        return []
    try:
        names = [name for name in os.listdir(above) if _is_of(key, name)]
    finally:
        os.close(above)
    return sorted(((name, int(name.split("-")[1]) / 1e9) for name in names), key=lambda entry: entry[1])


def unfinished(tree: Tree) -> list[Unfinished]:
    """Every open upload, by key; of one that a kill left without its key only whoever knows that can tell."""
    try:
        above = open_beneath(tree.root, UPLOADS, _FOLDER, follow=False)
    except FileNotFoundError:
        return []
    found = []
    try:
        for upload_id in os.listdir(above):
            key = _key_of(above, upload_id)
            if _is_of(key, upload_id):
                found.append(Unfinished(key, upload_id, int(upload_id.split("-")[1]) / 1e9))
    finally:
        os.close(above)
    return sorted(found, key=lambda upload: (upload.key, upload.begun))


def _key_of(above: int, upload_id: str) -> str:
    try:
        note = os.open(f"{upload_id}/{_KEY}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    except OSError:
        return ""
    try:
        return os.read(note, _LONGEST_KEY).decode(errors="replace")
    finally:
        os.close(note)


def write_all(descriptor: int, body: bytes) -> None:
    """Writes every byte: one write takes 2 GiB at most, and fewer where a disk fills up."""
    view = memoryview(body)
    while view:
        view = view[os.write(descriptor, view) :]


def copy_bytes(source: int, target: int) -> int:
    """Appends all of `source` to `target` inside the kernel, where it can; returns the number of bytes."""
    length = 0
    try:
        while count := os.copy_file_range(source, target, _PIECE):
            length += count
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP) or length:
            raise
    while piece := os.read(source, 1 << 20):
        write_all(target, piece)
        length += len(piece)
    return length


def _open(tree: Tree, key: str, upload_id: str) -> int:
    try:
        if _is_of(key, upload_id):
            return open_beneath(tree.root, f"{UPLOADS}/{upload_id}", _FOLDER, follow=False)
    except FileNotFoundError:
        pass
    raise Gone(f"{shown(key)}: there is no such upload any more", side=Side.DESTINATION)


def _name(number: int, sha256: bytes) -> str:
    return f"{number:05}-{sha256.hex()}"


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _is_of(key: str, upload_id: str) -> bool:
    match = _UPLOAD.fullmatch(upload_id)
    return match is not None and match[1] == _hash(key)
