"""Rows 9, 11, 16, 17, 23, 29 and 31 where the source is a bucket: what is refused, what changes, what is its own place.

The source is reached by another endpoint (a proxy) than the destination, so its bytes pass through the tool.
"""

import json
import sys
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.faults import actions
from tests.faults.actions import answer, s3_error
from tests.faults.checker import Bucket
from tests.faults.harness import Migration
from tests.faults.proxy import Action, Forward, Proxy, Rule
from tests.faults.servers import Server
from tests.faults.wire import Answer, Request, header

pytestmark = pytest.mark.faults

MIB = 1024 * 1024
SMALL = {f"dir{i % 3}/file{i}.bin": bytes([i]) * 700 for i in range(12)}
ODD_KEYS = (
    "a+b%41%2f#c?d&e=f;g,h:i@j$k!l*m(n)",
    "?query#fragment%",
    "double//slash///x",
    " leading and trailing space ",
    "trailing/slash/",
    "nfc-\u00e9/nfd-e\u0301",
    "nfd-e\u0301/nfc-\u00e9",
    "emoji/\U0001f4f7\U0001f468\u200d\U0001f469.jpg",
    "quotes'\"`<>&amp;&#39;",
    "back\\slash",
    "control-\x01\x1f\x7f-characters",
    "s3://looks/like?a=location",
    "k" * 1024,
)
REFUSED_KEYS = ("/leading", "a/../b", "./a", "a/.")


@pytest.fixture
def old(server: Server, bucket: Bucket) -> Bucket:
    """The bucket that is to be moved."""
    return server.make_bucket(f"{bucket.name}-old")


def filled(bucket: Bucket, contents: Mapping[str, bytes] = SMALL, **more: Any) -> dict[str, bytes]:
    """Puts `contents` into the bucket."""
    for key, body in contents.items():
        bucket.client().put_object(Bucket=bucket.name, Key=key, Body=body, **more)
    return dict(contents)


def bucket_source(old: Bucket, endpoint: str, **keys: Any) -> dict[str, Any]:
    """A source of all of `old`, reached by `endpoint`."""
    return {"type": "bucket", "bucket": old.name, "endpoint_url": endpoint, "key": "{path}", **keys}


def migration_of(folder: Path, bucket: Bucket, old: Bucket, proxy: Proxy, **keys: Any) -> Migration:
    """Moves `old`, read through the proxy, into `bucket`."""
    return Migration(folder, bucket, sources=[bucket_source(old, proxy.url, **keys)])


def assert_only_one_failed(migration: Migration, contents: Mapping[str, bytes], fault: str) -> None:
    """Everything stands but one object, which failed of its own."""
    failed = {key: fault for key, (state, fault) in migration.items().items() if state == "failed"}
    assert list(failed.values()) == [fault]
    assert migration.check({key: body for key, body in contents.items() if key not in failed}, failed) == []


EVERY_SERVER = pytest.mark.parametrize(
    "server", ["moto", *(pytest.param(name, marks=pytest.mark.slow) for name in ("rclone", "ceph20"))], indirect=True
)


@EVERY_SERVER
def test_row_11_odd_keys_of_a_bucket_arrive_byte_for_byte(
    folder: Path, server: Server, bucket: Bucket, old: Bucket, proxy: Proxy
) -> None:
    for number, key in enumerate((*ODD_KEYS, *REFUSED_KEYS)):
        if server.name == "moto" and "control" in key:
            continue  # it takes them, and then cannot list their versions
        if server.name == "rclone" and (
            key.endswith("/") or len(key) > 250 or not unicodedata.is_normalized("NFC", key)
        ):
            continue  # it keeps them under other names, or lists what it could not keep
        try:
            old.client().put_object(Bucket=old.name, Key=key, Body=f"body {number}".encode())
        except Exception:
            assert server.name != "ceph20", key  # the others do not take every key
    standing = {
        entry["Key"]: old.client().get_object(Bucket=old.name, Key=entry["Key"])["Body"].read()
        for page in old.client().get_paginator("list_objects_v2").paginate(Bucket=old.name)
        for entry in page.get("Contents", ())
    }
    assert len(standing) >= 7
    migration = migration_of(folder, bucket, old, proxy)
    finished = migration.run()
    good = {key: body for key, body in standing.items() if key not in REFUSED_KEYS}
    assert finished.status == int(len(good) < len(standing)), finished.words
    assert migration.check(good) == []
    told = [place for (place,) in migration.rows("select place from problems")]
    assert sorted(told) == sorted(f"s3://{old.name}/{key}" for key in standing if key in REFUSED_KEYS)


