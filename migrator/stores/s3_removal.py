"""Sources that are objects of buckets: hidden by a delete marker where there are versions, else deleted."""

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from migrator.clients.aws import Accounts
from migrator.clients.idle import Idle
from migrator.clients.listing import PAYER
from migrator.clients.refusals import shown
from migrator.clients.s3 import S3Client
from migrator.clients.signing import encode_query
from migrator.core.cleaning import Candidate, Found, Gone, Removal, SourceSeen, Way, Where
from migrator.core.config import Transfer
from migrator.core.errors import Changed, Conflict, Invalid, Unconditional
from migrator.core.model import Side
from migrator.core.objects import Standing
from migrator.core.places import Place, s3_parts
from migrator.core.ports import Store
from migrator.stores.s3_conditions import Asking, Conditions, Note
from migrator.stores.s3_headers import standing_of
from migrator.stores.s3_versions import Version

CLOCKS = 5.0
"""Seconds by which the server's clock may be behind ours when a delete marker is taken for our own."""

_UNCONDITIONAL = (
    "its server does not look at the ETag when it deletes (or no canary could be put), so it might delete what somebody"
    " has just put there"
)


class _Bucket:
    """A bucket that is open: its connection, and what it honours."""

    def __init__(self, asking: Asking) -> None:
        self.asking = asking
        self.conditions: Conditions | None = None
        self.lock = asyncio.Lock()

    @property
    def client(self) -> S3Client:
        return self.asking.client


