"""Listings that go on the old way, from a real server that is asked in no other; and what is no listing."""

from collections.abc import Iterator
from urllib.parse import parse_qsl, urlencode

import pytest

from migrator.clients.pages import Position, next_position
from migrator.core.config import Destination, Transfer
from migrator.core.errors import Fatal, Transient
from migrator.core.model import Side
from migrator.sources.bucket import BucketScan
from migrator.stores.s3 import S3Store
from tests.faults.proxy import Forward, Proxy, Rule
from tests.faults.wire import Answer, Request
from tests.servers.s3 import S3Server
from tests.sources.scanning import Scanned, whole
from tests.sources.test_bucket import filled, source

KEYS = sorted([f"p/{number:03d}" for number in range(25)] + ["p/\u00e9 +%&", "p/a'b"])


async def first_version(request: Request, forward: Forward) -> Answer:
    """As before 2016: three parameters that nobody knows, and short pages."""
    path, _, query = request.target.partition("?")
    unknown = ("list-type", "start-after", "continuation-token")
    kept = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] not in unknown]
    request.target = f"{path}?{urlencode([*kept, ('max-keys', '10')])}"
    return await forward(request)


@pytest.fixture
def old_server(moto_server: S3Server) -> Iterator[Proxy]:
    """A server that lists in the first version only."""
    rule = Rule(first_version, method="GET", target=r"list-type=2", times=None)
    with Proxy(f"127.0.0.1:{moto_server.port}", rules=[rule]) as proxy:
        yield proxy


@pytest.fixture
def bucket(moto_server: S3Server) -> str:
    """Three pages of keys."""
    return filled(moto_server, *KEYS)


@pytest.fixture
def scan(old_server: Proxy, bucket: str) -> BucketScan:
    """The bucket as a source."""
    return source(old_server.url, bucket)


def test_a_source_is_listed_to_its_end(scan: BucketScan) -> None:
    assert whole(scan).keys == KEYS


def test_a_source_goes_on_after_any_page(scan: BucketScan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrator.sources.page.PAGE_ENTRIES", 1)
    pages = list(scan.scan(None))
    assert len(pages) == 3
    for number, page in enumerate(pages[:-1], 1):
        left = Scanned(tuple(scan.scan(page.cursor)))
        assert left.keys == Scanned(tuple(pages[number:])).keys


async def test_a_destination_is_listed_to_its_end(old_server: Proxy, bucket: str) -> None:
    store = await S3Store.open(Destination(bucket=bucket, endpoint_url=old_server.url), Transfer())
    try:
        assert [key async for page in store.keys("p/") for key in page] == KEYS
        pages = [page async for page in store.listed("p/")]
        assert [one.key for page, _ in pages for one in page] == KEYS
        assert [one.key async for page, _ in store.listed("p/", pages[0][1]) for one in page] == KEYS[10:]
    finally:
        await store.close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Please log in</body></html>",
        b"<?xml version='1.0'?><Error><Code>InternalError</Code></Error>",
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
    ],
)
def test_what_is_no_page_is_not_the_end_of_a_bucket(body: bytes) -> None:
    with pytest.raises(Transient) as raised:
        next_position(body, Position(), "", Side.SOURCE)
    assert raised.value.side is Side.SOURCE


def after(body: bytes, asked: Position) -> Position | None:
    return next_position(body, asked, "last", Side.DESTINATION)


def test_where_it_goes_on() -> None:
    more = b"<IsTruncated>true</IsTruncated>"
    token = more + b"<NextContinuationToken>t&amp;</NextContinuationToken>"
    assert after(b"<ListBucketResult></ListBucketResult>", Position()) is None
    assert after(token, Position()) == Position(token="t&")
    assert after(more, Position()) == Position(marker="last")
    for body, asked in ((token, Position(token="t&")), (more, Position(marker="last"))):
        with pytest.raises(Fatal, match="the same page again and again"):
            after(body, asked)
