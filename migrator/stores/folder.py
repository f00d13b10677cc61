"""The destination as a folder: the Store port with files, atomic links and fsync. Every call works in a thread."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TypeVar

from migrator.clients.refusals import shown
from migrator.core.content import content_type
from migrator.core.errors import Changed, Conflict, Fatal, Gone, PreflightError, Transient
from migrator.core.keys import key_problem
from migrator.core.model import MIB, RESERVED_PREFIX, Side
from migrator.core.objects import Digest, Guards, Part, Placed, Standing, Taken, Upload
from migrator.core.orphans import Listed, Unfinished
from migrator.stores import folder_uploads
from migrator.stores.beneath import open_beneath, open_in_thread
from migrator.stores.folder_record import copy_record, read_record, set_time, write_record
from migrator.stores.folder_tree import TEMPORARY, UPLOADS, Temporary, Tree, errors_of, etag_of

LONGEST_NAME = 255
LONGEST_PATH = 4095
"""Bytes that Linux takes in one name and in one path."""

PAGE = 1000
_PIECE = MIB
_UNCONDITIONAL = Guards(absent=False, digest=Digest.SHA256)

_Answer = TypeVar("_Answer")


class FolderStore:
    """A folder with the guarantees of a bucket: an object appears whole or not at all and survives a power cut.

    Bytes go to a temporary file, to the disk, and then under their name by a hard link, which fails where something
    stands. Content type, metadata and SHA-256 are in the extended attribute `user.migrator`; on a file system without
    attributes `head` tells neither put id nor SHA-256, and whoever asks compares bytes. `threads`: calls at once, most
    of which wait for the disk.
    """

    def __init__(self, path: Path, *, threads: int = 16) -> None:
        self.requests: dict[str, int] = {}
        self._path = os.path.realpath(path)
        self._threads = ThreadPoolExecutor(threads, "store")
        self._lock = Lock()
        self._tree: Tree | None = None

    async def check_bucket(self) -> None:
        """Raises PreflightError unless the folder exists and can be written."""
        try:
            await self._run("", self._open_tree)
        except Fatal as error:
            raise PreflightError(error.message, error.hint) from error
        if not os.access(self._path, os.W_OK | os.X_OK):
            raise PreflightError(f"the destination folder {self._path!r} may not be written", "check its permissions")

    def refuses(self, key: str) -> str | None:
        """Why no file can have this name; None when one can."""
        return file_problem(self._path, key)

    async def put(self, upload: Upload, body: bytes, guards: Guards) -> Placed | Taken:
        """Stores a file whose bytes are what `upload.sha256` says. Fatal when the disk is full."""
        return await self._count("PUT", upload.key, lambda tree: _put(tree, upload, body, guards))

    async def head(self, key: str) -> Standing | None:
        """What stands under `key`. The SHA-256 is the one that was written with it, None for files of others."""
        return await self._count("HEAD", key, lambda tree: _head(tree, key))

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """The file's bytes in pieces of 1 MiB."""
        self._note("GET")
        with errors_of(key):
            opening = partial(_open_for_reading, await self._run(key, self._open_tree), key)
            descriptor = await open_in_thread(self._threads, opening)
        offset = 0
        try:
            # pread: a read that is abandoned in its thread moves no position that another file may have by then.
            while piece := await self._run(key, partial(os.pread, descriptor, _PIECE, offset)):
                offset += len(piece)
                yield piece
        finally:
            os.close(descriptor)

    async def delete(self, key: str, version_id: str | None = None, etag: str | None = None) -> None:
        """Removes a file and the folders that it leaves empty. There are no versions here."""
        del version_id
        await self._count("DELETE", key, lambda tree: _delete(tree, key, etag))

    async def beneath(self, key: str, version_id: str) -> Standing | None:
        """Nothing: there are no versions here."""
        del key, version_id
        return None

    async def purge(self, key: str) -> None:
        """The same as `delete`."""
        await self.delete(key)

    async def keys(self, prefix: str) -> AsyncIterator[list[str]]:
        """Regular files under `prefix` in the order of S3 (bytes); memory holds one folder a level."""
        walk = _walk_pages(await self._run(prefix, self._open_tree), prefix)
        while page := await self._count("LIST", prefix, lambda _: next(walk, None)):
            yield page
            if len(page) < PAGE:
                return

    async def listed(self, prefix: str, position: str = "") -> AsyncIterator[tuple[list[Listed], str]]:
        """See `Inventory`. Below the folder of temporary files: those that no living run is writing."""
        tree, start = await self._run(prefix, self._open_tree), position.encode()
        async for keys in self.keys(prefix):
            behind = [key for key in keys if key.encode() > start]
            yield await self._run(prefix, partial(_listed, tree, behind)), keys[-1]

    async def unfinished(self, prefix: str) -> AsyncIterator[list[Unfinished]]:
        """See `Inventory`."""
        found = await self._count("LIST UPLOADS", prefix, folder_uploads.unfinished)
        yield [upload for upload in found if upload.key.startswith(prefix)]

    async def copy(self, key: str, target: str, etag: str) -> Placed:
        """Copies bytes, time and attribute. Changed: the file no longer has `etag`."""
        return await self._count("COPY", target, lambda tree: _copy(tree, key, target, etag))

    async def versioned(self) -> bool:
        """A file that is replaced is lost."""
        return False

    async def begin(self, upload: Upload, digest: Digest | None = Digest.SHA256) -> str:
        """Opens an upload."""
        del digest
        return await self._count("CREATE UPLOAD", upload.key, lambda tree: folder_uploads.begin(tree, upload.key))

    async def put_part(
        self, key: str, upload_id: str, number: int, body: bytes, sha256: bytes | None, digest: Digest
    ) -> Part:
        """Stores a part whose bytes are what `sha256` says."""
        del digest  # one kind is checked, whichever was asked for

        def work(tree: Tree) -> Part:
            known = sha256 or hashlib.sha256(body).digest()
            _check(key, body, known)
            return folder_uploads.put_part(tree, key, upload_id, number, body, known)

        return await self._count("PUT PART", key, work)

    async def parts(self, key: str, upload_id: str) -> list[Part]:
        """The parts that an open upload already holds."""
        return await self._count("LIST PARTS", key, lambda tree: folder_uploads.parts(tree, key, upload_id))

    async def complete(self, upload: Upload, upload_id: str, parts: Sequence[Part], guards: Guards) -> Placed | Taken:
        """Makes the parts one file."""
        return await self._count(
            "COMPLETE UPLOAD", upload.key, lambda tree: _complete(tree, upload, upload_id, parts, guards)
        )

    async def abort(self, key: str, upload_id: str) -> None:
        """Drops an open upload; an absent one is no error."""
        await self._count("ABORT UPLOAD", key, lambda tree: folder_uploads.abort(tree, key, upload_id))

    async def open_uploads(self, key: str) -> list[tuple[str, float]]:
        """(upload id, start in seconds since the epoch) of every open upload for exactly this key."""
        return await self._count("LIST UPLOADS", key, lambda tree: folder_uploads.open_uploads(tree, key))

    async def checks(self, key: str, digest: Digest, upload_id: str | None = None) -> bool:
        """SHA-256 is checked before a byte is written; the other kinds belong to requests over a network."""
        body, right, wrong = b"canary", hashlib.sha256(b"canary").digest(), hashlib.sha256(b"other bytes").digest()
        sha256 = wrong if digest is Digest.SHA256 else right
        try:
            if upload_id:
                await self.put_part(key, upload_id, 1, body, sha256, digest)
            else:
                await self.put(Upload(key, len(body), sha256, "text/plain", {}), body, _UNCONDITIONAL)
        except Transient:
            return True
        return False

    async def close(self) -> None:
        """Waits for what is under way and gives descriptors back. Idempotent."""
        await asyncio.to_thread(self._threads.shutdown)
        if self._tree is not None:
            self._tree.close()
            self._tree = None

    async def _count(self, operation: str, key: str, work: Callable[[Tree], _Answer]) -> _Answer:
        self._note(operation)
        return await self._run(key, lambda: work(self._open_tree()))

    def _note(self, operation: str) -> None:
        self.requests[operation] = self.requests.get(operation, 0) + 1

    async def _run(self, key: str, work: Callable[[], _Answer]) -> _Answer:
        with errors_of(key):
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _open_tree(self) -> Tree:
        with self._lock:
            if self._tree is None:
                try:
                    self._tree = Tree(self._path)
                except OSError as error:
                    message = f"the destination folder {self._path!r} cannot be used: {error.strerror}"
                    raise Fatal(message, side=Side.DESTINATION, hint="create it, mount it or correct its url") from None
            return self._tree