class S3Remover:
    """Fills in `Remover` for `s3://` locations.

    destination        the store of a destination that is a bucket
    without_condition  delete also where a server does not look at the ETag: then HEAD comes right before
    """

    def __init__(
        self,
        place_of: Callable[[str, str], Place],
        transfer: Transfer,
        *,
        destination: Store | None,
        destination_bucket: str,
        without_condition: bool,
        note: Note,
    ) -> None:
        self._place_of = place_of
        self._transfer = transfer
        self._accounts = Accounts(transfer)
        self._idle = Idle(transfer.concurrency)
        self._destination = destination
        self._destination_bucket = destination_bucket
        self._without_condition = without_condition
        self._note = note
        self._buckets: dict[Place, _Bucket] = {}
        self._connecting = asyncio.Lock()

    async def look(self, candidate: Candidate) -> SourceSeen | None:
        """See the port. Invalid where its items reach it by more than one connection: nobody knows if that is one."""
        source, location = candidate.task.source, candidate.location
        if len({self._place_of(claim.task.source, s3_parts(location)[0]) for claim in candidate.claims}) > 1:
            raise Invalid(f"{shown(location)}: several sources name it, and reach its bucket by different connections")
        bucket, key = await self._open(source, location)
        standing = await self._head(bucket, key)
        if standing is None:
            return None
        conditions = await self._conditions(bucket, source)
        # Where no canary could tell, a bucket of the same name counts as the same.
        same_name = self._destination is not None and bucket.asking.access.bucket == self._destination_bucket
        here = key if (same_name if conditions.here is None else conditions.here) else None
        return SourceSeen(standing.size, standing.etag, standing.version_id, standing.modified, here, standing.put_id)

    async def way(self, source: str, location: str, seen: SourceSeen) -> tuple[Way, str | None]:
        """See the port."""
        bucket, key = await self._open(source, location)
        conditions = await self._conditions(bucket, source)
        if conditions.status == "Enabled":
            return Way.MARKER, None
        if conditions.status == "Suspended":
            raise Invalid(
                f"{shown(key)}: versioning is suspended, so deleting it might delete an older version as well",
                hint="turn versioning on, or delete it yourself",
            )
        if conditions.status is None and seen.version_id:
            raise Invalid(f"{shown(key)}: nobody may ask whether its bucket has versions (s3:GetBucketVersioning)")
        if not conditions.conditional and not self._without_condition:
            raise Unconditional(f"{shown(key)}: {_UNCONDITIONAL}", hint="--without-condition does it all the same")
        return Way.DELETE, None

    async def remove(self, removal: Removal) -> Removal:
        """See the port."""
        bucket, key = await self._open(removal.source, removal.location)
        conditional = (await self._conditions(bucket, removal.source)).conditional
        if not conditional:
            self._check(removal, await self._head(bucket, key))
        headers = {"if-match": removal.fingerprint} if conditional else {}
        try:
            answer = await bucket.client.send("DELETE", "DELETE", key, headers, accept=(404,))
        except Conflict:
            raise Changed(f"{shown(removal.location)} has changed since it was looked at") from None
        if removal.way is Way.DELETE:
            return replace(removal, state=Gone.DELETED)
        marker = answer.headers.get("x-amz-version-id", "")
        if not conditional or not marker:
            marker = await self._check_hidden(bucket, key, removal, marker)
        return replace(removal, state=Gone.TRASHED, marker_id=marker)

    async def _check_hidden(self, bucket: _Bucket, key: str, removal: Removal, marker: str) -> str:
        """Without a condition the marker may hide what somebody put there meanwhile: then it goes again."""
        versions = await bucket.asking.versions(key)
        mine = next((n for n, one in enumerate(versions) if one.marker and one.id == (marker or versions[0].id)), None)
        if mine is None:
            raise Changed(f"{shown(removal.location)}: its delete marker is not there any more")
        if mine + 1 < len(versions) and versions[mine + 1].id == removal.version_id:
            return versions[mine].id
        await self._delete_version(bucket, key, versions[mine].id)
        raise Changed(f"{shown(removal.location)} was replaced while it was deleted, and stands again")

    def _check(self, removal: Removal, standing: Standing | None) -> None:
        if standing is None or standing.etag != removal.fingerprint:
            raise Changed(f"{shown(removal.location)} has changed since it was looked at")

    async def find(self, removal: Removal) -> Found:
        """See the port."""
        bucket, key = await self._open(removal.source, removal.location)
        if removal.way is Way.MARKER:
            return _find_version(removal, await bucket.asking.versions(key))
        standing = await self._head(bucket, key)
        if standing is not None and standing.etag == removal.fingerprint:
            return Found(Where.SOURCE)
        if standing is None:
            return Found(Where.LOST, "it was deleted, and its bucket keeps no versions")
        return Found(Where.LOST, "something else stands at its place, and its bucket keeps no versions")

    async def restore(self, removal: Removal) -> None:
        """See the port."""
        bucket, key = await self._open(removal.source, removal.location)
        assert removal.marker_id is not None
        await self._delete_version(bucket, key, removal.marker_id)
        found = _find_version(removal, await bucket.asking.versions(key))
        if found.where is not Where.SOURCE:
            raise Conflict(f"{shown(removal.location)}: {found.message or 'it is hidden still'}", side=Side.SOURCE)

    async def purge(self, removal: Removal) -> None:
        """See the port. The marker goes too where it is all that is left; else it would bring older versions back."""
        bucket, key = await self._open(removal.source, removal.location)
        assert removal.version_id is not None
        await self._delete_version(bucket, key, removal.version_id)
        left = await bucket.asking.versions(key)
        if [one.id for one in left] == [removal.marker_id]:
            await self._delete_version(bucket, key, left[0].id)

    async def sweep(self, source: str, bucket: str, key: str) -> None:
        """Removes the canary that an earlier process left."""
        opened, _ = await self._open(source, f"s3://{bucket}/{key}")
        await opened.asking.sweep(key)

    async def close(self) -> None:
        """Gives connections back. Idempotent."""
        while self._buckets:
            _, bucket = self._buckets.popitem()
            await bucket.client.close()
        await self._accounts.close()

    async def _open(self, source: str, location: str) -> tuple[_Bucket, str]:
        name, key = s3_parts(location)
        place = self._place_of(source, name)
        if place not in self._buckets:
            async with self._connecting:
                if place not in self._buckets:
                    self._buckets[place] = await self._connect(place, name)
        return self._buckets[place], key

    async def _connect(self, place: Place, name: str) -> _Bucket:
        access = await self._accounts.access(place, name)
        always = PAYER if place.request_payer else None
        client = S3Client(access, self._transfer, side=Side.SOURCE, always=always, idle=self._idle)
        return _Bucket(Asking(access, client, self._destination))

    async def _conditions(self, bucket: _Bucket, source: str) -> Conditions:
        async with bucket.lock:
            if bucket.conditions is None:
                bucket.conditions = await bucket.asking.ask(source, self._note)
        return bucket.conditions

    async def _head(self, bucket: _Bucket, key: str) -> Standing | None:
        answer = await bucket.client.head(key, accept=(404,))
        return None if answer.status == 404 else standing_of(answer.headers)

    async def _delete_version(self, bucket: _Bucket, key: str, version: str) -> None:
        query = encode_query({"versionId": version})
        await bucket.client.send("DELETE", "DELETE", key, {}, query=query, accept=(404,))


def _find_version(removal: Removal, versions: list[Version]) -> Found:
    """The marker that was noted, or one right above the version that was put there after we meant to."""
    place = next((n for n, one in enumerate(versions) if one.id == removal.version_id and not one.marker), None)
    if place is None:
        return Found(Where.LOST, "its version is not there any more")
    if place == 0:
        if versions[0].latest:
            return Found(Where.SOURCE)
        # Swift, when the marker over a key that is not ASCII has gone.
        unseen = f"nothing hides its version {removal.version_id}, and yet its server does not show it"
        return Found(Where.COVERED, unseen)
    above = versions[place - 1]
    ours = above.marker and (
        above.id == removal.marker_id
        or (removal.state is Gone.INTENDED and above.modified >= removal.intended_at - CLOCKS)
    )
    if not ours:
        return Found(Where.COVERED, "it is hidden by something that somebody else put there")
    if place > 1:
        return Found(Where.COVERED, "something else stands at its place since", above.id)
    return Found(Where.TRASH, "", above.id)
