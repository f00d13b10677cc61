"""A destination in memory that fills in the whole Store port, and can be told to fail before or after it acted."""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from msgspec.structs import replace

from migrator.core.errors import Conflict, Gone, ObjectError, Transient
from migrator.core.model import Side
from migrator.core.objects import SHA256, Digest, Guards, Part, Placed, Standing, Taken, Upload


@dataclass(slots=True)
class Kept:
    """One version of an object."""

    body: bytes
    upload: Upload
    etag: str
    version_id: str | None
    modified: float | None = None


@dataclass(slots=True)
class Open:
    """One open multipart upload."""

    upload: Upload
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Failure:
    """Fails the next `times` calls of an operation, before or after the store has carried them out."""

    error: Callable[[], ObjectError]
    times: int = 1
    after: bool = False


class MemoryStore:
    """Honours everything unless told otherwise."""

    def __init__(
        self,
        *,
        conditional: bool = True,
        keeps_checksum: bool = True,
        versioning: bool = False,
        checked: tuple[Digest, ...] = (Digest.SHA256, Digest.MD5, Digest.SIGNED),
    ) -> None:
        self.requests: dict[str, int] = {}
        self.objects: dict[str, list[Kept]] = {}
        self.uploads: dict[str, Open] = {}
        self.failures: dict[str, list[Failure]] = {}
        self.conditional = conditional
        self.keeps_checksum = keeps_checksum
        self.versioning = versioning
        self.checked = checked
        self.most_at_once = 0
        self.begun = 0.0
        """When every upload was begun, in seconds since the epoch."""
        self._numbers = count(1)

    def body(self, key: str) -> bytes:
        """The bytes that stand under `key` now."""
        return self.objects[key][-1].body

    def stand(self, key: str, body: bytes, **metadata: str) -> None:
        """Somebody else's object."""
        self._keep(Upload(key, len(body), None, "text/plain", metadata), body)

    def fail(self, operation: str, error: Callable[[], ObjectError], *, times: int = 1, after: bool = False) -> None:
        """Plans a failure of the next calls of `operation`."""
        self.failures.setdefault(operation, []).append(Failure(error, times, after))

    def _count(self, operation: str) -> None:
        self.requests[operation] = self.requests.get(operation, 0) + 1
        self._maybe_fail(operation, after=False)

    def _maybe_fail(self, operation: str, *, after: bool) -> None:
        planned = self.failures.get(operation)
        if planned and planned[0].after is after:
            planned[0].times -= 1
            failure = planned[0]
            if failure.times <= 0:
                planned.pop(0)
            raise failure.error()

    def _keep(self, upload: Upload, body: bytes) -> Placed:
        number = next(self._numbers)
        version = f"v{number}" if self.versioning else None
        kept = Kept(body, upload, f"etag-{number}", version)
        if self.versioning:
            self.objects.setdefault(upload.key, []).append(kept)
        else:
            self.objects[upload.key] = [kept]
        return Placed(kept.etag, version)

    def _taken(self, key: str, guards: Guards) -> bool:
        standing = self.objects.get(key)
        if not self.conditional:
            return False
        if guards.replace:
            return not standing or standing[-1].etag != guards.replace
        return guards.absent and bool(standing)

    def refuses(self, key: str) -> str | None:
        return "no snowmen here" if "☃" in key else None

    async def put(self, upload: Upload, body: bytes, guards: Guards) -> Placed | Taken:
        self._count("PUT")
        if self._taken(upload.key, guards):
            return Taken()
        if guards.digest is Digest.SHA256 and upload.sha256 != hashlib.sha256(body).digest():
            raise Transient("wrong digest", side=Side.DESTINATION)
        placed = self._keep(upload, body)
        self._maybe_fail("PUT", after=True)
        return placed

    async def head(self, key: str) -> Standing | None:
        self._count("HEAD")
        return self._standing(self.objects[key][-1]) if key in self.objects else None

    def _standing(self, kept: Kept) -> Standing:
        sha256 = hashlib.sha256(kept.body).digest() if self.keeps_checksum else None
        if sha256 is None and (said := kept.upload.metadata.get(SHA256)):
            sha256 = bytes.fromhex(said)
        return Standing(
            len(kept.body),
            kept.etag,
            kept.version_id,
            kept.upload.content_type,
            dict(kept.upload.metadata),
            sha256,
            proven=self.keeps_checksum,
            modified=kept.modified,
            headers=kept.upload.headers,
        )

    async def read(self, key: str) -> AsyncIterator[bytes]:
        self._count("GET")
        body = self.body(key)
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    async def delete(self, key: str, version_id: str | None = None, etag: str | None = None) -> None:
        self._count("DELETE")
        kept = self.objects.get(key, [])
        if etag and kept and kept[-1].etag != etag:
            raise Conflict(f"{key} is something else", side=Side.DESTINATION)
        self.objects[key] = [one for one in kept if version_id and one.version_id != version_id]
        if not self.objects[key]:
            del self.objects[key]
        self._maybe_fail("DELETE", after=True)

    async def beneath(self, key: str, version_id: str) -> Standing | None:
        self._count("LIST VERSIONS")
        kept = self.objects.get(key, [])
        place = [one.version_id for one in kept].index(version_id)
        return self._standing(kept[place - 1]) if place else None

    async def purge(self, key: str) -> None:
        self.objects.pop(key, None)

    async def keys(self, prefix: str) -> AsyncIterator[list[str]]:
        self._count("LIST")
        yield sorted(key for key in self.objects if key.startswith(prefix))

    async def copy(self, key: str, target: str, etag: str) -> Placed:
        self._count("COPY")
        kept = self.objects[key][-1]
        assert kept.etag == etag
        return self._keep(replace(kept.upload, key=target), kept.body)

    async def versioned(self) -> bool:
        return self.versioning

    async def begin(self, upload: Upload, digest: Digest | None = Digest.SHA256) -> str:
        self._count("CREATE")
        upload_id = f"upload-{next(self._numbers)}"
        self.uploads[upload_id] = Open(upload)
        self._maybe_fail("CREATE", after=True)
        return upload_id

    async def put_part(
        self, key: str, upload_id: str, number: int, body: bytes, sha256: bytes | None, digest: Digest
    ) -> Part:
        self._count("PART")
        if upload_id not in self.uploads:
            raise Gone(f"no upload {upload_id}", side=Side.DESTINATION)
        if digest is Digest.SHA256 and sha256 != hashlib.sha256(body).digest():
            raise Transient("wrong digest", side=Side.DESTINATION)
        self.uploads[upload_id].parts[number] = body
        self._maybe_fail("PART", after=True)
        return Part(number, len(body), f"part-{number}", sha256)

    async def parts(self, key: str, upload_id: str) -> list[Part]:
        if upload_id not in self.uploads:
            raise Gone(f"no upload {upload_id}", side=Side.DESTINATION)
        parts = self.uploads[upload_id].parts
        return [Part(n, len(b), f"part-{n}", hashlib.sha256(b).digest()) for n, b in sorted(parts.items())]

    async def complete(self, upload: Upload, upload_id: str, parts: Sequence[Part], guards: Guards) -> Placed | Taken:
        self._count("COMPLETE")
        if self._taken(upload.key, guards):
            return Taken()
        open_upload = self.uploads.pop(upload_id)
        body = b"".join(open_upload.parts[part.number] for part in parts)
        placed = self._keep(replace(open_upload.upload, size=len(body)), body)
        self._maybe_fail("COMPLETE", after=True)
        return placed

    async def abort(self, key: str, upload_id: str) -> None:
        self._count("ABORT")
        self.uploads.pop(upload_id, None)

    async def open_uploads(self, key: str) -> list[tuple[str, float]]:
        return [(upload_id, self.begun) for upload_id, found in self.uploads.items() if found.upload.key == key]

    async def checks(self, key: str, digest: Digest, upload_id: str | None = None) -> bool:
        self._count("CANARY")
        if digest in self.checked:
            return True
        if upload_id is None:
            self.stand(key, b"wrong")
        return False

    async def close(self) -> None:
        pass