def _put(tree: Tree, upload: Upload, body: bytes, guards: Guards) -> Placed | Taken:
    sha256 = _check(upload.key, body, upload.sha256)
    with tree.temporary() as temporary:
        folder_uploads.write_all(temporary.descriptor, body)
        return _finish(tree, temporary, upload, sha256, guards)


def _complete(tree: Tree, upload: Upload, upload_id: str, parts: Sequence[Part], guards: Guards) -> Placed | Taken:
    with tree.temporary() as temporary:
        length = folder_uploads.join(tree, upload.key, upload_id, parts, temporary.descriptor)
        if upload.size not in (None, length):
            message = f"{shown(upload.key)}: the parts have {length} bytes, not the {upload.size} that were read"
            raise Transient(message, side=Side.DESTINATION)
        answer = _finish(tree, temporary, upload, upload.sha256, guards)
    if isinstance(answer, Placed):
        folder_uploads.abort(tree, upload.key, upload_id)
    return answer


def _finish(tree: Tree, temporary: Temporary, upload: Upload, sha256: bytes | None, guards: Guards) -> Placed | Taken:
    set_time(temporary.descriptor, upload.metadata)
    write_record(temporary.descriptor, upload, sha256)
    os.fsync(temporary.descriptor)
    etag = etag_of(os.fstat(temporary.descriptor))
    return Placed(etag) if tree.publish(temporary, upload.key, guards) else Taken()


