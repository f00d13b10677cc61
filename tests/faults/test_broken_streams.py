"""Large objects whose source breaks off again and again: gone on with where that can be done, and never put together
of two versions."""

from pathlib import Path

import pytest

from tests.faults import actions
from tests.faults.checker import Bucket
from tests.faults.harness import Migration
from tests.faults.proxy import Action, Forward, Proxy, Rule
from tests.faults.servers import Server
from tests.faults.test_rows_buckets import bucket_source, filled
from tests.faults.test_rows_sources import migration_of_urls
from tests.faults.wire import Answer, Request, header
from tests.faults.world import MIB

pytestmark = pytest.mark.faults

WHOLE = b"".join(number.to_bytes(4, "big") for number in range(12 * MIB))
"""48 MiB: more parts than are on the way at once."""
CUT = 20 * MIB
"""Bytes after which every answer breaks off."""
ANSWERS = 5
"""Three are needed where nothing is lost of what an answer brought; a client may throw its last part away."""


def in_ranges(body: bytes, etag: str = '"one"', *, ranges: bool = True) -> Action:
    """A server of one page that gives the rest of it from a byte on (RFC 9110, 14)."""

    async def action(request: Request, forward: Forward) -> Answer:
        del forward
        headers = [("Content-Type", "video/mp4"), ("ETag", etag)]
        wanted = header(request.headers, "range")
        if not ranges or not wanted or header(request.headers, "if-range") not in (None, etag):
            return Answer(200, headers, body)
        first = int(wanted.removeprefix("bytes=").partition("-")[0])
        place = ("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        return Answer(206, [*headers, place], body[first:])

    return action


def of_one_video(folder: Path, bucket: Bucket, origin: Proxy) -> Migration:
    return migration_of_urls(folder, bucket, [f"{origin.url}/video.mp4"], key="{name}")


def test_a_download_is_gone_on_with_where_it_broke_off(folder: Path, bucket: Bucket) -> None:
    rules = [Rule(actions.cut_answer(CUT), times=None), Rule(in_ranges(WHOLE), times=None)]
    with Proxy({}, rules=rules) as origin:
        migration = of_one_video(folder, bucket, origin)
        finished = migration.run()
        assert finished.status == 0, finished.words
        assert origin.count() <= ANSWERS, "it was gone on with, and never begun again"
    assert migration.check({"video.mp4": WHOLE}) == []
    assert migration.rows("SELECT attempts FROM items") == [(1,)]


@pytest.mark.parametrize("etag", ['"one"', 'W/"weak"'])
def test_a_server_without_ranges_or_versions_is_asked_from_the_beginning(
    folder: Path, bucket: Bucket, etag: str
) -> None:
    rules = [
        Rule(actions.cut_answer(CUT), times=2),
        Rule(in_ranges(WHOLE, etag, ranges=etag.startswith("W/")), times=None),
    ]
    with Proxy({}, rules=rules) as origin:
        migration = of_one_video(folder, bucket, origin)
        finished = migration.run()
    assert finished.status == 0, finished.words
    assert migration.check({"video.mp4": WHOLE}) == []


def test_two_versions_are_never_put_together(folder: Path, bucket: Bucket) -> None:
    later = WHOLE[::-1]
    rules = [
        Rule(actions.cut_answer(CUT), times=1),
        Rule(in_ranges(WHOLE), times=1),
        Rule(in_ranges(later, '"two"'), times=None),
    ]
    with Proxy({}, rules=rules) as origin:
        migration = of_one_video(folder, bucket, origin)
        finished = migration.run()
    assert finished.status == 0, finished.words
    assert migration.check({"video.mp4": later}) == []


@pytest.mark.parametrize(
    "server", ["moto", *(pytest.param(name, marks=pytest.mark.slow) for name in ("rclone", "ceph20"))], indirect=True
)
def test_an_object_of_a_bucket_is_gone_on_with_where_it_broke_off(
    folder: Path, server: Server, bucket: Bucket, proxy: Proxy
) -> None:
    old = server.make_bucket(f"{bucket.name}-old")
    filled(old, {"video.mp4": WHOLE})
    # The first time that the rest is asked for, the server is not itself.
    unwell = actions.answer(actions.s3_error(500, "InternalError"))
    proxy.rules.append(Rule(unwell, method="GET", target="video.mp4", skip=1, times=1))
    proxy.rules.append(Rule(actions.cut_answer(CUT), method="GET", target="video.mp4", times=None))
    migration = Migration(folder, bucket, sources=[bucket_source(old, proxy.url)], transfer={"retries": 2})
    finished = migration.run()
    assert finished.status == 0, finished.words
    assert proxy.count("GET", "video.mp4") <= ANSWERS + 1
    assert migration.rows("SELECT attempts FROM items") == [(1,)]
    assert migration.check({"video.mp4": WHOLE}) == []
