"""The source `bucket`: what it lists on real servers, in pages that can be resumed, whatever the keys are."""

import asyncio
import os
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from migrator.core.config import BucketSource, Transfer
from migrator.core.errors import Fatal, PreflightError, Transient
from migrator.core.keys import Naming
from migrator.core.model import Fault
from migrator.core.places import Place
from migrator.sources.bucket import BucketScan
from tests.servers.endless import endless, key_of
from tests.servers.s3 import S3Server
from tests.servers.scripted import Reply, Request, error_document, scripted
from tests.sources.scanning import Scanned, whole

ODD = ("a+b c%20d?e#f&g.jpg", "x//y", "\u00e9 nfc", "e\u0301 nfd", "\U0001f4f7", "quotes'\"<&amp;>", "z" * 900)


@pytest.fixture(params=["moto", "rclone"])
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each server in turn."""
    found: S3Server = request.getfixturevalue(f"{request.param}_server")
    return found


def source(
    endpoint: str, bucket: str, destination: Place | None = None, *, below: str = "", **settings: Any
) -> BucketScan:
    """A source of one bucket; `below` is the destination's prefix."""
    values = {"type": "bucket", "name": "old", "bucket": bucket, "key": "{path}"} | settings
    place = Place(bucket, endpoint, "us-east-1", "")
    config = BucketSource.model_validate(values)
    naming = Naming(below, ("bucket",))
    return BucketScan(config, naming, place=place, destination=destination, transfer=Transfer())


def filled(server: S3Server, *keys: str, body: bytes = b"body") -> str:
    """A new bucket with these keys."""
    bucket = server.new_bucket()
    for key in keys:
        server.client().put_object(Bucket=bucket, Key=key, Body=body)
    return bucket


async def scanned(scan: BucketScan, cursor: str | None = None) -> Scanned:
    """A whole scan beside a running loop, as a run does it."""
    return Scanned(tuple(await asyncio.to_thread(lambda: list(scan.scan(cursor)))))


def test_every_object_with_its_size_and_etag(server: S3Server) -> None:
    bucket = filled(server, "b/photo.jpg", "a.txt")
    found = whole(source(server.endpoint, bucket, key="new/{dir}/{name}", match="^b/"))
    [item] = found.items
    assert (item.location, item.key, item.size) == (f"s3://{bucket}/b/photo.jpg", "new/b/photo.jpg", 4)
    assert item.fingerprint == server.client().head_object(Bucket=bucket, Key="b/photo.jpg")["ETag"].strip('"')
    assert item.fields == {"bucket": bucket}
    assert item.here is None
    assert [problem.place for problem in found.problems] == [f"s3://{bucket}/a.txt"]


def test_odd_keys_are_byte_exact(server: S3Server) -> None:
    keys = [key for key in ODD if server.name == "moto" or ("//" not in key and "nfd" not in key and len(key) < 250)]
    found = whole(source(server.endpoint, filled(server, *keys)))
    assert found.keys == sorted(keys)
    assert not found.problems


async def test_a_scan_resumes_after_any_page() -> None:
    async with scripted(endless(4_300)) as web:
        scan = source(web.endpoint, "endless")
        pages = (await scanned(scan)).pages
        assert len(pages) >= 3
        assert [item.location for page in pages for item in page.items] == [
            f"s3://endless/{key_of(number)}" for number in range(4_300)
        ]
        for number, page in enumerate(pages):
            rest = [item.key for after in pages[number + 1 :] for item in after.items]
            assert (await scanned(scan, page.cursor)).keys == rest


def test_more_than_a_page_of_real_keys(rclone_server: S3Server) -> None:
    bucket = filled(rclone_server, *(f"dir {i // 7:04d}/file+{i:05d}" for i in range(1_050)), body=b"")
    found = whole(source(rclone_server.endpoint, bucket))
    assert found.keys == [f"dir {i // 7:04d}/file+{i:05d}" for i in range(1_050)]


def test_prefix_filters_and_bounds(moto_server: S3Server) -> None:
    bucket = filled(moto_server, "lots/1/a.jpg", "lots/1/a.tmp", "lots/2/b.jpg", "other/c.jpg", "lots/")
    moto_server.client().put_object(Bucket=bucket, Key="lots/1/empty.jpg", Body=b"")
    settings: dict[str, Any] = {
        "prefix": "lots/",
        "exclude": ("*.tmp",),
        "match": r"^lots/(?P<lot>\d+)/",
        "key": "{lot}/{name}",
    }
    found = whole(source(moto_server.endpoint, bucket, **settings, on_no_match="skip", expect="image"))
    assert found.keys == ["1/a.jpg", "2/b.jpg"]
    assert found.skipped == 2  # a.tmp and the mark of the folder
    [problem] = found.problems
    assert problem.place.endswith("/lots/1/empty.jpg")
    assert problem.message == "an empty object where an image is expected"
    everything = whole(source(moto_server.endpoint, bucket, max_size=3))
    assert everything.keys == ["lots/1/empty.jpg"]
    assert {problem.fault for problem in everything.problems} == {Fault.INVALID}
    assert "lots/" in whole(source(moto_server.endpoint, bucket)).keys  # what stands for a folder is an object too


def test_a_bucket_that_is_empty_or_has_nothing_of_the_kind(server: S3Server) -> None:
    assert whole(source(server.endpoint, filled(server))).items == []
    assert whole(source(server.endpoint, filled(server, "a"), prefix="b")).items == []


