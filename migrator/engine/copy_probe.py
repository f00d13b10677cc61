"""What a destination's own server makes of a copy, found out with canaries: does it keep everything, is it careful?"""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from msgspec.structs import replace

from migrator.core.errors import Changed, Forbidden, ObjectError, Transient
from migrator.core.model import CANARY
from migrator.core.objects import Capabilities, Described, Guards, Taken, Upload
from migrator.core.places import s3_location
from migrator.core.ports import Copier, Store
from migrator.engine.copying import lacking
from migrator.engine.probe import Finding, canary, copy_of, patiently

NO_ETAG = "d41d8cd98f00b204e9800998ecf8427e"
"""The ETag of no bytes at all: never that of a canary."""

HEADERS = {
    "cache-control": "max-age=60",
    "content-disposition": "inline",
    "content-encoding": "identity",
    "content-language": "en",
}


class CopyProbe:
    """Copies canaries within the destination; `run` adds to the Capabilities and leaves nothing behind."""

    def __init__(self, store: Store, copier: Copier, bucket: str, prefix: str, known: Capabilities) -> None:
        self._store = store
        self._copier = copier
        self._known = known
        plain = canary(prefix)
        self._upload = replace(
            plain,
            metadata={**plain.metadata, "canary-note": "kept"},
            tags={"canary": "kept"},
            headers=HEADERS,
        )
        self._location = s3_location(bucket, plain.key)
        self._copy_key = copy_of(plain.key)
        self.findings: list[Finding] = []

    @property
    def key(self) -> str:
        """Where the canary stands while the probe runs; its copy stands beside it."""
        return self._upload.key

    async def run(self) -> Capabilities:
        """Raises ObjectError only where not even the canary can be stored."""
        try:
            await self._put()
            original = await patiently(lambda: self._copier.standing(self.key))
            keeps = await self._keeps(original) if original else None
            if original is None or keeps is None:
                found = replace(self._known, copies=False)
            else:
                found = replace(
                    self._known,
                    copies=True,
                    copy_keeps=keeps,
                    copy_pinned=await self._is_pinned(),
                    copy_absent=await self._is_absent(original.etag),
                    copy_parts=await self._parts(original.etag),
                )
        finally:
            for key in (self.key, self._copy_key):
                await patiently(partial(self._store.purge, key))
        self._tell(found)
        return found

    async def _put(self) -> None:
        guards = Guards(absent=False, digest=self._known.digest)
        try:
            await patiently(lambda: self._store.put(self._upload, CANARY, guards))
        except ObjectError as error:
            if error.exit_status == 3:
                raise
            # Tags are what a server may not have, or the credentials may not set.
            self._upload = replace(self._upload, tags=None)
            await patiently(lambda: self._store.put(self._upload, CANARY, guards))

    async def _copy(self, etag: str, *, absent: bool = False) -> object:
        return await self._copier.copy("", self._location, etag, self._copy_key, absent)

    async def _keeps(self, original: Described) -> bool | None:
        """Whether the copy has all that the original has; None where there is no copy, or one of other bytes."""
        try:
            await patiently(lambda: self._copy(original.etag))
            found = await patiently(lambda: self._copier.standing(self._copy_key))
            if found is None or await _content(self._store.read(self._copy_key)) != CANARY:
                return None
        except ObjectError as error:
            if error.exit_status == 3:
                raise
            return None
        return not lacking(found, original.content_type, original.description)

    async def _is_pinned(self) -> bool:
        try:
            await patiently(lambda: self._copy(NO_ETAG))
        except Changed:
            return True
        except ObjectError:
            return False
        return False

    async def _is_absent(self, etag: str) -> bool:
        return await _or_false(lambda: self._is_taken(etag))

    async def _is_taken(self, etag: str) -> bool:
        return isinstance(await self._copy(etag, absent=True), Taken)

    async def _parts(self, etag: str) -> bool:
        return await _or_false(lambda: self._copies_part(etag))

    async def _copies_part(self, etag: str) -> bool:
        """The whole canary as one part: AWS takes no range of an object below 5 MiB."""
        upload = Upload(self._copy_key, None, None, "text/plain", self._upload.metadata)
        upload_id = await self._store.begin(upload, None)
        try:
            try:
                await self._copier.copy_part("", self._location, etag, self._copy_key, upload_id, 1, None)
            except Transient:
                if not await self._store.parts(self._copy_key, upload_id):
                    raise
                # An answer without an ETag, and a part all the same: rclone stores an empty one.
            parts = await self._store.parts(self._copy_key, upload_id)
        finally:
            await patiently(partial(self._store.abort, self._copy_key, upload_id))
        return [(part.number, part.size) for part in parts] == [(1, len(CANARY))]

    def _tell(self, found: Capabilities) -> None:
        if not found.copies:
            self.findings.append(Finding("server-side copy", None, "none: the bytes pass through here"))
            return
        lacking = [
            text
            for text, has in (
                ("loses what an object carries, so it is told", found.copy_keeps),
                ("does not look at the source's ETag", found.copy_pinned),
                ("would overwrite, so the destination is listed first", found.copy_absent),
                ("copies no parts", found.copy_parts),
            )
            if not has
        ]
        self.findings.append(Finding("server-side copy", True, "; ".join(["works", *lacking])))


async def _content(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def _or_false(question: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await patiently(question)
    except Forbidden:
        return False
    except ObjectError as error:
        if error.exit_status == 3:
            raise
        return False
