"""The reader of `s3://` locations on every server that is here: one version, whole, with what it carries."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from migrator.core.config import Transfer
from migrator.core.errors import Archived, Changed, Forbidden, Gone, ObjectError, Transient
from migrator.core.model import MIB, SMALL, Side, Task
from migrator.core.places import Place
from migrator.stores.s3_reader import S3Reader
from tests.servers import s3
from tests.servers.s3 import S3Server, ServerMissing
from tests.servers.scripted import Reply, Request, error_document, scripted

CARRIED = {
    "ContentType": "image/x-raw",
    "CacheControl": "max-age=60",
    "ContentDisposition": 'inline; filename="a b.raw"',
    "ContentLanguage": "de",
    "Metadata": {"lot": "42"},
}


@pytest.fixture(scope="session", params=["moto", "rclone", "ceph20"])
def server(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    """Each server in turn."""
    name: str = request.param
    if not name.startswith("ceph"):
        yield request.getfixturevalue(f"{name}_server")
        return
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip(f"{name}: one instance for all, so not in parallel tests; `make conformance` runs it")
    with ExitStack() as stack:
        try:
            running = stack.enter_context(s3.ceph(20))
        except ServerMissing as missing:
            pytest.skip(str(missing))
        yield running


@pytest.fixture
async def reader(server: S3Server) -> AsyncIterator[S3Reader]:
    """A reader of any bucket of the server."""
    async for one in reading(server.endpoint):
        yield one


async def reading(endpoint: str) -> AsyncIterator[S3Reader]:
    opened = S3Reader(lambda _, bucket: Place(bucket, endpoint, "us-east-1", ""), Transfer())
    try:
        yield opened
    finally:
        await opened.close()
        await opened.close()


def task(bucket: str, key: str, size: int | None = None, etag: str | None = None) -> Task:
    return Task(1, "ledger/1", "old", f"s3://{bucket}/{key}", key, size, etag)


def put(server: S3Server, key: str, body: bytes, **more: Any) -> tuple[str, str]:
    """(bucket, ETag) of a new object in a new bucket."""
    bucket = server.new_bucket()
    answer = server.client().put_object(Bucket=bucket, Key=key, Body=body, **more)
    return bucket, answer["ETag"].strip('"')


async def whole(reader: S3Reader, wanted: Task, piece: int) -> bytes:
    """All of it, read in pieces."""
    pieces = []
    async with reader.open(wanted) as body:
        while data := await body.read(piece):
            pieces.append(data)
        await body.check()
    assert all(len(one) == piece for one in pieces[:-1])
    return b"".join(pieces)


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "size unknown"])
@pytest.mark.parametrize("size", [0, 1, 100_000, SMALL, SMALL + 1, SMALL + 2, 20 * MIB])
async def test_bytes_of_every_size_in_pieces_of_any(
    server: S3Server, reader: S3Reader, size: int, listed: bool
) -> None:
    content = os.urandom(size)
    bucket, etag = put(server, "a+b %20?c", content)
    wanted = task(bucket, "a+b %20?c", size if listed else None, etag if listed else None)
    for piece in (SMALL + 1, 3 * MIB, 64 * MIB) if size > MIB else (1 + size // 3, SMALL + 1):
        assert await whole(reader, wanted, piece) == content


@pytest.mark.parametrize("size", [5, 9 * MIB])
@pytest.mark.parametrize("listed", [True, False], ids=["listed", "size unknown"])
async def test_what_an_object_carries(server: S3Server, reader: S3Reader, size: int, listed: bool) -> None:
    bucket, etag = put(server, "a.raw", b"x" * size, **CARRIED, Tagging="house=north%20wing&lot=1%2B2")
    async with reader.open(task(bucket, "a.raw", size if listed else None)) as body:
        await body.read(1_000)
        assert (body.size, body.content_type, body.fingerprint) == (size, "image/x-raw", etag)
        assert body.modified is not None
        description = body.description
    assert description is not None
    assert description.headers == {
        "cache-control": "max-age=60",
        "content-disposition": 'inline; filename="a b.raw"',
        "content-language": "de",
    }
    assert description.metadata["lot"] == "42"
    assert description.tags == (None if server.name == "rclone" else {"house": "north wing", "lot": "1+2"})


@pytest.mark.parametrize("size", [5, 9 * MIB])
async def test_another_version_than_was_listed(server: S3Server, reader: S3Reader, size: int) -> None:
    bucket, etag = put(server, "a", b"x" * size)
    server.client().put_object(Bucket=bucket, Key="a", Body=b"y" * size)
    with pytest.raises(Changed, match="no longer what was listed"):
        await whole(reader, task(bucket, "a", size, etag), SMALL + 1)
    assert await whole(reader, task(bucket, "a"), SMALL + 1) == b"y" * size


async def test_a_version_that_changes_between_two_answers(server: S3Server, reader: S3Reader) -> None:
    bucket, _ = put(server, "a", b"x" * (9 * MIB))
    async with reader.open(task(bucket, "a")) as body:
        assert await body.read(SMALL + 1) == b"x" * (SMALL + 1)
        server.client().put_object(Bucket=bucket, Key="a", Body=b"y" * (9 * MIB))
        with pytest.raises(Changed):
            await body.read(MIB)


async def test_what_is_not_there(server: S3Server, reader: S3Reader) -> None:
    with pytest.raises(Gone) as caught:
        await whole(reader, task(server.new_bucket(), "absent", 5, "etag"), 10)
    assert caught.value.side is Side.SOURCE


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(403, "InvalidObjectState", Archived), (403, "AccessDenied", Forbidden), (500, "InternalError", Transient)],
)
@pytest.mark.parametrize("size", [5, 9 * MIB, None])
async def test_refusals_are_the_source_s(status: int, code: str, kind: type[ObjectError], size: int | None) -> None:
    async with scripted(lambda _: Reply(status, error_document(code))) as world:
        async for reader in reading(world.endpoint):
            with pytest.raises(kind) as caught:
                await whole(reader, task("bucket", "key", size), SMALL + 1)
    assert caught.value.side is Side.SOURCE
    assert not caught.value.ambiguous


@pytest.mark.parametrize("size", [5, 9 * MIB])
async def test_a_server_that_ignores_if_match_is_seen_through(size: int) -> None:
    reply = Reply(200, b"y" * size, {"etag": '"another"'})
    async with scripted(lambda _: reply) as world:
        async for reader in reading(world.endpoint):
            with pytest.raises(Changed):
                await whole(reader, task("bucket", "key", size, "listed"), SMALL + 1)
            assert world.requests[0].headers["if-match"] == "listed"


@pytest.mark.parametrize("size", [5, 9 * MIB])
async def test_an_answer_that_breaks_off_is_tried_again(size: int) -> None:
    torn = Reply(200, b"x" * (size - 1), {"etag": '"e"', "content-length": str(size)}, close=True)
    async with scripted(lambda _: torn) as world:
        async for reader in reading(world.endpoint):
            with pytest.raises(Transient):
                await whole(reader, task("bucket", "key", size, "e"), SMALL + 1)


async def test_nothing_is_asked_before_there_is_room_for_the_bytes() -> None:
    async with scripted(lambda _: Reply(200, b"12345")) as world:
        async for reader in reading(world.endpoint):
            async with reader.open(task("bucket", "key", 5)) as body:
                assert body.size == 5
                assert not world.requests
                assert await body.read(5) == b"12345"
            assert len(world.requests) == 1


async def test_who_makes_requests_pays_for_them() -> None:
    def script(request: Request) -> Reply:
        paid = request.headers.get("x-amz-request-payer") == "requester"
        return Reply(200, b"12345", {"etag": "e"}) if paid else Reply(403, error_document("AccessDenied"))

    async with scripted(script) as world:
        reader = S3Reader(lambda _, bucket: Place(bucket, world.endpoint, "r", "", bucket == "paid"), Transfer())
        assert await whole(reader, task("paid", "key", 5), 5) == b"12345"
        with pytest.raises(Forbidden):
            await whole(reader, task("unpaid", "key", 5), 5)
        await reader.close()
