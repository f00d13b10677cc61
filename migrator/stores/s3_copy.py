"""Copies that the destination's own server makes, as S3 requests: CopyObject, UploadPartCopy, and what HEAD tells."""

import functools
from collections.abc import Callable

from migrator.clients.aws import Access, connect
from migrator.clients.connection import Answer
from migrator.clients.dates import http_date
from migrator.clients.described import describe, read_tags, tag_count
from migrator.clients.listing import PAYER
from migrator.clients.refusals import read_element, shown
from migrator.clients.s3 import S3Client
from migrator.clients.signing import quote_key
from migrator.core.config import Transfer
from migrator.core.errors import Archived, Changed, Conflict, Gone
from migrator.core.model import Side
from migrator.core.objects import Copied, Described, Part, Taken, Upload
from migrator.core.places import Place, s3_parts
from migrator.stores.s3_headers import Constants, bare, checksum, part_query, standing_of
from migrator.stores.s3_reader import S3Reader

Places = Callable[[str, str], Place]
"""(source, bucket) -> the connection by which that source reads the bucket."""


class S3Copier:
    """Copies into one bucket by requests to that bucket. `here` is the connection that leads to it."""

    def __init__(
        self, access: Access, client: S3Client, constants: Constants, here: Place, place_of: Places, transfer: Transfer
    ) -> None:
        self._access = access
        self._client = client
        self._constants = constants
        self._here = here
        self._place_of = functools.cache(place_of)
        self._transfer = transfer
        self._readers = S3Reader(place_of, transfer)
        self._hindrances: dict[Place, str] = {}
        self._tells_digest = True

    async def close(self) -> None:
        """Gives connections to the sources back. Idempotent."""
        await self._readers.close()

    async def hindrance(self, source: str, location: str) -> str:
        """Why this server cannot reach `location`: another server, or other credentials, lead to it."""
        place = self._place_of(source, s3_parts(location)[0])
        found = self._hindrances.get(place)
        if found is None:
            found = self._hindrances[place] = await self._hindrance(place)
        return found

    async def _hindrance(self, place: Place) -> str:
        here = self._here
        if (place.endpoint_url, place.profile) == (here.endpoint_url, here.profile):
            return ""
        there = await connect(place, self._transfer, place.bucket)
        try:
            if there.server != self._access.server:
                return f"the bucket {place.bucket} is on another server than the destination"
            if place.profile == here.profile:
                return ""
            keys = [(await access.identity.credentials()).access_key for access in (there, self._access)]
            if keys[0] != keys[1]:
                return f"the bucket {place.bucket} is read with other credentials than the destination's"
            return ""
        finally:
            await there.close()

    async def describe(self, source: str, location: str) -> Described:
        """HEAD of the object at `location`, and its tags where it has some."""
        bucket, key = s3_parts(location)
        client = await self._readers.client(source, bucket)
        answer = await client.head(key)
        return await _described(client, key, answer)

    async def standing(self, key: str) -> Described | None:
        """The same of the destination; None only for a 404."""
        answer = await self._client.head(key, accept=(404,))
        return None if answer.status == 404 else await _described(self._client, key, answer)

    async def copy(self, source: str, location: str, etag: str, target: Upload | str, absent: bool) -> Copied | Taken:
        """One CopyObject. Asks for a SHA-256 of the copy, as long as the server tells it."""
        bucket, key = s3_parts(location)
        place = self._place_of(source, bucket)
        if isinstance(target, str):
            headers, name = self._constants.copy_headers(bucket, key, etag), target
        else:
            headers, name = self._constants.altering_copy_headers(bucket, key, etag, target), target.key
        summed = {"x-amz-checksum-algorithm": "SHA256"} if self._tells_digest else None
        if absent:
            headers["if-none-match"] = "*"
        if place.request_payer:
            headers |= PAYER
        try:
            answer = await send_copy(self._client, key, name, headers, optional=summed)
        except Conflict as error:
            if absent and (await self.describe(source, location)).etag == etag:
                return Taken()
            raise Changed(f"{shown(location)} is no longer what was listed") from error
        except (Gone, Archived) as error:
            error.side = Side.SOURCE
            raise
        # Ceph never tells it, and takes 5% longer when it is asked.
        self._tells_digest = b"<ChecksumSHA256>" in answer.body
        whole = read_element(answer.body, "ChecksumType") != "COMPOSITE"
        return Copied(
            bare(read_element(answer.body, "ETag")),
            answer.headers.get("x-amz-version-id"),
            checksum(read_element(answer.body, "ChecksumSHA256")) if whole else None,
        )

    async def copy_part(
        self, source: str, location: str, etag: str, key: str, upload_id: str, number: int, span: tuple[int, int] | None
    ) -> Part:
        """One UploadPartCopy."""
        bucket, original = s3_parts(location)
        headers = {"x-amz-copy-source": f"/{bucket}/{quote_key(original)}", "x-amz-copy-source-if-match": etag}
        if span:
            headers["x-amz-copy-source-range"] = f"bytes={span[0]}-{span[1]}"
        if self._place_of(source, bucket).request_payer:
            headers |= PAYER
        query = part_query(upload_id, number)
        try:
            answer = await send_copy(self._client, original, key, headers, "COPY PART", query)
        except Conflict as error:
            raise Changed(f"{shown(location)} is no longer what was listed") from error
        except Archived as error:
            error.side = Side.SOURCE
            raise
        sha256 = checksum(read_element(answer.body, "ChecksumSHA256"))
        size = span[1] - span[0] + 1 if span else -1
        return Part(number, size, bare(read_element(answer.body, "ETag")), sha256)


async def send_copy(
    client: S3Client,
    key: str,
    target: str,
    headers: dict[str, str],
    operation: str = "COPY",
    query: str = "",
    optional: dict[str, str] | None = None,
) -> Answer:
    """Sends a copy of `key` to `target`. An answer that names no ETag is a failure, whatever its status.

    The server begins its answer before it knows how the copy ends: 200, and then an error document or nothing at all.
    """
    answer = await client.send(operation, "PUT", target, headers, query=query, optional=optional)
    client.told(operation, key, answer, "ETag")
    return answer


async def _described(client: S3Client, key: str, answer: Answer) -> Described:
    headers = answer.headers
    tags = None
    if tag_count(headers):
        tags = read_tags((await client.send("GET TAGS", "GET", key, {}, query="tagging=")).body)
    standing = standing_of(headers)
    return Described(
        standing.size,
        standing.etag,
        standing.content_type,
        describe(headers, tags),
        standing.sha256 if standing.proven else None,
        http_date(headers.get("last-modified", "")),
        headers.get("x-amz-storage-class", ""),
        standing.version_id,
    )
