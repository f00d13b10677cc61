"""What a bucket that sources lie in honours when something is deleted; asked with canaries, never with an object."""

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from secrets import token_hex

from msgspec import Struct, field

from migrator.clients.aws import Access
from migrator.clients.s3 import S3Client
from migrator.clients.signing import encode_query
from migrator.core.errors import Forbidden, Invalid
from migrator.core.model import CANARY, RESERVED_PREFIX
from migrator.core.ports import Store
from migrator.stores.s3_headers import bare
from migrator.stores.s3_versions import Version, list_versions, versioning

FOLDER = f"{RESERVED_PREFIX}canary/"
"""Below this the canaries stand, in the source's own bucket."""

_OTHER = "0" * 32
"""The ETag of nothing."""

Note = Callable[[str, str, str], Awaitable[None]]
"""Is told (source, bucket, key) before a canary is put, and with an empty key when it is gone."""


class Conditions(Struct, frozen=True):
    """What a bucket was seen to do.

    status       of its versioning: Enabled, Suspended, or empty for none; None where nobody may ask
    conditional  it deletes an object only while that has the ETag that was named
    here         it is the destination's bucket; None where no canary could be put, so that nobody knows
    """

    status: str | None
    conditional: bool
    here: bool | None


class Asking(Struct, frozen=True):
    """One bucket, and the destination in which its canary must not show up.

    canary  its key: the same for every try, so that the one that was noted is the one that stands
    """

    access: Access
    client: S3Client
    destination: Store | None
    canary: str = field(default_factory=lambda: FOLDER + token_hex(8))

    async def ask(self, source: str, note: Note) -> Conditions:
        """Asks everything and leaves nothing behind. Raises Transient, Throttled, Fatal."""
        status, conditional, here = await self.versioning(), False, None
        await note(source, self.access.bucket, self.canary)
        with suppress(Forbidden, Invalid):
            etag = await self._put_canary()
            here = await self._shows_up()
            conditional = await self._delete(_OTHER) == 412 and await self._delete(etag) < 300
        await self.sweep(self.canary)
        await note(source, self.access.bucket, "")
        return Conditions(status, conditional, here)

    async def versioning(self) -> str | None:
        """The bucket's own word; empty where it has no versions."""
        try:
            return await versioning(self.client)
        except Invalid:
            return ""  # a server that knows no versions
        except Forbidden:
            return None

    async def _put_canary(self) -> str:
        digest = hashlib.sha256(CANARY).hexdigest()
        answer = await self.client.send("PUT", "PUT", self.canary, {}, body=CANARY, payload=digest)
        return bare(answer.headers.get("etag", ""))

    async def _shows_up(self) -> bool | None:
        """Whether the canary stands in the destination too; None where that does not tell what is absent."""
        if self.destination is None:
            return False
        try:
            return await self.destination.head(self.canary) is not None
        except Forbidden:
            return None

    async def _delete(self, etag: str) -> int:
        accepted = (400, 404, 409, 412, 501)
        answer = await self.client.send("DELETE", "DELETE", self.canary, {"if-match": etag}, accept=accepted)
        return answer.status

    async def sweep(self, key: str) -> None:
        """Removes a canary with all its versions, as far as that is allowed."""
        with suppress(Forbidden):
            await self.client.send("DELETE", "DELETE", key, {}, accept=(404,))
        with suppress(Forbidden, Invalid):
            for version in await self.versions(key):
                query = encode_query({"versionId": version.id})
                await self.client.send("DELETE", "DELETE", key, {}, query=query, accept=(404,))

    async def versions(self, key: str) -> list[Version]:
        """Versions and delete markers of exactly this key, the newest first."""
        return await list_versions(self.client, key)
