"""The destination bucket: what each operation of the Store port is in S3. One call is one attempt."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from migrator.clients import aws
from migrator.clients.connection import Answer
from migrator.clients.pages import Position, next_position, page_query
from migrator.clients.refusals import DAMAGED, read_element, read_error, shown
from migrator.clients.s3 import S3Client
from migrator.clients.signing import UNSIGNED, encode_query
from migrator.core.config import Destination, Transfer
from migrator.core.errors import (
    Changed,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    ObjectError,
    PreflightError,
    Throttled,
    Transient,
)
from migrator.core.keys import key_problem
from migrator.core.model import CANARY, SMALL, Side
from migrator.core.objects import NULL_VERSION, PUT_ID, Digest, Guards, Part, Placed, Standing, Taken, Upload
from migrator.core.places import Place
from migrator.stores.s3_copy import Places, S3Copier, send_copy
from migrator.stores.s3_headers import (
    Constants,
    absence,
    bare,
    checksum,
    checksum_headers,
    completion,
    digest_headers,
    md5,
    part_query,
    placed,
    read_keys,
    replacing,
    standing_of,
)
from migrator.stores.s3_versions import Version, list_versions, version_beneath, versioning

if TYPE_CHECKING:
    from migrator.core.orphans import Listed, Unfinished


class S3Store:
    """One bucket. ETags are without quotes everywhere in here and never taken for a hash."""

    def __init__(self, access: aws.Access, client: S3Client, destination: Destination, transfer: Transfer) -> None:
        self.requests = access.requests
        self.bucket = access.bucket
        self._access = access
        self._client = client
        self._region = destination.region
        self._transfer = transfer
        self._constants = Constants(destination)
        self._tells_final_etag = False

    @classmethod
    async def open(cls, destination: Destination, transfer: Transfer, *, bucket: str | None = None) -> "S3Store":
        """Connects to `bucket` (default: the destination's). Raises PreflightError without usable credentials."""
        access = await aws.connect(destination, transfer, bucket or destination.bucket)
        return cls(access, S3Client(access, transfer), destination, transfer)

    async def close(self) -> None:
        """Gives connections back. Idempotent."""
        await self._client.close()
        await self._access.close()

    async def check_bucket(self) -> None:
        """Raises PreflightError unless the bucket exists in our region; Transient and Throttled come as they are.

        Where s3:ListBucket is missing the bucket looks forbidden: then the first put will tell.
        """
        try:
            answer = await self._client.send("HEAD BUCKET", "HEAD", "", {}, accept=(400, 403, 404))
            if answer.status in (400, 403):
                # The answer to HEAD has no words (and not every server names the region in a header). A listing is
                # refused for the same reason and says it.
                with suppress(Forbidden):
                    await self._client.send("LIST", "GET", "", {}, query="list-type=2&max-keys=1")
        except (Transient, Throttled):
            raise
        except ObjectError as error:
            raise PreflightError(error.message, error.hint) from error
        if answer.status == 404:
            raise PreflightError(
                f"bucket {self.bucket} does not exist", "create it with `migrator setup`, or correct destination.bucket"
            )

    def refuses(self, key: str) -> str | None:
        """Why this destination cannot hold `key` byte for byte; None when it can."""
        return key_problem(key)

    async def put(self, upload: Upload, body: bytes, guards: Guards) -> Placed | Taken:
        """Stores a whole object in one request; with Digest.READ_BACK it is read again afterwards."""
        sha256 = upload.sha256 or hashlib.sha256(body).digest()
        headers = self._constants.upload_headers(upload) | absence(guards)
        headers |= await digest_headers(body, sha256, guards.digest)
        payload = UNSIGNED if guards.digest.only else sha256.hex()
        try:
            answer = await self._send_over(
                "PUT", "PUT", upload.key, guards.replace, headers, body=body, payload=payload
            )
        except Conflict:
            return Taken()
        except Gone:
            if guards.replace:
                return Taken()  # what was to be replaced is no longer there
            raise
        if guards.digest is Digest.READ_BACK:
            await self._read_back(upload.key, len(body), sha256)
        return placed(answer.headers)

    async def _send_over(
        self, operation: str, method: str, key: str, etag: str | None, headers: dict[str, str], **more: Any
    ) -> Answer:
        """`send` to where an object of this ETag stands, if one is named; it was looked at just before.

        Who refuses the condition is asked without it. So is who says that it does not hold where its own HEAD says so:
        Swift compares the ETag of an object in parts with another than it tells.
        """
        try:
            return await self._client.send(operation, method, key, headers, optional=replacing(etag), **more)
        except Conflict:
            standing = await self.head(key) if etag else None
            if standing is None or standing.etag != etag:
                raise
        return await self._client.send(operation, method, key, headers, **more)

    async def head(self, key: str, version_id: str | None = None) -> Standing | None:
        """What stands under `key`, or is that version of it; None only for a 404."""
        answer = await self._client.head(key, query=_version_query(version_id), accept=(404,))
        return None if answer.status == 404 else standing_of(answer.headers)

    def read(self, key: str) -> AsyncIterator[bytes]:
        """The object's bytes in pieces."""
        return self._client.stream(key)

    async def delete(self, key: str, version_id: str | None = None, etag: str | None = None) -> None:
        """Removes an object; an absent one is no error. Most servers do not look at `etag`."""
        await self._send_over("DELETE", "DELETE", key, etag, {}, query=_version_query(version_id), accept=(404,))

    async def beneath(self, key: str, version_id: str) -> Standing | None:
        """What `version_id` of `key` covers; None also where versions may not be listed or read."""
        lower = version_beneath(await self._versions(key) or (), version_id)
        try:
            return await self.head(key, lower.id) if lower else None
        except (Forbidden, Invalid):
            return None

    async def purge(self, key: str) -> None:
        """Removes every version of an object of our own. Whenever it is killed, what is left is listed."""
        versions = await self._versions(key)
        if versions is None:
            await self.delete(key)
            return
        # Versions first: where there are any, a plain delete makes one more, a marker that no listing of keys shows.
        kept = [version.id for version in versions if version.id != NULL_VERSION]
        for version_id in kept:
            await self.delete(key, version_id)
        if len(kept) < len(versions) or (not versions and await self.head(key)):
            await self.delete(key)  # needs no right to delete versions, and leaves a marker where they are suspended
            for version in await self._versions(key) or ():
                await self.delete(key, version.id)

    async def keys(self, prefix: str) -> AsyncIterator[list[str]]:
        """The keys under `prefix`, 1,000 a request."""
        position: Position | None = Position()
        while position is not None:
            answer = await self._client.send("LIST", "GET", "", {}, query=page_query(prefix, position))
            keys = read_keys(answer.body)
            position = next_position(answer.body, position, keys[-1] if keys else "", self._client.side)
            yield keys

    def listed(self, prefix: str, position: str = "") -> "AsyncIterator[tuple[list[Listed], str]]":
        """See `Inventory`."""
        from migrator.stores.s3_inventory import listed  # only `orphans` asks

        return listed(self._client, prefix, position)

    def unfinished(self, prefix: str) -> "AsyncIterator[list[Unfinished]]":
        """See `Inventory`."""
        from migrator.stores.s3_inventory import unfinished

        return unfinished(self._access, prefix)

    async def copy(self, key: str, target: str, etag: str) -> Placed:
        """Server-side copy. Changed: the object no longer has `etag`."""
        headers = self._constants.copy_headers(self.bucket, key, etag)
        try:
            answer = await send_copy(self._client, key, target, headers)
        except Conflict as error:
            raise Changed(f"{shown(key)} is no longer what it was", side=Side.DESTINATION) from error
        return Placed(bare(read_element(answer.body, "ETag")), answer.headers.get("x-amz-version-id"))

    def copier(self, here: Place, place_of: Places) -> S3Copier:
        """What this bucket's server copies into it by itself; `here` is the connection that leads to the bucket."""
        return S3Copier(self._access, self._client, self._constants, here, place_of, self._transfer)

    async def versioned(self) -> bool:
        """Whether versioning is on; a server that has none is not versioned."""
        try:
            return await versioning(self._client) == "Enabled"
        except Invalid:
            return False

    async def begin(self, upload: Upload, digest: Digest | None = Digest.SHA256) -> str:
        """Opens a multipart upload; its parts carry SHA-256 checksums where these are what is checked.

        An upload with checksums asks for those of all parts at its end. Not every server tells that of a copy, and
        some refuse uploads, parts or ends that speak of checksums (OpenStack Swift).
        """
        headers = self._constants.upload_headers(upload)
        if digest and digest.kind is Digest.SHA256:
            headers |= {"x-amz-checksum-algorithm": "SHA256"}
        answer = await self._client.send("CREATE UPLOAD", "POST", upload.key, headers, query="uploads=")
        return self._client.told("CREATE UPLOAD", upload.key, answer, "UploadId")

    async def put_part(
        self, key: str, upload_id: str, number: int, body: bytes, sha256: bytes | None, digest: Digest
    ) -> Part:
        """Sends one part with its digest."""
        headers = await digest_headers(body, sha256 or b"", digest)
        payload = UNSIGNED if digest.only or sha256 is None else sha256.hex()
        query = part_query(upload_id, number)
        answer = await self._client.send("PUT PART", "PUT", key, headers, query=query, body=body, payload=payload)
        summed = sha256 if digest.kind is Digest.SHA256 else None
        return Part(number, len(body), bare(answer.headers.get("etag", "")), summed)

    async def parts(self, key: str, upload_id: str) -> list[Part]:
        """The parts that an open upload already holds."""
        found: list[Part] = []
        marker: dict[str, int] = {}
        while True:
            page = await self._call("LIST PARTS", "list_parts", key, Key=key, UploadId=upload_id, **marker)
            found += [
                Part(entry["PartNumber"], entry["Size"], bare(entry["ETag"]), checksum(entry.get("ChecksumSHA256")))
                for entry in page.get("Parts", ())
            ]
            if not page.get("IsTruncated"):
                return found
            marker = {"PartNumberMarker": page["NextPartNumberMarker"]}

    async def complete(self, upload: Upload, upload_id: str, parts: Sequence[Part], guards: Guards) -> Placed | Taken:
        """Makes the parts one object, as `guards` allow it."""
        body = completion(parts)
        headers = {"content-type": "application/xml"} | absence(guards)
        query, payload = encode_query({"uploadId": upload_id}), hashlib.sha256(body).hexdigest()
        try:
            answer = await self._send_over(
                "COMPLETE UPLOAD", "POST", upload.key, guards.replace, headers, query=query, body=body, payload=payload
            )
        except Conflict:
            return Taken()
        told = bare(self._client.told("COMPLETE UPLOAD", upload.key, answer, "ETag", empty=True))
        return Placed(await self._final_etag(upload, told), answer.headers.get("x-amz-version-id"))

    async def _final_etag(self, upload: Upload, told: str) -> str:
        """The ETag of the completed object: Ceph 16 tells none, rclone another one. Who was right once is trusted."""
        if told and self._tells_final_etag:
            return told
        try:
            standing = await self.head(upload.key)
        except ObjectError:
            return told
        if standing is None or standing.put_id not in (None, upload.metadata.get(PUT_ID)):
            return told
        self._tells_final_etag = standing.etag == told
        return standing.etag

    async def abort(self, key: str, upload_id: str) -> None:
        """Drops an open upload; an absent one is no error."""
        query = encode_query({"uploadId": upload_id})
        await self._client.send("ABORT UPLOAD", "DELETE", key, {}, query=query, accept=(404,))

    async def open_uploads(self, key: str) -> list[tuple[str, float]]:
        """(upload id, start in seconds since the epoch) of every open upload for exactly this key."""
        found: list[tuple[str, float]] = []
        marker: dict[str, str] = {}
        while True:
            try:
                page = await self._call("LIST UPLOADS", "list_multipart_uploads", key, Prefix=key, **marker)
            except Gone:
                return found  # how rclone's server says that there are none
            found += [
                (entry["UploadId"], entry["Initiated"].timestamp())
                for entry in page.get("Uploads", ())
                if entry["Key"] == key
            ]
            if not page.get("IsTruncated"):
                return found
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    async def checks(self, key: str, digest: Digest, upload_id: str | None = None) -> bool:
        """Sends a canary whose digest of this kind is wrong; whether the server refused it."""
        if digest is Digest.READ_BACK:
            return False
        right, wrong = hashlib.sha256(CANARY).digest(), hashlib.sha256(b"other bytes").digest()
        headers = {
            Digest.SHA256: checksum_headers(wrong),
            Digest.MD5: {"content-md5": md5(b"other bytes")},
            Digest.SIGNED: {},
        }[digest.kind]
        operation, query = ("PUT PART", part_query(upload_id, 1)) if upload_id else ("PUT", "")
        payload = UNSIGNED if digest.only else (wrong if digest is Digest.SIGNED else right).hex()
        answer = await self._client.send(
            operation, "PUT", key, headers, query=query, body=CANARY, payload=payload, accept=(400, 403)
        )
        if answer.status < 300:
            return False
        code, _, _ = read_error(answer.body)
        if code in DAMAGED or (code == "SignatureDoesNotMatch" and digest is Digest.SIGNED):
            return True
        raise self._client.error(operation, key, answer)

    async def _versions(self, key: str) -> list[Version] | None:
        """Everything that `key` has; None where versions may not be listed or the server knows none."""
        try:
            return await list_versions(self._client, key)
        except (Forbidden, Invalid):
            return None

    async def _call(self, operation: str, method: str, key: str = "", **parameters: object) -> dict[str, Any]:
        return await self._access.call(operation, method, key, **parameters)

    async def _read_back(self, key: str, size: int, sha256: bytes) -> None:
        if await self._hash_of(key, size) != sha256:
            raise Transient(
                f"PUT {key}: it reads back as other bytes than were sent",
                side=Side.DESTINATION,
                hint="looked at and tried again by itself",
                ambiguous=True,
            )

    async def _hash_of(self, key: str, size: int) -> bytes:
        if size <= SMALL:  # as nearly all are: one whole answer costs less than a stream, and loads nothing
            return hashlib.sha256((await self._client.send("GET", "GET", key, {})).body).digest()
        found = hashlib.sha256()
        async for piece in self._client.stream(key):
            found.update(piece)
        return found.digest()


def _version_query(version_id: str | None) -> str:
    return encode_query({"versionId": version_id}) if version_id else ""
