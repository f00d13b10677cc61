"""One stored object against what the ledger says of it: is it there, is it whole, does it carry what it should?"""

import asyncio
import hashlib

from msgspec import Struct
from msgspec.structs import replace

from migrator.core.errors import Fatal, Gone, MigratorError, ObjectError, Throttled, Transient
from migrator.core.model import SMALL, Side
from migrator.core.objects import Standing
from migrator.core.ports import Reader, Store
from migrator.core.verification import Expected, Match, Proof, Verification
from migrator.engine.conflict import standing_digest
from migrator.engine.dressed import wrongly_dressed
from migrator.engine.guard import Memory, Pace
from migrator.engine.rules import Rules
from migrator.engine.transfer import HASH_INLINE

NO_DIGEST = "the server copied it and told no digest"


class SourceSeen(Struct, frozen=True):
    """The bytes at a location as they are now. `other`: the source itself says that it is not what was stored."""

    sha256: bytes
    other: bool


class Comparison(Struct, frozen=True):
    """Looks at objects one by one.

    trusted   the server was seen to check the SHA-256 that it keeps: then HEAD is enough
    download  read every byte all the same
    sources   read the sources too
    """

    store: Store
    reader: Reader
    rules: Rules
    trusted: bool
    download: bool
    sources: bool
    memory: Memory
    requests: Pace
    bandwidth: Pace

    async def look(self, expected: Expected) -> Verification:
        """One attempt. Raises an ObjectError where an end does not answer, or refuses."""
        await self.requests.spend(1)
        standing = await self.store.head(expected.key)
        if standing is None:
            return Verification(expected, Match.MISSING, None, "nothing stands under the key")
        if expected.size is not None and standing.size != expected.size:
            text = f"it has {standing.size} bytes, not {expected.size}{_since(expected, standing)}"
            return Verification(expected, Match.DIFFER, None, text)
        try:
            digest, proof = await self._digest(expected, standing)
        except Gone as error:
            if error.side is not Side.DESTINATION:
                raise
            return Verification(expected, Match.MISSING, None, "it was removed while it was looked at")
        if expected.sha256 is None:
            return await self._by_source(expected, standing, digest, proof)
        if digest != expected.sha256:
            text = f"its SHA-256 is {digest.hex()}, not {expected.sha256.hex()}{_since(expected, standing)}"
            return Verification(expected, Match.DIFFER, proof, text)
        seen = self._outwardly(expected, standing, digest, proof)
        if seen.result is Match.MATCH and self.sources and not expected.variant and not expected.source_away:
            return await self._with_source(seen, digest)
        return seen

    async def _digest(self, expected: Expected, standing: Standing) -> tuple[bytes, Proof]:
        """The SHA-256 of what stands there: the one that the server keeps, or by reading every byte."""
        if standing.proven and standing.sha256 and self.trusted and not self.download:
            return standing.sha256, Proof.CHECKSUM
        await self.requests.spend(1)
        await self.bandwidth.spend(standing.size)
        return await standing_digest(self.store, expected.key), Proof.READ

    def _outwardly(self, expected: Expected, standing: Standing, digest: bytes, proof: Proof) -> Verification:
        """What its headers and metadata say, now that its bytes are known to be right."""
        wrong = []
        if expected.put_id:
            metadata = self.rules.metadata_of(expected)
            wrong = wrongly_dressed(standing, expected.content_type, metadata, self.rules.headers)
        if not wrong:
            return Verification(expected, Match.MATCH, proof, "", digest)
        text = f"its bytes are what was stored, but {', '.join(wrong)}{_since(expected, standing)}"
        return Verification(expected, Match.DIFFER, proof, text, digest)

    async def _by_source(self, expected: Expected, standing: Standing, digest: bytes, proof: Proof) -> Verification:
        """Of a copy whose digest nobody told, the source's bytes are the measure, as long as it has them."""
        unproven = f"; {NO_DIGEST}" + (
            ", and its ETag is still that of the copy" if expected.etag and standing.etag == expected.etag else ""
        )
        try:
            source = await self._source(expected)
        except (Transient, Throttled):
            raise
        except MigratorError as error:
            if self.sources and isinstance(error, Fatal):
                raise
            text = f"nothing is left to compare its bytes with, because its source cannot be read ({error}){unproven}"
            return Verification(expected, Match.UNKNOWN, None, text)
        if source.sha256 == digest:
            return self._outwardly(expected, standing, digest, proof)
        if source.other:
            text = f"nothing is left to compare its bytes with, because its source has changed since{unproven}"
            return Verification(expected, Match.UNKNOWN, None, text)
        text = f"its SHA-256 is {digest.hex()}, that of its source {source.sha256.hex()}{_since(expected, standing)}"
        return Verification(expected, Match.DIFFER, proof, text)

    async def _with_source(self, seen: Verification, digest: bytes) -> Verification:
        """The object is right; is its source still what was stored?"""
        try:
            source = await self._source(seen.expected)
        except (Transient, Throttled, Fatal):
            raise
        except Gone as error:
            return replace(seen, result=Match.DIFFER, message=f"it is what was stored, but its source is gone: {error}")
        except ObjectError as error:
            text = f"it is what was stored, but its source cannot be read: {error}"
            return replace(seen, result=Match.UNKNOWN, message=text)
        if source.sha256 == digest:
            return seen
        text = f"it is what was stored, but its source has other bytes now (SHA-256 {source.sha256.hex()})"
        return replace(seen, result=Match.DIFFER, message=text)

    async def _source(self, expected: Expected) -> SourceSeen:
        """Reads the location as it is now, whatever the scan saw of it."""
        whole = hashlib.sha256()
        held = await self.memory.take(SMALL if expected.size is None else min(expected.size, SMALL))
        try:
            async with self.reader.open(replace(expected.task, fingerprint=None, size=None)) as body:
                while piece := await body.read(SMALL):
                    if len(piece) <= HASH_INLINE:
                        whole.update(piece)
                    else:
                        await asyncio.to_thread(whole.update, piece)
                await body.check()
                now = body.fingerprint
        finally:
            self.memory.give(held)
        return SourceSeen(whole.digest(), bool(now and expected.fingerprint and now != expected.fingerprint))


def _since(expected: Expected, standing: Standing) -> str:
    """Whether it was damaged where it stands or is another object by now, as far as that can be told."""
    if expected.put_id and standing.put_id not in (expected.put_id, None):
        return f"; somebody else put it there (its mark is {standing.put_id})"
    if expected.etag and standing.etag != expected.etag:
        return "; it was written again since it was stored"
    return ""