def _check(key: str, body: bytes, sha256: bytes | None) -> bytes:
    found = hashlib.sha256(body).digest()
    if sha256 not in (None, found):
        raise Transient(
            f"{shown(key)}: the bytes are not those of the digest that came with them", side=Side.DESTINATION
        )
    return found


def _head(tree: Tree, key: str) -> Standing | None:
    try:
        descriptor = tree.open_file(key)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    try:
        status, record = os.fstat(descriptor), read_record(descriptor)
    finally:
        os.close(descriptor)
    kind = record.content_type or content_type(key, None, b"")
    return Standing(status.st_size, etag_of(status), None, kind, record.metadata, record.sha256)


def file_problem(root: str | Path, key: str) -> str | None:
    """Why no file below `root` can have this name; None when one can."""
    problem = key_problem(key)
    if problem:
        return problem
    if key.startswith(RESERVED_PREFIX):
        return f"{RESERVED_PREFIX} is kept for the tool itself"
    segments = key.split("/")
    if "" in segments:
        return "a file's path has no // and no / at its end"
    if any(len(segment.encode()) > LONGEST_NAME for segment in segments):
        return f"a part of it is longer than the {LONGEST_NAME} bytes of a file's name"
    if len(os.fsencode(root)) + 1 + len(key.encode()) > LONGEST_PATH:
        return f"the whole path is longer than {LONGEST_PATH} bytes"
    return None


def _listed(tree: Tree, keys: Sequence[str]) -> list[Listed]:
    found = []
    for key in keys:
        if key.startswith(f"{TEMPORARY}/") and tree.is_written(key):
            continue
        with suppress(OSError, Conflict):  # gone since it was listed
            status = tree.status_of(key)
            found.append(Listed(key, status.st_size, etag_of(status), status.st_mtime))
    return found


def _delete(tree: Tree, key: str, etag: str | None) -> None:
    standing = _head(tree, key) if etag else None
    if standing and standing.etag != etag:
        raise Conflict(f"{shown(key)} is no longer what it was", side=Side.DESTINATION)
    tree.remove(key)


def _open_for_reading(tree: Tree, key: str) -> int:
    try:
        return tree.open_file(key)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise Gone(f"nothing stands under {shown(key)}", side=Side.DESTINATION) from None


def _copy(tree: Tree, key: str, target: str, etag: str) -> Placed:
    source = _open_for_reading(tree, key)
    try:
        with tree.temporary() as temporary:
            folder_uploads.copy_bytes(source, temporary.descriptor)
            copy_record(source, temporary.descriptor)
            if etag_of(os.fstat(source)) != etag:
                raise Changed(f"{shown(key)} is no longer what it was", side=Side.DESTINATION)
            os.fsync(temporary.descriptor)
            tree.publish(temporary, target, _UNCONDITIONAL)
            return Placed(etag_of(os.fstat(temporary.descriptor)))
    finally:
        os.close(source)


def _walk_pages(tree: Tree, prefix: str) -> Iterator[list[str]]:
    page: list[str] = []
    for key in _walk(tree, prefix.rpartition("/")[0], prefix):
        page.append(key)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


def _walk(tree: Tree, folder: str, prefix: str) -> Iterator[str]:
    try:
        descriptor = open_beneath(tree.root, folder or ".", os.O_RDONLY | os.O_DIRECTORY, follow=False)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        with os.scandir(descriptor) as entries:
            names = [found for entry in entries if (found := _sort_name(entry))]
    finally:
        os.close(descriptor)
    base = f"{folder}/" if folder else ""
    for sort_name, is_folder in sorted(names):
        key = base + os.fsdecode(sort_name)
        if key_problem(key) or not key.startswith(prefix):
            continue  # not valid UTF-8, or longer than any key: nothing that this tool could have put there
        if not is_folder:
            yield key
        elif key[:-1] not in (TEMPORARY, UPLOADS):
            yield from _walk(tree, key[:-1], prefix)


def _sort_name(entry: os.DirEntry[str]) -> tuple[bytes, bool] | None:
    """A folder sorts with the `/` that follows it in every key: `a-b`, `a.c`, `a/b`, as S3 lists them."""
    if entry.is_dir(follow_symlinks=False):
        return os.fsencode(entry.name) + b"/", True
    return (os.fsencode(entry.name), False) if entry.is_file(follow_symlinks=False) else None
