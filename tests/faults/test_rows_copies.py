"""Rows 2, 4, 9, 10, 16 and 18 where the destination's own server copies: no byte passes through the tool."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.ended import Ended
from tests.faults.actions import answer, delay, lose_answer, s3_error
from tests.faults.checker import Bucket
from tests.faults.harness import Migration, finish, kill
from tests.faults.proxy import Proxy, Rule
from tests.faults.servers import Server
from tests.faults.wire import Answer

pytestmark = pytest.mark.faults

MIB = 1024 * 1024
CARRIED: dict[str, Any] = {
    "ContentType": "image/x-raw",
    "CacheControl": "max-age=31536000",
    "ContentDisposition": 'attachment; filename="a b.raw"',
    "ContentEncoding": "identity",
    "ContentLanguage": "de",
    "Metadata": {"lot": "42", "title": "%C3%89t%C3%A9  100%"},
}
SMALL = {f"photo-{number}.raw": bytes([number]) * 900 for number in range(8)}
LARGE = {"large.raw": bytes(range(256)) * (11 * MIB // 256) + b"the end"}
ERROR_IN_200 = Answer(200, s3_error(500, "InternalError").headers, s3_error(500, "InternalError").body)
DENIED = s3_error(403, "AccessDenied")

EVERY_SERVER = pytest.mark.parametrize(
    "server", ["moto", *(pytest.param(name, marks=pytest.mark.slow) for name in ("rclone", "ceph20"))], indirect=True
)


@pytest.fixture
def old(server: Server, bucket: Bucket) -> Bucket:
    """The bucket that is to be moved, on the server of the destination."""
    return server.make_bucket(f"{bucket.name}-old")


def filled(old: Bucket, contents: dict[str, bytes]) -> dict[str, bytes]:
    """Puts `contents` into the bucket, each with everything that an object can carry."""
    for key, body in contents.items():
        old.client().put_object(Bucket=old.name, Key=key, Body=body, Tagging="a=b&c=d%20e", **CARRIED)
    return contents


def migration_of(folder: Path, bucket: Bucket, old: Bucket, endpoint: str, **destination: Any) -> Migration:
    """Moves `old` into `bucket`, both reached by `endpoint`; objects above 5 MiB are copied in parts."""
    source = {"type": "bucket", "bucket": old.name, "key": "{path}"}
    transfer = {"copy_threshold": "5MiB"}
    return Migration(folder, bucket, endpoint=endpoint, sources=[source], destination=destination, transfer=transfer)


def requests_of(migration: Migration) -> dict[str, int]:
    """Requests to the destination of the last run, by operation."""
    ((text,),) = migration.rows("select requests from runs order by id desc limit 1")
    found: dict[str, int] = json.loads(text)
    return found


def assert_nothing_streamed(migration: Migration) -> None:
    """Every object came by a copy of the server's own."""
    assert not {"PUT", "PUT PART"} & requests_of(migration).keys()


def assert_all_carried(server: Server, bucket: Bucket, old: Bucket, keys: Any) -> None:
    """Each object has all that its original has."""
    for key in keys:
        before, after = (one.client().head_object(Bucket=one.name, Key=key) for one in (old, bucket))
        same = [name for name in CARRIED if name != "Metadata"]
        assert {name: after.get(name) for name in same} == {name: before.get(name) for name in same}
        assert after["Metadata"].items() >= before["Metadata"].items()
        if server.name != "rclone":  # it has no tags
            tags = bucket.client().get_object_tagging(Bucket=bucket.name, Key=key)["TagSet"]
            assert {tag["Key"]: tag["Value"] for tag in tags} == {"a": "b", "c": "d e"}


def run(migration: Migration, *arguments: str) -> Ended:
    return migration.run("migrate", *arguments)


