"""Rows 6 and 7: objects that are damaged after they were stored, and ETags that say nothing of the bytes."""

import csv
import json
import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.ended import Ended
from tests.faults import actions
from tests.faults.checker import Bucket
from tests.faults.harness import Migration, finish, kill, tree_source
from tests.faults.kills import fault_seed
from tests.faults.proxy import Proxy, Rule
from tests.faults.wire import Answer
from tests.faults.world import MIB, small_tree, write_tree

pytestmark = pytest.mark.faults

OBJECTS = r"/dir[^?]*$"
SERVERS = ["moto", *(pytest.param(name, marks=pytest.mark.slow) for name in ("rclone", "ceph20"))]


def differences(migration: Migration) -> dict[str, str]:
    """Result by key, as `report` writes them down."""
    path = migration.folder / "differences.csv"
    finished = migration.run("report", "--format", "differences", "-o", str(path))
    assert finished.status == 0, finished.words
    with path.open(newline="") as file:
        return {row["key"]: row["result"] for row in csv.DictReader(file)}


def damage(bucket: Bucket, contents: Mapping[str, bytes], count: int, draw: random.Random) -> dict[str, str]:
    """Alters, cuts, removes and swaps `count` objects (a multiple of 8): what `verify` has to say of each."""
    s3 = bucket.client()
    keys = draw.sample(sorted(contents), count)
    part = count // 4
    wrong: dict[str, bytes | None] = {}
    for key in keys[:part]:
        place = draw.randrange(len(contents[key]))
        flipped = contents[key][place] ^ (1 << draw.randrange(8))
        wrong[key] = contents[key][:place] + bytes([flipped]) + contents[key][place + 1 :]
    wrong |= {key: contents[key][: draw.randrange(len(contents[key]))] for key in keys[part : 2 * part]}
    wrong |= dict.fromkeys(keys[2 * part : 3 * part])
    for one, other in zip(keys[3 * part :: 2], keys[3 * part + 1 :: 2], strict=True):
        wrong |= {one: contents[other], other: contents[one]}

    def write(key: str) -> None:
        body = wrong[key]
        if body is None:
            s3.delete_object(Bucket=bucket.name, Key=key)
        else:
            head = s3.head_object(Bucket=bucket.name, Key=key)
            told = {"Metadata": head["Metadata"], "ContentType": head["ContentType"]}
            s3.put_object(Bucket=bucket.name, Key=key, Body=body, **told)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, wrong))
    return {key: "missing" if body is None else "differ" for key, body in wrong.items()}


def migrated(folder: Path, bucket: Bucket, contents: Mapping[str, bytes], **keys: Any) -> Migration:
    migration = Migration(folder, bucket, **keys)
    finished = migration.run()
    assert finished.status == 0, finished.words
    return migration


@pytest.mark.parametrize("server", SERVERS, indirect=True)
def test_row_06_objects_that_are_damaged_later_are_named(folder: Path, bucket: Bucket) -> None:
    contents = small_tree(folder, count=80, size=300)
    migration = migrated(folder, bucket, contents)
    intact = migration.run("verify")
    assert intact.status == 0, intact.words
    assert "80 of 80 objects match" in intact.out
    seed = fault_seed()
    expected = damage(bucket, contents, 16, random.Random(seed))
    found = migration.run("verify")
    assert found.status == 1, found.words
    assert differences(migration) == expected, f"FAULT_SEED={seed}"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("server", ["rclone", "ceph20"], indirect=True)
def test_row_06_a_thousand_among_ten_thousand(folder: Path, bucket: Bucket) -> None:
    contents = small_tree(folder, count=10_000, size=200)
    migration = Migration(folder, bucket)
    assert finish(migration.start(), 600).status == 0
    seed = fault_seed()
    expected = damage(bucket, contents, 1_000, random.Random(seed))
    found = finish(migration.start("verify"), 600)
    assert found.status == 1, found.words
    assert differences(migration) == expected, f"FAULT_SEED={seed}"