@EVERY_SERVER
def test_row_09_a_streamed_copy_keeps_what_its_object_carries(
    folder: Path, server: Server, bucket: Bucket, old: Bucket, proxy: Proxy
) -> None:
    carried = {
        "ContentType": "image/x-raw",
        "CacheControl": "max-age=31536000",
        "ContentDisposition": 'attachment; filename="a b.raw"',
        "ContentEncoding": "identity",
        "ContentLanguage": "de",
        "Metadata": {"lot": "42", "title": "%C3%89t%C3%A9  100%"},
    }
    contents = filled(old, {"small.raw": b"small", "large.raw": b"x" * (9 * MIB)}, **carried, Tagging="a=b&c=d+e")
    migration = migration_of(folder, bucket, old, proxy)
    assert migration.run().status == 0
    assert migration.check(contents) == []
    for key in contents:
        before, after = (one.client().get_object(Bucket=one.name, Key=key) for one in (old, bucket))
        same = [name for name in carried if name != "Metadata"]
        assert {name: after.get(name) for name in same} == {name: before.get(name) for name in same}
        assert after["Metadata"].items() >= before["Metadata"].items()
        if server.name != "rclone":  # it has no tags
            tags = [one.client().get_object_tagging(Bucket=one.name, Key=key)["TagSet"] for one in (old, bucket)]
            assert sorted(tags[0], key=str) == sorted(tags[1], key=str)
            assert len(tags[1]) == 2


def test_row_16_an_archived_object_is_its_own_fault(folder: Path, bucket: Bucket, old: Bucket, proxy: Proxy) -> None:
    contents = filled(old)
    proxy.rules.append(Rule(answer(s3_error(403, "InvalidObjectState")), "GET", "file7.bin", times=None))
    migration = migration_of(folder, bucket, old, proxy)
    finished = migration.run()
    assert finished.status == 1, finished.words
    assert "restore it" in finished.words
    assert_only_one_failed(migration, contents, "archived")
    proxy.rules.clear()  # it was restored
    assert migration.run("retry", "--fault", "archived").status == 0
    assert migration.run().status == 0
    assert migration.check(contents) == []


def test_row_16_a_denied_object_is_its_own_fault(folder: Path, bucket: Bucket, old: Bucket, proxy: Proxy) -> None:
    contents = filled(old)
    proxy.rules.append(Rule(answer(s3_error(403, "AccessDenied")), "GET", "file7.bin", times=None))
    migration = migration_of(folder, bucket, old, proxy)
    finished = migration.run()
    assert finished.status == 1, finished.words
    assert "s3:GetObject" in finished.words
    assert_only_one_failed(migration, contents, "forbidden")


async def payer_asked(request: Request, forward: Forward) -> Answer:
    """A bucket whose requests are paid by who makes them."""
    if header(request.headers, "x-amz-request-payer") != "requester":
        return s3_error(403, "AccessDenied")
    return await forward(request)


def test_row_16_requester_pays(folder: Path, bucket: Bucket, old: Bucket, proxy: Proxy) -> None:
    contents = filled(old, {**SMALL, "large.bin": b"x" * (9 * MIB)}, Tagging="a=b")
    proxy.rules.append(Rule(payer_asked, times=None))
    unpaid = migration_of(folder, bucket, old, proxy).run()
    assert unpaid.status == 3, unpaid.words
    paid = migration_of(folder, bucket, old, proxy, request_payer=True)
    assert paid.run().status == 0
    assert paid.check(contents) == []


def test_row_17_forbidden_is_never_read_as_absent(folder: Path, bucket: Bucket, old: Bucket, proxy: Proxy) -> None:
    contents = filled(old)
    lot = [{"image_url": f"s3://{old.name}/{key}"} for key in (*contents, "not there")]
    (folder / "lots.json").write_text(json.dumps(lot))

    async def hide(request: Request, forward: Forward) -> Answer:
        found = await forward(request)
        return s3_error(403, "AccessDenied") if found.status == 404 else found

    proxy.rules.append(Rule(hide, "GET", times=None))
    sources = [
        {
            "type": "manifest",
            "files": str(folder / "lots.json"),
            "fields": ["image_url"],
            "key": "{path}",
            "buckets": [old.name],
        },
        bucket_source(old, proxy.url, name="connection", prefix="nothing begins so"),
    ]
    migration = Migration(folder, bucket, sources=sources)
    assert migration.run().status == 1
    assert migration.items()["not there"] == ("failed", "forbidden")
    assert migration.check(contents, {"not there": "forbidden"}) == []


