"""What the S3 store sends and keeps beyond the contract of every store: headers, request counts, versions."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from migrator.core.config import Destination, Transfer
from migrator.core.errors import PreflightError
from migrator.core.model import MIB
from migrator.core.objects import PUT_ID, Digest, Guards, Placed, Upload
from migrator.stores.s3 import S3Store
from tests.servers.s3 import S3Server

from .contract import BODY, OTHER, upload_of

ABSENT = Guards(absent=True, digest=Digest.SHA256)
FREE = Guards(absent=False, digest=Digest.SHA256)
WANTED: dict[str, Any] = {
    "cache_control": "public, max-age=31536000, immutable",
    "content_disposition": "inline",
    "storage_class": "STANDARD_IA",
    "sse": "AES256",
    "acl": "private",
}


@asynccontextmanager
async def opened(server: S3Server, *, line: S3Server | None = None, **wanted: Any) -> AsyncIterator[S3Store]:
    """A store on a new bucket of `server`, reached over `line` where one is given."""
    endpoint = (line or server).endpoint
    destination = Destination(bucket=server.new_bucket(), endpoint_url=endpoint, **wanted)
    store = await S3Store.open(destination, Transfer(concurrency=4))
    try:
        yield store
    finally:
        await store.close()


async def send_parts(store: S3Store, upload: Upload, body: bytes) -> None:
    """Stores `body` as a multipart upload of one part."""
    upload_id = await store.begin(upload)
    sha256 = hashlib.sha256(body).digest()
    part = await store.put_part(upload.key, upload_id, 1, body, sha256, Digest.SHA256)
    await store.complete(upload, upload_id, [part], ABSENT)


@pytest.mark.parametrize("how", ["put", "multipart", "copy"])
async def test_an_object_carries_what_the_configuration_says(moto_server: S3Server, how: str) -> None:
    tagged = replace(upload_of(BODY), tags={"lot": "42 + 43", "house": "a/b=c"})
    async with opened(moto_server, **WANTED) as store:
        if how == "multipart":
            await send_parts(store, replace(tagged, size=None, sha256=None), BODY)
        else:
            await store.put(tagged, BODY, ABSENT)
        key = tagged.key
        if how == "copy":
            standing = await store.head(key)
            assert standing is not None
            await store.copy(key, "copied.jpg", standing.etag)
            key = "copied.jpg"
        client = moto_server.client()
        found = client.get_object(Bucket=store.bucket, Key=key)
        tags = client.get_object_tagging(Bucket=store.bucket, Key=key)["TagSet"]
    assert found["Body"].read() == BODY
    assert found["CacheControl"] == WANTED["cache_control"]
    assert found["ContentDisposition"] == "inline"
    assert found["StorageClass"] == "STANDARD_IA"
    assert found["ServerSideEncryption"] == "AES256"
    assert found["ContentType"] == "image/jpeg"
    assert found["Metadata"][PUT_ID] == "ledger/1"
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"lot": "42 + 43", "house": "a/b=c"}


async def test_metadata_beyond_ascii_is_percent_encoded(moto_server: S3Server) -> None:
    async with opened(moto_server) as store:
        await store.put(upload_of(BODY, title="Été 100%", plain="100% cotton  twice"), BODY, ABSENT)
        standing = await store.head("photos/one.jpg")
    assert standing is not None
    assert standing.metadata["title"] == "%C3%89t%C3%A9 100%25"
    assert standing.metadata["plain"] == "100% cotton  twice"


class TestCounting:
    """One billable request an object: counted on the wire, and told alike."""

    async def test_one_request_a_put(self, rclone_server: S3Server) -> None:
        async with counted(rclone_server) as (line, seen), opened(rclone_server, line=line) as store:
            for digest in (Digest.SHA256, Digest.MD5, Digest.SIGNED):
                key = f"{digest}.jpg"
                await store.put(upload_of(BODY, key), BODY, Guards(absent=True, digest=digest))
                assert seen == [f"PUT /{store.bucket}/{key}"]
                seen.clear()
            assert store.requests == {"PUT": 3}

    @pytest.mark.parametrize(("name", "heads"), [("moto", 1), ("rclone", 2)])
    async def test_large_objects(self, request: pytest.FixtureRequest, name: str, heads: int) -> None:
        """Whether the completion's ETag is the object's is asked once, or where it was another one."""
        server: S3Server = request.getfixturevalue(f"{name}_server")
        async with counted(server) as (line, seen), opened(server, line=line) as store:
            for key in ("one.jpg", "two.jpg"):
                upload = replace(upload_of(b"", key), size=None, sha256=None)
                await send_parts(store, upload, bytes(3 * MIB))
            assert [line.split()[0] for line in seen[:4]] == ["POST", "PUT", "POST", "HEAD"]
            assert len(seen) == 6 + heads
            assert store.requests == {"CREATE UPLOAD": 2, "PUT PART": 2, "COMPLETE UPLOAD": 2, "HEAD": heads}


class TestVersions:
    """A bucket that keeps what was overwritten."""

    async def test_versioning_is_seen(self, moto_server: S3Server) -> None:
        async with opened(moto_server) as store:
            assert await store.versioned() is False
            enable_versioning(moto_server, store.bucket)
            assert await store.versioned() is True

    async def test_each_put_tells_its_version(self, moto_server: S3Server) -> None:
        async with opened(moto_server) as store:
            enable_versioning(moto_server, store.bucket)
            first = await store.put(upload_of(BODY), BODY, FREE)
            second = await store.put(upload_of(OTHER), OTHER, FREE)
            assert isinstance(first, Placed)
            assert isinstance(second, Placed)
            assert first.version_id
            assert first.version_id != second.version_id
            await store.delete("photos/one.jpg", second.version_id)
            standing = await store.head("photos/one.jpg")
            assert standing is not None
            assert standing.version_id == first.version_id

    async def test_what_a_version_covers(self, server: S3Server) -> None:
        if server.name == "rclone":
            pytest.skip(f"{server.name} keeps no versions")
        async with opened(server) as store:
            enable_versioning(server, store.bucket)
            placed = [await store.put(upload_of(body, "a"), body, FREE) for body in (b"one", b"two", b"three")]
            await store.put(upload_of(OTHER, "a-neighbour"), OTHER, FREE)
            first, second, third = [one.version_id for one in placed if isinstance(one, Placed)]
            beneath = [await store.beneath("a", version or "") for version in (third, second, first, "unknown")]
            assert [one and (one.version_id, one.size) for one in beneath] == [(second, 3), (first, 3), None, None]

    async def test_what_a_delete_marker_hides_is_not_covered(self, server: S3Server) -> None:
        if server.name == "rclone":
            pytest.skip(f"{server.name} keeps no versions")
        async with opened(server) as store:
            enable_versioning(server, store.bucket)
            await store.put(upload_of(BODY, "a"), BODY, FREE)
            await store.delete("a")
            ours = await store.put(upload_of(OTHER, "a"), OTHER, FREE)
            assert isinstance(ours, Placed)
            assert await store.beneath("a", ours.version_id or "") is None

    async def test_purge_leaves_no_version_and_no_marker(self, server: S3Server) -> None:
        if server.name == "rclone":
            pytest.skip(f"{server.name} keeps no versions")
        async with opened(server) as store:
            enable_versioning(server, store.bucket)
            for key in ("canary", "canary-2"):
                await store.put(upload_of(BODY, key), BODY, FREE)
                await store.put(upload_of(OTHER, key), OTHER, FREE)
            await store.purge("canary")
            await store.purge("absent")
            left = server.client().list_object_versions(Bucket=store.bucket)
        assert {entry["Key"] for entry in left["Versions"]} == {"canary-2"}
        assert "DeleteMarkers" not in left

    async def test_purge_where_versions_are_suspended(self, server: S3Server) -> None:
        if server.name in ("rclone", "seaweedfs", "swift"):
            pytest.skip(f"{server.name} keeps no versions, or a marker called null, or those of before, for good")
        async with opened(server) as store:
            await store.put(upload_of(BODY, "a"), BODY, FREE)
            enable_versioning(server, store.bucket)
            await store.put(upload_of(OTHER, "a"), OTHER, FREE)
            suspended = {"Status": "Suspended"}
            server.client().put_bucket_versioning(Bucket=store.bucket, VersioningConfiguration=suspended)
            for key in ("a", "b"):
                await store.put(upload_of(BODY, key), BODY, FREE)
                await store.purge(key)
            left = server.client().list_object_versions(Bucket=store.bucket)
        assert "Versions" not in left
        assert "DeleteMarkers" not in left


class TestBucket:
    """Whether the bucket can be used at all."""

    async def test_a_good_one(self, rclone_server: S3Server) -> None:
        async with opened(rclone_server) as store:
            await store.check_bucket()

    async def test_one_that_does_not_exist(self, rclone_server: S3Server) -> None:
        destination = Destination(bucket="not-there", endpoint_url=rclone_server.endpoint)
        store = await S3Store.open(destination, Transfer())
        try:
            with pytest.raises(PreflightError, match="not-there does not exist"):
                await store.check_bucket()
        finally:
            await store.close()

    async def test_wrong_credentials(self, rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
        bucket = rclone_server.new_bucket()
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "somebody-elses-secret-key-canary")
        destination = Destination(bucket=bucket, endpoint_url=rclone_server.endpoint)
        store = await S3Store.open(destination, Transfer())
        try:
            with pytest.raises(PreflightError) as caught:
                await store.check_bucket()
            assert "canary" not in str(caught.value)
        finally:
            await store.close()


def enable_versioning(server: S3Server, bucket: str) -> None:
    server.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


@asynccontextmanager
async def counted(server: S3Server) -> AsyncIterator[tuple[S3Server, list[str]]]:
    """A line to `server` on which each request is seen as `METHOD /path`, whatever the client says it sent."""
    seen: list[str] = []
    lines: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: list[str] | None) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(2**16):
                first = piece.split(b"\r\n", 1)[0]
                if requests is not None and first.endswith(b"HTTP/1.1"):
                    requests.append(first.decode().rpartition(" ")[0].partition("?")[0])
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", server.port)
        lines.update({asyncio.create_task(pump(reader, back, seen)), asyncio.create_task(pump(there, writer, None))})

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield S3Server("counted", listener.sockets[0].getsockname()[1]), seen
    finally:
        listener.close()
        await asyncio.gather(*lines)