def test_row_06_an_answer_that_is_cut_is_no_damage(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = small_tree(folder)
    migration = migrated(folder, bucket, contents, endpoint=proxy.url)
    cut = Rule(actions.cut_answer(1000), method="GET", target=OBJECTS, times=3)
    proxy.rules.append(cut)
    finished = migration.run("verify", "--download")
    assert (finished.status, cut.hits) == (0, 3), finished.words


@pytest.mark.parametrize("server", SERVERS, indirect=True)
def test_row_07_verify_never_takes_an_etag_for_a_hash(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = small_tree(folder) | write_tree(folder / "tree", {"large/a.bin": bytes(range(256)) * (20 * MIB // 256)})
    migration = migrated(folder, bucket, contents)
    # As KMS and uploads in parts leave them: another tag at the same bytes, the same tag at other bytes.
    random_tags = Rule(
        actions.change_answer_header("etag", '"d41d8cd98f00b204e9800998ecf8427e-3"'), method="HEAD|GET", times=None
    )
    proxy.rules.append(random_tags)
    migration.environment["MIGRATOR_DESTINATION__ENDPOINT_URL"] = proxy.url
    intact = migration.run("verify")
    assert intact.status == 0, intact.words
    damaged = {"large/a.bin": contents["large/a.bin"][:-1] + b"\x00", "dir0/file0.bin": bytes(3000)}
    for key, body in damaged.items():
        head = bucket.client().head_object(Bucket=bucket.name, Key=key)
        bucket.client().put_object(
            Bucket=bucket.name, Key=key, Body=body, Metadata=head["Metadata"], ContentType=head["ContentType"]
        )
    assert migration.run("verify").status == 1
    assert differences(migration) == dict.fromkeys(damaged, "differ")


def interrupt(
    migration: Migration, proxy: Proxy, end: Callable[[Any], Ended | None], *, delay: float = 0.2
) -> Ended | None:
    """A verification that `end` ends once some of its objects were looked at and kept."""
    proxy.rules.append(Rule(actions.delay(delay), method="HEAD", target=OBJECTS, times=None))
    process = migration.start("verify")
    deadline = time.monotonic() + 60
    while not migration.rows("select count(*) from verified")[0][0]:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)  # another process writes it: there is nothing to wait for but the file itself
    ended = end(process)
    proxy.rules.clear()
    return ended


def killed(process: Any) -> None:
    kill(process)


def interrupted(process: Any) -> Ended:
    os.kill(process.pid, signal.SIGINT)
    return finish(process)


@pytest.mark.parametrize("end", [killed, interrupted])
def test_row_06_a_verification_goes_on_where_it_was_ended(
    folder: Path, bucket: Bucket, proxy: Proxy, end: Callable[[Any], Ended | None]
) -> None:
    contents = small_tree(folder, count=160, size=300)
    migration = migrated(folder, bucket, contents)
    expected = damage(bucket, contents, 8, random.Random(1))
    migration.environment["MIGRATOR_DESTINATION__ENDPOINT_URL"] = proxy.url
    ended = interrupt(migration, proxy, end)
    if ended:
        assert ended.status == 130, ended.words
        assert "goes on where this stopped" in ended.out
        assert "Traceback" not in ended.words
    ((done,),) = migration.rows("select count(*) from verified")
    assert 0 < done < 160
    finished = migration.run("verify")
    assert finished.status == 1, finished.words
    assert f"{160 - 8} of 160 objects match" in finished.out
    ((requests,),) = migration.rows("select requests from runs order by id desc limit 1")
    assert json.loads(requests)["HEAD"] == 160 - done, "each object is looked at once"
    assert differences(migration) == expected
    assert migration.rows("select count(*), count(finished_at) from verifications") == [(1, 1)]


def test_row_26_two_verifications_at_once(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = small_tree(folder, count=64, size=300)
    migration = migrated(folder, bucket, contents)
    migration.environment["MIGRATOR_DESTINATION__ENDPOINT_URL"] = proxy.url

    def second(process: Any) -> Ended:
        refused = migration.run("verify")
        assert finish(process).status == 0
        return refused

    refused = interrupt(migration, proxy, second, delay=2.0)
    assert refused
    assert refused.status == 4, refused.words
    assert "process" in refused.err


def test_row_06_copies_of_the_server_are_held_against_their_source(folder: Path, bucket: Bucket) -> None:
    contents = small_tree(folder, count=24, size=300)
    s3 = bucket.client()
    for key, body in contents.items():
        s3.put_object(Bucket=bucket.name, Key=f"old/{key}", Body=body, ContentType="image/x-test")
    source = {"type": "bucket", "bucket": bucket.name, "prefix": "old/", "match": "^old/(?P<p>.*)$", "key": "new/{p}"}
    migration = migrated(folder, bucket, contents, sources=[source])
    new = {f"new/{key}": body for key, body in contents.items()}
    expected = damage(bucket, new, 8, random.Random(2))
    gone = next(key for key in new if key not in expected)
    s3.delete_object(Bucket=bucket.name, Key=gone.replace("new/", "old/"))
    s3.put_object(Bucket=bucket.name, Key="new/else.bin", Body=b"1")
    finished = migration.run("verify")
    assert finished.status == 1, finished.words
    found = differences(migration)
    assert found.pop("new/else.bin") == "extra"
    # Whether the server told a digest when it copied decides about the one whose source is gone.
    assert found.pop(gone, "unknown") == "unknown"
    assert found == expected


def test_row_06_a_folder_as_the_destination(folder: Path, bucket: Bucket) -> None:
    small_tree(folder, count=24, size=300)
    target = folder / "archive"
    target.mkdir()
    migration = Migration(folder, bucket)
    text = migration.config.read_text().replace(f'bucket = "{bucket.name}"', f'url = "{target.as_uri()}"')
    migration.config.write_text(text)
    migration.environment.pop("MIGRATOR_DESTINATION__ENDPOINT_URL")
    assert migration.run().status == 0
    intact = migration.run("verify")
    assert intact.status == 0, intact.words
    (target / "dir0/file0.bin").write_bytes(bytes(300))
    (target / "dir1/file1.bin").unlink()
    (target / "dir2/else.bin").write_bytes(b"1")
    assert migration.run("verify").status == 1
    assert differences(migration) == {
        "dir0/file0.bin": "differ",
        "dir1/file1.bin": "missing",
        "dir2/else.bin": "extra",
    }


@pytest.mark.parametrize(
    "said", [actions.s3_error(403, "AccessDenied"), Answer(404, body=b"404 page not found")], ids=["403", "gateway"]
)
def test_row_17_only_the_servers_404_is_missing(folder: Path, bucket: Bucket, proxy: Proxy, said: Answer) -> None:
    contents = small_tree(folder)
    migration = migrated(folder, bucket, contents, sources=[tree_source(folder / "tree")])
    migration.environment["MIGRATOR_DESTINATION__ENDPOINT_URL"] = proxy.url
    proxy.rules.append(Rule(actions.answer(said), target="/dir0/file0.bin", times=None))
    finished = migration.run("verify")
    assert finished.status == 1, finished.words
    assert differences(migration) == {"dir0/file0.bin": "unknown"}