@EVERY_SERVER
@pytest.mark.parametrize("mode", ["auto", "server", "stream"])
def test_row_09_a_copy_keeps_what_its_object_carries(
    folder: Path, server: Server, bucket: Bucket, old: Bucket, mode: str
) -> None:
    contents = filled(old, SMALL | LARGE)
    other_spelling = server.endpoint.replace("127.0.0.1", "localhost")
    migration = migration_of(folder, bucket, old, other_spelling, storage_class="STANDARD_IA")
    finished = run(migration, "--copy-mode", mode)
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []
    assert_all_carried(server, bucket, old, contents)
    for key in contents:
        assert bucket.client().head_object(Bucket=bucket.name, Key=key).get("StorageClass") == "STANDARD_IA"
    if mode != "stream":
        assert_nothing_streamed(migration)
        assert requests_of(migration)["COPY"] >= len(SMALL)
        assert ("COPY PART" in requests_of(migration)) is (server.name != "rclone")  # it stores an empty part
    assert migration.run("verify").status == 0


@EVERY_SERVER
def test_row_09_what_is_configured_takes_its_place_beside_it(
    folder: Path, server: Server, bucket: Bucket, old: Bucket
) -> None:
    contents = filled(old, SMALL | LARGE)
    migration = migration_of(
        folder,
        bucket,
        old,
        server.endpoint,
        cache_control="no-store",
        metadata={"from": "{bucket}", "lot": "43"},
        tags={} if server.name == "rclone" else {"c": "configured"},
    )
    assert run(migration).status == 0
    assert migration.check(contents) == []
    assert_nothing_streamed(migration)
    for key in contents:
        after = bucket.client().head_object(Bucket=bucket.name, Key=key)
        assert (after["ContentType"], after["CacheControl"]) == ("image/x-raw", "no-store")
        assert after["ContentDisposition"] == CARRIED["ContentDisposition"]
        metadata = {name.lower(): value for name, value in after["Metadata"].items()}
        assert metadata["from"] == old.name
        assert metadata["lot"] == "43"
        assert "title" in metadata
        if server.name != "rclone":
            tags = bucket.client().get_object_tagging(Bucket=bucket.name, Key=key)["TagSet"]
            assert {tag["Key"]: tag["Value"] for tag in tags} == {"a": "b", "c": "configured"}


@pytest.mark.parametrize(
    ("method", "target"),
    [
        pytest.param("PUT", r"/photo-3\.raw$", id="copy"),
        pytest.param("PUT", r"/large\.raw\?partNumber=2", id="part"),
        pytest.param("POST", r"/large\.raw\?uploadId", id="complete"),
    ],
)
def test_row_10_an_error_inside_of_a_200_is_a_failure_of_a_copy(
    folder: Path, bucket: Bucket, old: Bucket, proxy: Proxy, method: str, target: str
) -> None:
    contents = filled(old, SMALL | LARGE)
    late = Rule(answer(ERROR_IN_200), method=method, target=target)
    proxy.rules.append(late)
    migration = migration_of(folder, bucket, old, proxy.url)
    finished = run(migration)
    assert late.hits == 1
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []
    assert_nothing_streamed(migration)


def test_row_10_a_copy_that_never_succeeds_is_no_success(
    folder: Path, bucket: Bucket, old: Bucket, proxy: Proxy
) -> None:
    contents = filled(old, dict(SMALL))
    proxy.rules.append(Rule(answer(ERROR_IN_200), method="PUT", target=r"/photo-3\.raw$", times=None))
    migration = migration_of(folder, bucket, old, proxy.url)
    migration.environment["MIGRATOR_TRANSFER__RETRIES"] = "1"
    assert run(migration).status == 1
    del contents["photo-3.raw"]
    assert migration.check(contents, {"photo-3.raw": "transient"}) == []


@pytest.mark.parametrize("target", [r"/photo-3\.raw$", r"/large\.raw\?(partNumber=2|uploadId)"])
def test_row_02_a_copy_whose_answer_was_lost_is_adopted(
    folder: Path, bucket: Bucket, old: Bucket, proxy: Proxy, target: str
) -> None:
    contents = filled(old, SMALL | LARGE)
    lost = Rule(lose_answer, method="PUT|POST", target=target)
    proxy.rules.append(lost)
    migration = migration_of(folder, bucket, old, proxy.url)
    finished = run(migration)
    assert lost.hits == 1
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []  # one version of each, nothing half done
    assert_nothing_streamed(migration)


