"""Rows 2-5, 7, 8, 10 and 17: what one request to the destination may suffer."""

from pathlib import Path
from typing import Any

import pytest

from tests.ended import Ended
from tests.faults import actions
from tests.faults.actions import answer, s3_error
from tests.faults.checker import Bucket
from tests.faults.harness import Migration
from tests.faults.proxy import Proxy, Rule
from tests.faults.servers import Server
from tests.faults.wire import Answer
from tests.faults.world import MIB, small_tree, write_tree

pytestmark = pytest.mark.faults

DATA = r"/(dir|large)[^?]*$"
"""Targets of whole objects of the small tree, not of canaries or parts."""
PART = r"/large[^?]*\?.*partNumber="


def run_through(proxy: Proxy, folder: Path, bucket: Bucket, *rules: Rule, **keys: Any) -> tuple[Migration, Ended]:
    """One whole run whose requests meet `rules`."""
    migration = Migration(folder, bucket, endpoint=proxy.url, **keys)
    proxy.rules += rules
    return migration, migration.run()


def with_large(folder: Path, contents: dict[str, bytes]) -> dict[str, bytes]:
    """`contents` and an object of three parts."""
    return contents | write_tree(folder / "tree", {"large/a.bin": bytes(range(256)) * (20 * MIB // 256)})


@pytest.mark.parametrize(
    "server", ["moto", *(pytest.param(name, marks=pytest.mark.slow) for name in ("rclone", "ceph20"))], indirect=True
)
def test_row_02_an_object_whose_answer_was_lost_is_adopted(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = with_large(folder, small_tree(folder))
    lost = Rule(actions.lose_answer, method="PUT", target=DATA, skip=1, times=3)
    completion = Rule(actions.lose_answer, method="POST", target=r"/large.*uploadId=")
    migration, finished = run_through(proxy, folder, bucket, lost, completion)
    assert finished.status == 0, finished.words
    assert (lost.hits, completion.hits) == (3, 1)
    assert migration.check(contents) == []
    assert proxy.count("PUT", DATA) == len(contents) - 1, "nothing is sent twice"


def test_another_server_than_the_one_that_was_moved_to_is_refused(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    """It has a bucket of that name, too, and half of the collection would be in each."""
    contents = small_tree(folder, count=30, size=20)
    migration = Migration(folder, bucket)
    assert migration.run("migrate", "--limit", "10").status == 5
    proxy.rules.append(Rule(answer(s3_error(404, "NoSuchKey")), method="HEAD", target="/dir", times=None))
    for command in (("migrate",), ("rollback", "--yes")):
        refused = migration.run(*command, environment={"MIGRATOR_DESTINATION__ENDPOINT_URL": proxy.url})
        assert refused.status == 3, refused.words
        assert f"{bucket.name} has none of 10 objects that this ledger has stored" in refused.words
    assert not proxy.count("PUT|DELETE|POST")
    finished = migration.run()
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []


def test_a_destination_that_was_emptied_is_filled_again_once_verify_has_said_so(folder: Path, bucket: Bucket) -> None:
    contents = small_tree(folder, count=12, size=20)
    migration = Migration(folder, bucket)
    assert migration.run().status == 0
    for key in contents:
        bucket.client().delete_object(Bucket=bucket.name, Key=key)
    assert migration.run().status == 3
    assert migration.run("verify").status == 1
    assert migration.run("retry", "--verified", "missing").status == 0
    finished = migration.run()
    assert finished.status == 0, finished.words
    assert {key: bucket.client().get_object(Bucket=bucket.name, Key=key)["Body"].read() for key in contents} == contents


def test_row_03_412_over_the_same_bytes_is_no_conflict(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = small_tree(folder)
    for key in list(contents)[:3]:
        bucket.client().put_object(Bucket=bucket.name, Key=key, Body=contents[key])
    migration, finished = run_through(proxy, folder, bucket)
    assert finished.status == 0, finished.words
    assert sorted(key for key, (state, _) in migration.items().items() if state == "skipped") == sorted(
        list(contents)[:3]
    )
    assert proxy.count("PUT", DATA) == len(contents)


def test_row_03_412_over_other_bytes_is_a_conflict(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = small_tree(folder)
    taken = next(iter(contents))
    bucket.client().put_object(Bucket=bucket.name, Key=taken, Body=b"somebody else's")
    migration, finished = run_through(proxy, folder, bucket)
    assert finished.status == 1, finished.words
    assert migration.items()[taken] == ("failed", "conflict")
    assert bucket.client().get_object(Bucket=bucket.name, Key=taken)["Body"].read() == b"somebody else's"
    assert taken in finished.words or "conflict" in finished.words


def test_row_03_409_is_tried_again(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = small_tree(folder)
    busy = Rule(answer(s3_error(409, "ConditionalRequestConflict")), method="PUT", target=DATA, times=3)
    migration, finished = run_through(proxy, folder, bucket, busy)
    assert finished.status == 0, finished.words
    assert busy.hits == 3
    assert migration.check(contents) == []


def ignore_preconditions() -> list[Rule]:
    """A server that never heard of conditional writes."""
    return [Rule(actions.drop_request_headers("if-none-match", "if-match"), method="PUT|POST", times=None)]


@pytest.mark.parametrize("server", ["moto", "rclone"], indirect=True)
def test_row_04_a_server_that_ignores_preconditions_overwrites_nothing(
    folder: Path, server: Server, bucket: Bucket, proxy: Proxy
) -> None:
    contents = with_large(folder, small_tree(folder))
    # rclone ignores them by itself (and signs every header).
    rules = ignore_preconditions() if server.name == "moto" else []
    # One in every folder: where two first puts make the same one, rclone may store an object without its metadata.
    taken = ["dir0/file0.bin", "dir1/file1.bin", "dir2/file2.bin", "large/a.bin"]
    for key in taken:
        bucket.client().put_object(Bucket=bucket.name, Key=key, Body=b"somebody else's")
    migration, finished = run_through(proxy, folder, bucket, *rules)
    assert finished.status == 1, finished.words
    items = migration.items()
    for key in taken:
        assert items[key] == ("failed", "conflict")
        assert bucket.client().get_object(Bucket=bucket.name, Key=key)["Body"].read() == b"somebody else's"
    assert {state for key, (state, _) in items.items() if key not in taken} == {"stored"}
    assert len(items) == len(contents)


def test_row_04_what_the_server_does_not_honour_is_named(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    small_tree(folder)
    migration = Migration(folder, bucket, endpoint=proxy.url)
    strict = migration.run("test-connection")
    proxy.rules += ignore_preconditions()
    lax = migration.run("test-connection")
    assert strict.status == lax.status == 0, lax.words
    assert strict.out != lax.out
    assert bucket.client().list_objects_v2(Bucket=bucket.name)["KeyCount"] == 0, "the canaries are gone"


@pytest.mark.parametrize("checked", [True, False], ids=["digests-checked", "digests-ignored"])
def test_row_05_a_bit_that_flips_on_the_way_is_sent_again(
    folder: Path, bucket: Bucket, proxy: Proxy, checked: bool
) -> None:
    contents = with_large(folder, small_tree(folder))
    flips = flipping_rules()
    checks = [Rule(actions.check_digests, method="PUT", times=None)] if checked else []
    migration, finished = run_through(proxy, folder, bucket, *flips, *checks)
    assert [rule.hits for rule in flips] == [2, 1], finished.words
    assert finished.status == 0, finished.words
    assert {state for state, _ in migration.items().values()} == {"stored"}
    if checked:
        assert migration.check(contents) == []
    else:  # a second version is what a server that checks nothing costs
        assert_bytes(bucket, contents)


@pytest.mark.slow
@pytest.mark.parametrize("server", ["rclone", "ceph20"], indirect=True)
def test_row_05_real_servers_refuse_a_flipped_bit(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = with_large(folder, small_tree(folder))
    flips = flipping_rules()
    migration, finished = run_through(proxy, folder, bucket, *flips)
    assert [rule.hits for rule in flips] == [2, 1], finished.words
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []


def flipping_rules() -> list[Rule]:
    """A bit flips in two whole objects and in one part."""
    return [
        Rule(actions.alter_request(1000), method="PUT", target=DATA, skip=1, times=2),
        Rule(actions.alter_request(1_000_000), method="PUT", target=PART, skip=1),
    ]


def assert_bytes(bucket: Bucket, contents: dict[str, bytes]) -> None:
    """What stands under each key, whatever stood there before."""
    for key, body in contents.items():
        assert bucket.client().get_object(Bucket=bucket.name, Key=key)["Body"].read() == body, key


def test_row_07_an_etag_is_never_used_as_a_hash(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = small_tree(folder)
    s3 = bucket.client()
    same, other = list(contents)[:2]
    # As KMS or a multipart upload leaves them: the tag says nothing about the bytes.
    put_in_parts(s3, bucket.name, same, contents[same])
    s3.put_object(Bucket=bucket.name, Key=other, Body=bytes(len(contents[other])))
    tag = Rule(
        actions.change_answer_header("etag", '"d41d8cd98f00b204e9800998ecf8427e"'), method="PUT|HEAD", times=None
    )
    lost = Rule(actions.lose_answer, method="PUT", target="/dir2/file2.bin")
    migration, finished = run_through(proxy, folder, bucket, tag, lost)
    items = migration.items()
    assert items.pop(same) == ("skipped", "identical")
    assert items.pop(other) == ("failed", "conflict")
    assert set(items.values()) == {("stored", "")}, finished.words
    assert lost.hits == 1
    assert_bytes(bucket, {key: body for key, body in contents.items() if key != other})


def put_in_parts(s3: Any, bucket: str, key: str, body: bytes) -> None:
    """The object's ETag becomes one of a multipart upload."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=body)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload=parts)


@pytest.mark.parametrize(
    "server", ["moto", *(pytest.param(name, marks=pytest.mark.slow) for name in ("rclone", "ceph20"))], indirect=True
)
def test_row_08_a_body_cut_in_the_middle_is_sent_again_from_its_start(
    folder: Path, bucket: Bucket, proxy: Proxy
) -> None:
    contents = with_large(folder, small_tree(folder, size=2 * MIB))
    cuts = [
        Rule(actions.cut_request(1_000_000), method="PUT", target=DATA, times=2),
        Rule(actions.cut_request(5_000_000), method="PUT", target=PART, times=2),
    ]
    migration, finished = run_through(proxy, folder, bucket, *cuts)
    assert finished.status == 0, finished.words
    assert [rule.hits for rule in cuts] == [2, 2]
    assert migration.check(contents) == []


def test_row_10_an_error_inside_of_a_200_is_a_failure(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = with_large(folder, {})
    document = s3_error(500, "InternalError")
    late = Rule(answer(Answer(200, document.headers, document.body)), method="POST", target="/large.*uploadId=")
    migration, finished = run_through(proxy, folder, bucket, late)
    assert late.hits == 1
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []


PAGE = b"<html><body>no server for this host</body></html>"


@pytest.mark.parametrize("status", [200, 404])
def test_row_10_what_stands_before_the_server_says_neither_stored_nor_gone(
    folder: Path, bucket: Bucket, proxy: Proxy, status: int
) -> None:
    contents = with_large(folder, small_tree(folder))
    page = answer(Answer(status, [("Content-Type", "text/html")], PAGE))
    gateway = [Rule(page, method="PUT", target=target, times=2) for target in (DATA, PART)]
    migration, finished = run_through(proxy, folder, bucket, *gateway)
    assert [rule.hits for rule in gateway] == [2, 2]
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []


DENIED = s3_error(403, "AccessDenied")


def test_row_17_403_for_an_absent_key_is_no_absence(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    """Without ListBucket: HEAD and listing are forbidden, and the server ignores preconditions."""
    contents = small_tree(folder)
    taken = next(iter(contents))
    bucket.client().put_object(Bucket=bucket.name, Key=taken, Body=b"somebody else's")
    forbidden = [
        Rule(answer(DENIED), method="HEAD", times=None),
        Rule(answer(DENIED), method="GET", target=r"list-type|prefix=|versions", times=None),
    ]
    _, finished = run_through(proxy, folder, bucket, *ignore_preconditions(), *forbidden)
    assert finished.status in (1, 3), finished.words
    assert "ListBucket" in finished.words
    assert bucket.client().get_object(Bucket=bucket.name, Key=taken)["Body"].read() == b"somebody else's"


def test_row_17_without_listbucket_conditional_puts_do(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = small_tree(folder)
    forbidden = [
        Rule(answer(DENIED), method="GET", target=r"list-type|prefix=|versions", times=None),
        Rule(_forbid_absent, method="HEAD", times=None),
    ]
    migration, finished = run_through(proxy, folder, bucket, *forbidden)
    assert finished.status == 0, finished.words
    assert {state for state, _ in migration.items().values()} == {"stored"}
    assert_bytes(bucket, contents)


async def _forbid_absent(request: Any, forward: Any) -> Answer:
    found: Answer = await forward(request)
    return DENIED if found.status == 404 else found
