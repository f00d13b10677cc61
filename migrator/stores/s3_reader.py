"""Reader of `s3://` locations: what a bucket lists is what is read, a small object in one request."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from migrator.clients.aws import Accounts
from migrator.clients.dates import http_date
from migrator.clients.described import describe, read_tags, tag_count
from migrator.clients.idle import Idle
from migrator.clients.listing import PAYER
from migrator.clients.refusals import shown
from migrator.clients.s3 import S3Client
from migrator.core.config import Transfer
from migrator.core.errors import Changed, Conflict, Invalid, Transient, Truncated
from migrator.core.model import SMALL, Side, Task
from migrator.core.objects import Description
from migrator.core.places import Place, s3_parts

if TYPE_CHECKING:
    from migrator.clients.incoming import Incoming


class S3Reader:
    """Opens objects of buckets. `place_of` (source, bucket) tells by which connection a bucket is read."""

    def __init__(self, place_of: Callable[[str, str], Place], transfer: Transfer) -> None:
        self._place_of = place_of
        self._transfer = transfer
        self._clients: dict[tuple[str, str], S3Client] = {}
        self._of_places: dict[Place, S3Client] = {}
        self._accounts = Accounts(transfer)
        self._idle = Idle(transfer.concurrency)
        self._connecting = asyncio.Lock()

    async def reach(self, task: Task) -> None:
        """A run knows few endpoints: the first read connects."""

    def open(self, task: Task) -> AbstractAsyncContextManager["S3Body"]:
        """Nothing is asked before the first read, so that no bytes come before there is room for them.

        Reading raises Gone, Forbidden, Archived, Changed, Invalid, Throttled, Transient or Fatal.
        """
        return S3Body(task, self)

    async def client(self, source: str, bucket: str) -> S3Client:
        """The client by which `source` reads `bucket`."""
        known = self._clients.get((source, bucket))
        if known:
            return known
        async with self._connecting:
            place = self._place_of(source, bucket)
            if place not in self._of_places:
                access = await self._accounts.access(place, bucket)
                always = PAYER if place.request_payer else None
                self._of_places[place] = S3Client(
                    access, self._transfer, side=Side.SOURCE, always=always, idle=self._idle
                )
            return self._clients.setdefault((source, bucket), self._of_places[place])

    async def close(self) -> None:
        """Closes all connections. Idempotent."""
        for client in self._of_places.values():
            await client.close()
        await self._accounts.close()


class S3Body:
    """The bytes of one object, all of one version: the one that was listed, else the one that the first answer had."""

    def __init__(self, task: Task, reader: S3Reader) -> None:
        self._task = task
        self._reader = reader
        self._client: S3Client | None = None
        self._bucket, self._key = s3_parts(task.location)
        self._held = b""
        self._incoming: Incoming | None = None
        self._offset = 0
        self.size: int | None = task.size
        self.content_type: str | None = None
        self.modified: float | None = None
        self.fingerprint: str | None = task.fingerprint
        self.description: Description | None = None

    async def __aenter__(self) -> "S3Body":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._incoming:
            self._incoming.close()

    async def read(self, limit: int) -> bytes:
        """The next bytes. Raises Truncated when the answer ends before the size that it announced."""
        if self._client is None:
            self._client = await self._reader.client(self._task.source, self._bucket)
            try:
                await self._begin(self._client, limit)
            except Conflict as error:
                raise self._changed() from error
        assert self.size is not None
        wanted = min(limit, self.size - self._offset)
        if self._offset == 0 and wanted == len(self._held):
            data, self._held = self._held, b""  # nearly every object: nothing is copied
        else:
            data = await self._gather(self._client, wanted)
        self._offset += len(data)
        if len(data) < wanted:
            raise Truncated(f"{shown(self._task.location)} sent {self._offset} of its {self.size} bytes")
        return data

    async def go_on(self) -> bool:
        """The next `read` asks for the rest of a stream that broke off."""
        if self.description is None or not self.fingerprint:  # not even its first answer was whole
            return False
        if self._incoming:
            self._incoming.close()
        self._incoming, self._held = None, b""
        return True

    async def check(self) -> None:
        """An answer is one version of its object: nothing is left to check."""

    async def _begin(self, client: S3Client, limit: int) -> None:
        """The first answer: the whole object where it is small, its first bytes where nobody knows, else a stream."""
        if self.size is None:
            answer = await self._first_bytes(client, min(limit, SMALL + 1))
            self._held = answer[1]
            await self._learn(client, answer[0])
        elif self.size <= SMALL:
            whole = await client.send("GET", "GET", self._key, self._condition())
            self._held = whole.body
            await self._learn(client, whole.headers)
        else:
            self._incoming = await client.open(self._key, self._condition())
            await self._learn(client, self._incoming.headers)

    async def _first_bytes(self, client: S3Client, size: int) -> tuple[Mapping[str, str], bytes]:
        headers = {**self._condition(), "range": f"bytes=0-{max(size, 1) - 1}"}
        answer = await client.send("GET", "GET", self._key, headers, accept=(416,))
        if answer.status == 416:  # an empty object has no first byte
            answer = await client.send("GET", "GET", self._key, self._condition())
        return answer.headers, answer.body

    async def _learn(self, client: S3Client, headers: Mapping[str, str]) -> None:
        etag = headers.get("etag", "").strip('"')
        total = headers.get("content-range", "").rpartition("/")[2] or headers.get("content-length", "")
        if not total.isdecimal():
            raise Transient(f"GET {shown(self._key)}: the answer tells no length", side=Side.SOURCE)
        # Some servers take no notice of If-Match.
        if (self.fingerprint and etag != self.fingerprint) or self.size not in (None, int(total)):
            raise self._changed()
        self.fingerprint, self.size = etag or None, int(total)
        self.content_type = headers.get("content-type")
        self.modified = http_date(headers.get("last-modified", ""))
        tags = await self._tags(client) if tag_count(headers) else None
        self.description = describe(headers, tags)

    async def _tags(self, client: S3Client) -> dict[str, str]:
        return read_tags((await client.send("GET TAGS", "GET", self._key, {}, query="tagging=")).body)

    async def _gather(self, client: S3Client, wanted: int) -> bytes:
        """`wanted` bytes of what is held and what comes; fewer only where no more come."""
        pieces = [self._held[:wanted]] if self._held else []
        self._held = self._held[wanted:]
        missing = wanted - sum(map(len, pieces))
        if missing and self._incoming is None:
            start = self._offset + wanted - missing
            try:
                self._incoming = await client.open(self._key, {**self._condition(), "range": f"bytes={start}-"})
            except Conflict as error:
                raise self._changed() from error
            if self._incoming.headers.get("etag", "").strip('"') != (self.fingerprint or ""):
                raise self._changed()
            # Not the status: rclone's server says 200.
            if not self._incoming.headers.get("content-range", "").startswith(f"bytes {start}-"):
                raise Invalid(f"{shown(self._task.location)}: the server sends no part of an object")
        while missing and self._incoming and (piece := await self._incoming.read(missing)):
            pieces.append(piece)
            missing -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _condition(self) -> dict[str, str]:
        # Without quotes, as everywhere in here: Ceph 16 takes no others.
        return {"if-match": self.fingerprint} if self.fingerprint else {}

    def _changed(self) -> Changed:
        return Changed(f"{shown(self._task.location)} is no longer what was listed")