@EVERY_SERVER
def test_row_04_what_stands_under_a_key_is_never_copied_over(
    folder: Path, server: Server, bucket: Bucket, old: Bucket
) -> None:
    contents = filled(old, dict(SMALL))
    client = bucket.client()
    client.put_object(Bucket=bucket.name, Key="photo-1.raw", Body=b"somebody else's")
    client.put_object(Bucket=bucket.name, Key="photo-2.raw", Body=contents["photo-2.raw"])
    migration = migration_of(folder, bucket, old, server.endpoint)
    assert run(migration).status == 1
    assert client.get_object(Bucket=bucket.name, Key="photo-1.raw")["Body"].read() == b"somebody else's"
    items = migration.items()
    assert items.pop("photo-1.raw") == ("failed", "conflict")
    assert items.pop("photo-2.raw") == ("skipped", "identical")
    assert {state for state, _ in items.values()} == {"stored"}


@pytest.mark.parametrize("times", [1, None])
def test_row_16_what_the_server_may_not_copy_streams(
    folder: Path, bucket: Bucket, old: Bucket, proxy: Proxy, times: int | None
) -> None:
    contents = filled(old, {f"photo-{number}.raw": bytes([number]) * 900 for number in range(40)})
    denied = Rule(copy_denied, method="PUT", target=r"/photo-", times=times)
    proxy.rules.append(denied)
    migration = migration_of(folder, bucket, old, proxy.url)
    finished = run(migration)
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []
    assert requests_of(migration)["PUT"] == (1 if times else len(contents))
    assert ("does not copy from" in finished.words) is (times is None)
    assert denied.hits < 2 * len(contents)


async def copy_denied(request: Any, forward: Any) -> Answer:
    """Refuses copies and lets everything else pass."""
    if any(name.lower() == "x-amz-copy-source" for name, _ in request.headers):
        return DENIED
    passed: Answer = await forward(request)
    return passed


@pytest.mark.parametrize("server", ["moto", pytest.param("ceph20", marks=pytest.mark.slow)], indirect=True)
def test_row_18_parts_that_were_copied_before_a_kill_are_not_copied_again(
    folder: Path, server: Server, bucket: Bucket, old: Bucket, proxy: Proxy
) -> None:
    contents = filled(old, dict(LARGE))
    head = old.client().head_object(Bucket=old.name, Key="large.raw")
    # Parts of the very second in which their object was written could be of another version, and are not trusted.
    while datetime.now(UTC) < head["LastModified"] + timedelta(seconds=1.1):
        old.client().head_bucket(Bucket=old.name)
    slow = Rule(delay(60), method="PUT", target=r"/large\.raw\?partNumber=3", times=1)
    proxy.rules.append(slow)
    migration = migration_of(folder, bucket, old, proxy.url)
    process = migration.start()
    proxy.wait("PUT", r"/large\.raw\?partNumber=[12]&", number=2)
    kill(process)
    finish(process)
    finished = run(migration)
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []
    # moto says of every upload that it was begun in 2010: then nobody knows of what version its parts are.
    assert proxy.count("PUT", r"/large\.raw\?partNumber=[12]&") == (4 if server.name == "moto" else 2)
    assert_nothing_streamed(migration)


@pytest.mark.parametrize("mode", ["server", "auto"])
def test_a_directory_is_nothing_that_a_server_copies(folder: Path, bucket: Bucket, mode: str) -> None:
    (folder / "tree").mkdir()
    (folder / "tree" / "a.bin").write_bytes(b"bytes")
    migration = Migration(folder, bucket)
    finished = run(migration, "--copy-mode", mode)
    if mode == "auto":
        assert finished.status == 0
    else:
        assert finished.status == 3
        assert "directory" in finished.words
        assert "--copy-mode auto" in finished.words


def test_a_bucket_elsewhere_is_refused_where_the_server_must_copy(
    folder: Path, server: Server, bucket: Bucket, old: Bucket, proxy: Proxy
) -> None:
    filled(old, dict(SMALL))
    source = {"type": "bucket", "bucket": old.name, "key": "{path}", "endpoint_url": proxy.url}
    migration = Migration(folder, bucket, endpoint=server.endpoint, sources=[source])
    finished = run(migration, "--copy-mode", "server")
    assert finished.status == 3
    assert "another server" in finished.words