@pytest.mark.parametrize("spelling", ["http://127.0.0.1:{port}", "http://LOCALHOST:{port}/"])
def test_a_source_knows_that_it_is_the_destination(moto_server: S3Server, spelling: str) -> None:
    bucket = filled(moto_server, "new/_migrator/canary/1", "new/photo.jpg", "_migrator/of-somebody-else")
    there = Place(bucket, spelling.format(port=moto_server.port), "us-east-1", "")
    scan = source(moto_server.endpoint, bucket, there, below="new/", key="x/{path}")
    assert scan.lists_destination
    found = whole(scan)
    assert {item.location: item.here for item in found.items} == {
        f"s3://{bucket}/new/photo.jpg": "new/photo.jpg",
        f"s3://{bucket}/_migrator/of-somebody-else": "_migrator/of-somebody-else",
    }
    elsewhere = source(moto_server.endpoint, bucket, Place("another", "", "us-east-1", ""), key="x/{path}")
    assert not elsewhere.lists_destination
    assert len(whole(elsewhere).items) == 3


def test_a_bucket_that_is_not_there(server: S3Server) -> None:
    with pytest.raises(Fatal, match="NoSuchBucket") as caught:
        whole(source(server.endpoint, "not-there-at-all"))
    assert "bucket of the source" in caught.value.hint


async def test_a_bucket_that_may_not_be_listed() -> None:
    async with scripted(lambda _: Reply(403, error_document("AccessDenied"))) as server:
        with pytest.raises(PreflightError) as caught:
            await scanned(source(server.endpoint, "somebody-elses"))
    assert "s3:ListBucket" in caught.value.hint


LAST = 9_999_999_999


def in_its_own_order(count: int) -> Callable[[Request], Reply]:
    """A server whose keys come in no order and that goes on by token only, as S3's directory buckets do."""

    def script(request: Request) -> Reply:
        target = request.target.replace("start-after", "ignored")
        page = endless(count)(Request(request.method, target, request.headers, request.body)).body
        return Reply(body=re.sub(rb"%2B(\d+)\.", lambda found: b"%%2B%010d." % (LAST - int(found[1])), page))

    return script


def its_key(number: int) -> str:
    return key_of(number).replace(f"{number:010}", f"{LAST - number:010}")


async def test_keys_in_an_order_of_the_servers_own() -> None:
    keys = [its_key(number) for number in range(7_300)]
    async with scripted(in_its_own_order(7_300)) as server:
        scan = source(server.endpoint, "unordered")
        pages = (await scanned(scan)).pages
        assert len(pages) >= 3
        assert [item.key for page in pages for item in page.items] == keys
        done = 0
        for page in pages[:-1]:
            done += len(page.items)
            assert (await scanned(scan, page.cursor)).keys == keys[done:]
        # Nothing leads behind the last answer of such a server: it is asked for once more.
        assert (await scanned(scan, pages[-1].cursor)).keys == keys[7_000:]


async def test_a_token_that_is_no_longer_taken_begins_anew() -> None:
    expired: list[bool] = []

    def script(request: Request) -> Reply:
        if expired and expired.pop() and "continuation-token" in request.target:
            return Reply(400, error_document("InvalidArgument"))
        return in_its_own_order(7_300)(request)

    async with scripted(script) as server:
        scan = source(server.endpoint, "unordered")
        first = (await scanned(scan)).pages[0]
        expired.append(True)
        assert (await scanned(scan, first.cursor)).keys == [its_key(number) for number in range(7_300)]


async def test_a_server_that_lists_the_same_for_ever_is_refused() -> None:
    def script(request: Request) -> Reply:
        return endless(3_000)(Request(request.method, "/", request.headers, request.body))

    async with scripted(script) as server:
        with pytest.raises(Fatal, match="again and again"):
            await scanned(source(server.endpoint, "deaf"))


async def test_an_answer_that_is_not_whole_may_pass() -> None:
    async with scripted(lambda request: Reply(body=endless(5)(request).body.replace(b"<Size>3", b"<Nothing>3"))) as web:
        with pytest.raises(Transient):
            await scanned(source(web.endpoint, "torn"))


async def test_a_page_of_nothing_but_deleted_objects_is_passed_by_its_token() -> None:
    def script(request: Request) -> Reply:
        if "continuation-token" in request.target:
            return endless(2)(Request("GET", "/", {}, b""))
        return Reply(body=endless(0)(request).body.replace(b"false</IsTruncated>", b"true</IsTruncated>" + TOKEN))

    async with scripted(script) as server:
        assert len((await scanned(source(server.endpoint, "emptied"))).items) == 2


TOKEN = b"<NextContinuationToken>next/one+</NextContinuationToken>"

SCAN = r"""
import re, sys
from pathlib import Path
from migrator.core.config import BucketSource, Transfer
from migrator.core.keys import Naming
from migrator.core.places import Place
from migrator.sources.bucket import BucketScan

config = BucketSource(type="bucket", name="b", bucket="endless", key="{lot}/{name}", match=r"^lot (?P<lot>\d+)/")
place = Place("endless", sys.argv[1], "us-east-1", "")
source = BucketScan(config, Naming(), place=place, destination=None, transfer=Transfer())
items = 0
for page in source.scan(None):
    items += len(page.items)
    assert len(page.items) <= 3000
# Not ru_maxrss: that one begins with the peak of whoever started this process.
peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
print(items, page.items[-1].location, int(peak[1]) // 1024)
"""
MOST_MIB = 100


@pytest.mark.parametrize(
    "count", [30_000, pytest.param(1_000_000, marks=[pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(600)])]
)
async def test_listing_takes_the_same_memory_however_many_keys_there_are(count: int) -> None:
    # Coverage in the child would count its own memory.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    async with scripted(endless(count)) as server:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SCAN, server.endpoint, env=plain, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await child.communicate()
        server.requests.clear()
    items, *location, peak = said.decode().split()
    assert int(items) == count
    assert " ".join(location) == f"s3://endless/{key_of(count - 1)}"
    assert int(peak) <= MOST_MIB