def test_row_17_a_bucket_that_may_not_be_listed(folder: Path, bucket: Bucket, old: Bucket, proxy: Proxy) -> None:
    filled(old)
    proxy.rules.append(Rule(answer(s3_error(403, "AccessDenied")), "GET", "list-type", times=None))
    migration = migration_of(folder, bucket, old, proxy)
    finished = migration.run()
    assert finished.status == 3, finished.words
    assert "s3:ListBucket" in finished.words
    assert migration.items() == {}


def test_row_15_a_source_in_another_region(folder: Path, bucket: Bucket, old: Bucket, proxy: Proxy) -> None:
    filled(old)
    elsewhere = [("x-amz-bucket-region", "eu-west-3")]
    proxy.rules.append(Rule(answer(s3_error(301, "PermanentRedirect", headers=elsewhere)), times=None))
    finished = migration_of(folder, bucket, old, proxy).run()
    assert finished.status == 3, finished.words
    assert "is in region eu-west-3" in finished.words
    assert "region of the source" in finished.words


async def small_pages(request: Request, forward: Forward) -> Answer:
    """Five keys a page; moto checks no signature."""
    request.target += "&max-keys=5"
    return await forward(request)


def test_a_listing_that_breaks_goes_on_where_it_was(folder: Path, bucket: Bucket, old: Bucket, proxy: Proxy) -> None:
    contents = filled(old)
    proxy.rules.append(Rule(actions.reset, "GET", "continuation-token", times=2))
    proxy.rules.append(Rule(answer(s3_error(503, "SlowDown")), "GET", "list-type", times=1))
    proxy.rules.append(Rule(small_pages, "GET", "list-type", times=None))
    migration = migration_of(folder, bucket, old, proxy)
    finished = migration.run()
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []
    assert proxy.count("GET", "continuation-token") >= 3


@pytest.mark.parametrize("ignored", [False, True], ids=["If-Match honoured", "If-Match ignored"])
@pytest.mark.parametrize("size", [1_000, 9 * MIB], ids=["small", "large"])
def test_row_23_what_is_read_is_what_was_listed(
    folder: Path, bucket: Bucket, old: Bucket, proxy: Proxy, size: int, ignored: bool
) -> None:
    contents = filled(old, {"a": b"a" * size, "b": b"b" * size})
    if ignored:
        proxy.rules.append(Rule(actions.drop_request_headers("if-match"), "GET", times=None))
    migration = migration_of(folder, bucket, old, proxy)
    assert migration.run("plan").status == 0
    contents |= filled(old, {"b": b"B" * size})
    finished = migration.run("migrate", "--json")
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []
    assert migration.rows("select max(attempts) from items where key = 'b'") == [(2,)]
    assert migration.rows("select max(attempts) from items where key = 'a'") == [(1,)]


@pytest.mark.parametrize("spelling", ["http://LOCALHOST:{port}", "http://127.0.0.1:{port}/", "http://localhost:{port}"])
def test_row_29_a_bucket_that_is_its_own_destination(folder: Path, bucket: Bucket, spelling: str) -> None:
    filled(bucket)
    port = bucket.endpoint.rpartition(":")[2]
    migration = Migration(folder, bucket, sources=[bucket_source(bucket, spelling.format(port=port))])
    finished = migration.run()
    assert finished.status == 2, finished.words
    assert "already stands at its own key" in finished.words
    assert not migration.ledger.exists()


@pytest.mark.parametrize("known", [True, False], ids=["the same endpoint", "an endpoint with another name"])
def test_row_29_renaming_within_a_bucket_never_takes_its_own_work_for_more(
    folder: Path, bucket: Bucket, proxy: Proxy, known: bool
) -> None:
    contents = filled(bucket, {**SMALL, "large.bin": b"x" * (9 * MIB), "renamed/before.bin": b"of somebody else"})
    endpoint = bucket.endpoint if known else proxy.url
    source = bucket_source(bucket, endpoint, key="renamed/{name}", exclude=["/renamed/before.bin"])
    migration = Migration(folder, bucket, sources=[source])
    expected = contents | {f"renamed/{key.rpartition('/')[2]}": body for key, body in contents.items()}
    moved = {key: body for key, body in expected.items() if key.startswith("renamed/") and "before" not in key}
    for arguments in (["migrate"], ["migrate"], ["migrate", "--rescan"]):
        finished = migration.run(*arguments)
        assert finished.status == 0, finished.words
    standing = {key: state for key, (state, _) in migration.items().items()}
    assert {key for key, state in standing.items() if state == "stored"} == moved.keys()
    assert set(standing.values()) <= {"stored", "skipped"}
    found = bucket.client().list_objects_v2(Bucket=bucket.name)["Contents"]
    assert {entry["Key"] for entry in found} == expected.keys()


