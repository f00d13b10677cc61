"""Copies by the server: the contract on every S3 server of this machine, and which buckets one server reaches."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from migrator.core.config import Destination, Transfer
from migrator.core.errors import Archived, Forbidden, ObjectError, Transient
from migrator.core.model import Side
from migrator.core.objects import Copied
from migrator.core.places import Place
from migrator.stores.s3 import S3Store
from migrator.stores.s3_copy import S3Copier
from tests.servers.s3 import S3Server
from tests.servers.scripted import Reply, Request, error_document, scripted

from .contract import BODY
from .copier_contract import CopierContract, Expected, World, rich

SERVERS = {
    "moto": Expected(pinned=False),
    "rclone": Expected(pinned=False, parts=False, tags=False, forgets=False),
    "ceph16": Expected(pinned=False, retags=False),
    "ceph20": Expected(),
    "seaweedfs": Expected(absent=True),
    "localstack": Expected(absent=True, spares=False),
    "swift": Expected(refuses_conditions=True, tags=False),
}
"""What was seen of each; docs/reference/servers.md says it in words."""

COPY_DONE = b"<CopyObjectResult><ETag>&quot;0123456789abcdef0123456789abcdef&quot;</ETag></CopyObjectResult>"


@pytest.fixture
def expected(server: S3Server) -> Expected:
    """What this server honours."""
    return SERVERS[server.name]


@pytest.fixture
async def world(server: S3Server) -> AsyncIterator[World]:
    """Two buckets of one server."""
    transfer = Transfer(concurrency=4)
    stores = [
        await S3Store.open(Destination(bucket=server.new_bucket(), endpoint_url=server.endpoint), transfer)
        for _ in range(2)
    ]
    origin, target = stores
    here = Place(target.bucket, server.endpoint, "us-east-1", "")
    copier = target.copier(here, lambda _, bucket: Place(bucket, server.endpoint, "us-east-1", ""))
    yield World(origin, target, copier, origin.bucket, target.bucket)
    await copier.close()
    for store in stores:
        await store.close()


class TestS3Copier(CopierContract):
    """Every server, every promise."""


@pytest.mark.parametrize(
    ("endpoint", "reached"),
    [
        ("http://127.0.0.1:9000", True),
        ("http://localhost:9000/", True),
        ("http://127.0.0.1:9001", False),
        ("http://127.0.0.2:9000", False),
        ("https://127.0.0.1:9000", False),
    ],
)
async def test_which_servers_are_one(endpoint: str, reached: bool) -> None:
    async with copier_to("http://127.0.0.1:9000", Place("old", endpoint, "us-east-1", "")) as copier:
        hindrance = await copier.hindrance("source", "s3://old/a.jpg")
    assert (hindrance == "") is reached
    assert reached or "another server" in hindrance


async def test_other_credentials_hinder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = tmp_path / "credentials"
    profiles.write_text(
        "[same]\naws_access_key_id = AKIAMIGRATORTEST0001\naws_secret_access_key = x\n"
        "[other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = x\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profiles))
    for profile, reached in (("same", True), ("other", False)):
        place = Place("old", "http://127.0.0.1:9000", "us-east-1", profile)
        async with copier_to("http://127.0.0.1:9000", place) as copier:
            assert (await copier.hindrance("source", "s3://old/a.jpg") == "") is reached


@pytest.mark.parametrize("body", [error_document("InternalError"), b"", b"<CopyObjectResult></CopyObjectResult>"])
async def test_a_200_that_turns_into_an_error_is_a_failure(body: bytes) -> None:
    async with scripted(lambda _: Reply(200, body)) as server, copier_to(server.endpoint) as copier:
        for copying in (
            copier.copy("source", "s3://old/a.jpg", "etag", "new.jpg", False),
            copier.copy_part("source", "s3://old/a.jpg", "etag", "new.jpg", "upload", 1, (0, 9)),
        ):
            with pytest.raises(Transient) as caught:
                await copying
            assert caught.value.ambiguous


async def test_a_busy_server_that_said_200_is_not_hurried() -> None:
    body = error_document("SlowDown")
    async with scripted(lambda _: Reply(200, body)) as server, copier_to(server.endpoint) as copier:
        with pytest.raises(ObjectError) as caught:
            await copier.copy("source", "s3://old/a.jpg", "etag", "new.jpg", False)
    assert caught.value.fault == "throttled"


async def test_an_archived_object_is_a_fault_of_the_source() -> None:
    refused = Reply(403, error_document("InvalidObjectState"))
    async with scripted(lambda _: refused) as server, copier_to(server.endpoint) as copier:
        with pytest.raises(Archived) as caught:
            await copier.copy("source", "s3://old/a.jpg", "etag", "new.jpg", False)
    assert caught.value.side is Side.SOURCE


async def test_a_refusal_is_one_of_the_destination() -> None:
    refused = Reply(403, error_document("AccessDenied"))
    async with scripted(lambda _: refused) as server, copier_to(server.endpoint) as copier:
        with pytest.raises(Forbidden) as caught:
            await copier.copy("source", "s3://old/a.jpg", "etag", "new.jpg", False)
    assert caught.value.side is Side.DESTINATION
    assert "s3:GetObject" in str(caught.value)


async def test_requests_say_who_pays_and_which_version_is_meant() -> None:
    async with scripted(lambda _: Reply(200, COPY_DONE)) as server:
        place = Place("old", server.endpoint, "us-east-1", "", request_payer=True)
        async with copier_to(server.endpoint, place) as copier:
            answer = await copier.copy("source", "s3://old/a b.jpg", "etag", "new.jpg", False)
            await copier.copy_part("source", "s3://old/a b.jpg", "etag", "new.jpg", "upload", 2, (5, 9))
    assert isinstance(answer, Copied)
    assert answer.etag == "0123456789abcdef0123456789abcdef"
    for request in server.requests:
        assert request.headers["x-amz-copy-source"] == "/old/a%20b.jpg"
        assert request.headers["x-amz-copy-source-if-match"] == "etag"
        assert request.headers["x-amz-request-payer"] == "requester"
    assert server.requests[1].headers["x-amz-copy-source-range"] == "bytes=5-9"


@pytest.mark.parametrize("tells", [True, False])
async def test_a_digest_is_asked_for_where_the_server_tells_it(tells: bool) -> None:
    told = b"<ChecksumSHA256>LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=</ChecksumSHA256>" if tells else b""
    done = Reply(200, COPY_DONE.replace(b"</CopyObjectResult>", told + b"</CopyObjectResult>"))
    async with scripted(lambda _: done) as server, copier_to(server.endpoint) as copier:
        for key in ("one.jpg", "two.jpg"):
            answer = await copier.copy("source", "s3://old/a.jpg", "etag", key, False)
            assert isinstance(answer, Copied)
            assert (answer.sha256 is not None) is tells
    asked = ["x-amz-checksum-algorithm" in request.headers for request in server.requests]
    assert asked == [True, tells]


async def test_412_for_a_taken_key_is_told_from_one_for_another_version() -> None:
    standing = {"etag": '"etag"'}

    def answer(request: Request) -> Reply:
        return (
            Reply(200, headers=standing)
            if request.method == "HEAD"
            else Reply(412, error_document("PreconditionFailed"))
        )

    async with scripted(answer) as server, copier_to(server.endpoint) as copier:
        taken = await copier.copy("source", "s3://old/a.jpg", "etag", "new.jpg", True)
        assert not isinstance(taken, Copied)
        standing["etag"] = '"another"'
        with pytest.raises(ObjectError) as caught:
            await copier.copy("source", "s3://old/a.jpg", "etag", "new.jpg", True)
    assert caught.value.fault == "changed"


@pytest.mark.parametrize("wanted", [{"storage_class": "STANDARD_IA"}, {"acl": "public-read"}, {"sse": "AES256"}])
async def test_a_copy_is_stored_as_configured(moto_server: S3Server, wanted: dict[str, str]) -> None:
    client = moto_server.client()
    bucket, old = moto_server.new_bucket(), moto_server.new_bucket()
    etag = client.put_object(Bucket=old, Key="a.jpg", Body=BODY, StorageClass="REDUCED_REDUNDANCY")["ETag"].strip('"')
    destination = Destination.model_validate({"bucket": bucket, "endpoint_url": moto_server.endpoint} | wanted)
    store = await S3Store.open(destination, Transfer())
    place = Place(bucket, moto_server.endpoint, "us-east-1", "")
    copier = store.copier(place, lambda _, name: Place(name, moto_server.endpoint, "us-east-1", ""))
    await copier.copy("source", f"s3://{old}/a.jpg", etag, "plain.jpg", False)
    await copier.copy("source", f"s3://{old}/a.jpg", etag, rich(BODY, "told.jpg"), False)
    for key in ("plain.jpg", "told.jpg"):
        found = client.head_object(Bucket=bucket, Key=key)
        grants = client.get_object_acl(Bucket=bucket, Key=key)["Grants"]
        assert found.get("StorageClass", "STANDARD") == wanted.get("storage_class", "STANDARD")
        assert found.get("ServerSideEncryption", "") == wanted.get("sse", "")
        assert any(grant["Permission"] == "READ" for grant in grants) is ("acl" in wanted)
    await copier.close()
    await store.close()


@asynccontextmanager
async def copier_to(endpoint: str, place: Place | None = None) -> AsyncIterator[S3Copier]:
    """A copier into the bucket `new` of `endpoint`, whose sources are all at `place`."""
    store = await S3Store.open(Destination(bucket="new", endpoint_url=endpoint), Transfer())
    there = place or Place("old", endpoint, "us-east-1", "")
    copier = store.copier(Place("new", endpoint, "us-east-1", ""), lambda *_: there)
    try:
        yield copier
    finally:
        await copier.close()
        await store.close()
