"""Copies between two memory stores, with the carefulness that a test gives the server."""

from msgspec.structs import replace

from migrator.core.errors import Changed, Gone, ObjectError
from migrator.core.objects import Capabilities, Copied, Described, Description, Part, Taken, Upload

from .memory_store import Kept, MemoryStore
from .world import HONOURS_ALL

COPIES_ALL = replace(HONOURS_ALL, copies=True, copy_keeps=True, copy_pinned=True, copy_absent=True, copy_parts=True)
BEGUN = 2_000.0
"""When objects were modified; the ledger of a test begins before that unless it says otherwise."""


class MemoryCopier:
    """Copies from `origin`, whose objects are located at `s3://old/<key>`, into `target`.

    `loses` names a header or metadata that its copies do not have; `before` runs before each copy.
    """

    def __init__(self, origin: MemoryStore, target: MemoryStore, capabilities: Capabilities = COPIES_ALL) -> None:
        self.origin = origin
        self.target = target
        self.capabilities = capabilities
        self.asked: list[str] = []
        self.hindered = ""
        self.loses = ""
        self.configured: dict[str, str] = {}
        """Headers that the configuration wants on every object: an adapter adds them."""
        self.modified = BEGUN
        self.digest: bytes | None = None
        """What the server says is the SHA-256 of any object."""
        self.errors: list[ObjectError] = []
        self.lost_answers: list[ObjectError] = []
        self.changes: list[bytes] = []
        """Bodies that take the place of the object while it is copied, one at each copy."""

    async def hindrance(self, source: str, location: str) -> str:
        return self.hindered

    async def describe(self, source: str, location: str) -> Described:
        self.asked.append("HEAD SOURCE")
        return self._described(self.origin, _key(location))

    async def standing(self, key: str) -> Described | None:
        self.asked.append("HEAD")
        return self._described(self.target, key) if key in self.target.objects else None

    async def copy(self, source: str, location: str, etag: str, target: Upload | str, absent: bool) -> Copied | Taken:
        self.asked.append("COPY")
        if self.errors:
            raise self.errors.pop(0)
        key = target if isinstance(target, str) else target.key
        if absent and self.capabilities.copy_absent and key in self.target.objects:
            return Taken()
        kept = self._pinned(_key(location), etag)
        upload = replace(kept.upload, key=key) if isinstance(target, str) else target
        headers = {**(upload.headers or {}), **({} if isinstance(target, str) else self.configured)}
        upload = replace(
            upload,
            headers={name: value for name, value in headers.items() if name != self.loses},
            metadata={name: value for name, value in upload.metadata.items() if name != self.loses},
        )
        self.target.objects[key] = [Kept(kept.body, upload, kept.etag, None)]
        if self.lost_answers:
            raise self.lost_answers.pop(0)
        return Copied(kept.etag)

    async def copy_part(
        self, source: str, location: str, etag: str, key: str, upload_id: str, number: int, span: tuple[int, int] | None
    ) -> Part:
        self.asked.append("COPY PART")
        if self.errors:
            raise self.errors.pop(0)
        if upload_id not in self.target.uploads:
            raise Gone(f"no upload {upload_id}")
        body = self._pinned(_key(location), etag).body
        piece = body if span is None else body[span[0] : span[1] + 1]
        self.target.uploads[upload_id].parts[number] = piece
        return Part(number, len(piece), f"part-{number}")

    async def close(self) -> None:
        pass

    def _pinned(self, key: str, etag: str) -> Kept:
        if self.changes:
            self.origin.stand(key, self.changes.pop(0))
        if key not in self.origin.objects:
            raise Gone(f"{key} is not there")
        kept = self.origin.objects[key][-1]
        if self.capabilities.copy_pinned and kept.etag != etag:
            raise Changed(f"{key} has changed")
        return kept

    def _described(self, store: MemoryStore, key: str) -> Described:
        if key not in store.objects:
            raise Gone(f"{key} is not there")
        kept = store.objects[key][-1]
        description = Description(dict(kept.upload.headers or {}), dict(kept.upload.metadata), kept.upload.tags)
        return Described(len(kept.body), kept.etag, kept.upload.content_type, description, self.digest, self.modified)


def _key(location: str) -> str:
    return location.removeprefix("s3://old/")