def test_row_29_what_stands_under_its_key_is_skipped_in_place(folder: Path, bucket: Bucket) -> None:
    contents = filled(bucket, {"lots/1/original.jpg": b"1", "lots/2/scan.jpg": b"2"})
    source = bucket_source(bucket, bucket.endpoint, match="^lots/(?P<lot>[^/]+)/", key="lots/{lot}/original.jpg")
    migration = Migration(folder, bucket, sources=[source])
    finished = migration.run()
    assert finished.status == 0, finished.words
    assert migration.items()["lots/1/original.jpg"] == ("skipped", "in-place")
    assert migration.items()["lots/2/original.jpg"][0] == "stored"
    body = bucket.client().get_object(Bucket=bucket.name, Key="lots/2/original.jpg")["Body"].read()
    assert body == contents["lots/2/scan.jpg"]


def test_row_31_a_session_that_expires_stops_the_run(folder: Path, bucket: Bucket, old: Bucket, proxy: Proxy) -> None:
    contents = filled(old)
    proxy.rules.append(Rule(answer(s3_error(400, "ExpiredToken")), "GET", r"file", skip=5, times=None))
    migration = migration_of(folder, bucket, old, proxy)
    finished = migration.run()
    assert finished.status == 3, finished.words
    assert "renew the session" in finished.words
    assert not any(state == "failed" for state, _ in migration.items().values())
    proxy.rules.clear()
    assert migration.run().status == 0
    assert migration.check(contents) == []


PROCESS = """
import datetime, json, pathlib, sys
count = pathlib.Path(sys.argv[1])
number = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(number))
if number > int(sys.argv[2]):
    sys.exit("the session is over")
until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=60)
print(json.dumps({"Version": 1, "AccessKeyId": sys.argv[3], "SecretAccessKey": sys.argv[4],
                  "SessionToken": f"token-{number}", "Expiration": until.isoformat()}))
"""


def with_short_sessions(folder: Path, migration: Migration, sessions: int) -> None:
    """Credentials of the profile `old` that a process tells: for a minute each, and only so many times."""
    (folder / "credentials.py").write_text(PROCESS)
    keys = (migration.environment["AWS_ACCESS_KEY_ID"], migration.environment["AWS_SECRET_ACCESS_KEY"])
    command = [sys.executable, str(folder / "credentials.py"), str(folder / "count"), str(sessions), *keys]
    (folder / "aws-config").write_text(f"[profile old]\ncredential_process = {' '.join(command)}\n")
    migration.environment["AWS_CONFIG_FILE"] = str(folder / "aws-config")


def tokens_seen(seen: set[str]) -> Action:
    """Notes the session tokens of requests."""

    async def note(request: Request, forward: Forward) -> Answer:
        seen.add(header(request.headers, "x-amz-security-token") or "")
        return await forward(request)

    return note


def test_row_31_credentials_are_refreshed_in_a_long_run(
    folder: Path, bucket: Bucket, old: Bucket, proxy: Proxy
) -> None:
    contents = filled(old)
    seen: set[str] = set()
    proxy.rules.append(Rule(tokens_seen(seen), times=None))
    sources = [bucket_source(old, proxy.url, profile="old")]
    # Slow enough for the credentials, which are read again every 5 s, to be renewed on the way.
    migration = Migration(folder, bucket, sources=sources, transfer={"requests_per_second": 1.5, "concurrency": 1})
    with_short_sessions(folder, migration, sessions=1_000)
    finished = migration.run()
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []
    assert len(seen) >= 3  # the listing's, and two of the reader's


def test_row_31_credentials_that_cannot_be_refreshed_stop_the_run(
    folder: Path, bucket: Bucket, old: Bucket, proxy: Proxy
) -> None:
    contents = filled(old)
    sources = [bucket_source(old, proxy.url, profile="old")]
    migration = Migration(folder, bucket, sources=sources, transfer={"requests_per_second": 1.5, "concurrency": 1})
    with_short_sessions(folder, migration, sessions=4)
    finished = migration.run()
    assert finished.status == 3, finished.words
    assert "Traceback" not in finished.words
    states = [state for state, _ in migration.items().values()]
    assert "failed" not in states
    with_short_sessions(folder, migration, sessions=1_000)
    assert migration.run("migrate", environment={"MIGRATOR_TRANSFER__REQUESTS_PER_SECOND": "0"}).status == 0
    assert migration.check(contents) == []
