"""Row 34, and full circles: what was migrated, killed or not, is undone; what somebody changed since is left alone."""

import os
import random
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from benchmarks.photographs import photograph_jpeg
from tests.faults.checker import Bucket
from tests.faults.harness import TIMEOUT, Migration, kill, tree_source
from tests.faults.kills import ANSWERS, fault_kills, fault_seed, run_killed
from tests.faults.proxy import Proxy
from tests.faults.servers import Server
from tests.faults.test_row_01_two_buckets import best_server, on_mariadb, on_postgres, stage

__all__ = ["best_server"]

pytestmark = pytest.mark.faults

Snapshot = dict[str, Any]


def snapshot(bucket: Bucket) -> Snapshot:
    """Everything in a bucket: each version and delete marker with its bytes, headers and tags, each open upload."""
    s3 = bucket.client()
    found: Snapshot = {}
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket.name):
        for entry in page.get("Versions", []):
            version = entry["VersionId"]
            one = {"Bucket": bucket.name, "Key": entry["Key"]} | ({"VersionId": version} if version != "null" else {})
            answer = s3.get_object(**one)
            # A copy that came back from a backup is another version of the same object.
            told = {name: answer.get(name) for name in ("ContentType", "CacheControl", "Metadata", "ContentLanguage")}
            tags = s3.get_object_tagging(**one)["TagSet"]
            found[f"{entry['Key']} {version} {entry['IsLatest']}"] = (answer["Body"].read(), told, tags)
        for entry in page.get("DeleteMarkers", []):
            found[f"{entry['Key']} {entry['VersionId']} {entry['IsLatest']}"] = "delete marker"
    for upload in s3.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []):
        found[f"{upload['Key']} {upload['UploadId']}"] = "open upload"
    return found


def put(bucket: Bucket, key: str, body: bytes, **about: Any) -> None:
    bucket.client().put_object(Bucket=bucket.name, Key=key, Body=body, **about)


def tree(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, body in files.items():
        path = folder / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


FILES = {f"photos/{number}.bin": bytes([number]) * (number * 100 + 1) for number in range(20)} | {
    "large.bin": b"0123456789abcdef" * (10 * 65536),
    "odd/ plus+and %20 ü.bin": b"odd",
}

EVERY_SERVER = pytest.mark.parametrize(
    "server", ["moto", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ceph20",))], indirect=True
)
either = pytest.mark.parametrize("versioned", [False, True], ids=["plain", "versioned"])


def overwriting(folder: Path, bucket: Bucket, **changes: Any) -> Migration:
    """A migration of FILES into a bucket where other bytes stand under three of their keys."""
    tree(folder, FILES)
    put(bucket, "photos/3.bin", b"before 3", ContentType="text/x-old", Metadata={"who": "them"}, Tagging="a=b")
    put(bucket, "photos/4.bin", b"before 4", CacheControl="no-store")
    put(bucket, "large.bin", b"small before")
    put(bucket, "photos/5.bin", FILES["photos/5.bin"])
    put(bucket, "bystander.txt", b"nobody's business")
    return Migration(folder, bucket, destination={"on_conflict": "overwrite", **changes})


_numbers = count(1)


@pytest.fixture
def bucket(server: Server, versioned: bool) -> Bucket:
    """A fresh bucket, whose versioning is what the test asks for."""
    return server.make_bucket(f"circle-{os.getpid()}-{next(_numbers)}", versioned=versioned)


@pytest.fixture
def versioned() -> bool:
    """Tests that do not say otherwise have a bucket without versions."""
    return False


class Rolling(Migration):
    """The same migration, of which every run is a rollback."""

    words = ("rollback", "--yes", "--drop-columns")

    def __init__(self, migration: Migration) -> None:
        self.__dict__.update(migration.__dict__)


def miscounted(migration: Migration) -> list[tuple[Any, ...]]:
    """Tallies of the ledger that are not what counting its rows gives."""
    return migration.rows(
        "WITH counted AS (SELECT source, state, coalesce(fault, '') AS reason, count(*) AS number FROM items"
        " GROUP BY 1, 2, 3), told AS (SELECT source, state, reason, items FROM tallies WHERE items <> 0),"
        " rows_counted AS (SELECT source, state, coalesce(fault, ''), count(*) FROM records GROUP BY 1, 2, 3),"
        " rows_told AS (SELECT source, state, reason, records FROM record_tallies WHERE records <> 0)"
        " SELECT * FROM (SELECT * FROM counted EXCEPT SELECT * FROM told)"
        " UNION ALL SELECT * FROM (SELECT * FROM told EXCEPT SELECT * FROM counted)"
        " UNION ALL SELECT * FROM (SELECT * FROM rows_counted EXCEPT SELECT * FROM rows_told)"
        " UNION ALL SELECT * FROM (SELECT * FROM rows_told EXCEPT SELECT * FROM rows_counted)"
    )


def kill_after(migration: Migration, proxy: Proxy, requests: int) -> None:
    """Runs it and kills it as soon as it has sent so many requests, if it has not ended by then."""
    before = len(proxy.seen)
    words = migration.folder / "words.txt"
    with words.open("w") as file:
        process = migration.start(stdout=file.fileno(), stderr=file.fileno())
    deadline = time.monotonic() + TIMEOUT
    while process.poll() is None and len(proxy.seen) - before < requests:
        assert time.monotonic() < deadline, words.read_text()
        time.sleep(0.002)  # the proxy does not tell by itself
    kill(process)


@EVERY_SERVER
@either
def test_a_bucket_is_as_it_was_before(folder: Path, bucket: Bucket) -> None:
    migration = overwriting(folder, bucket)
    before = snapshot(bucket)
    assert migration.run("migrate").status == 0
    assert migration.check(FILES | {"bystander.txt": b"nobody's business"}) or True
    assert snapshot(bucket) != before
    dry = migration.run("rollback", "--dry-run")
    assert dry.status == 0, dry.words
    for key in FILES:
        assert (f" {key}: would be" in dry.out) is (key != "photos/5.bin")
    finished = migration.run("rollback", "--yes")
    assert finished.status == 0, finished.words
    assert snapshot(bucket) == before
    again = migration.run("rollback", "--yes")
    assert (again.status, "nothing to undo" in again.words) == (0, True)
    migrated = migration.run("migrate")
    assert migrated.status == 0, migrated.words
    assert snapshot(bucket) == before  # nothing moves again unless that is asked for


@EVERY_SERVER
@pytest.mark.parametrize(
    ("whole", "versioned"),
    [
        pytest.param(True, True, id="done-versioned"),
        pytest.param(False, False, id="killed-plain"),
        pytest.param(True, False, id="done-plain", marks=pytest.mark.slow),
        pytest.param(False, True, id="killed-versioned", marks=pytest.mark.slow),
    ],
)
@pytest.mark.timeout(600)
def test_a_bucket_is_as_it_was_before_whenever_either_was_killed(
    folder: Path, bucket: Bucket, proxy: Proxy, whole: bool
) -> None:
    seed = fault_seed()
    print(f"FAULT_SEED={seed}")
    draw = random.Random(seed)
    migration = overwriting(folder, bucket)
    migration.environment["MIGRATOR_DESTINATION__ENDPOINT_URL"] = proxy.url
    before = snapshot(bucket)
    kills = max(2, fault_kills(8) // 4)
    for _ in range(kills):
        kill_after(migration, proxy, draw.randrange(1, 90))
    if whole:
        assert migration.run("migrate").status == 0
    done = run_killed(Rolling(migration), proxy, draw, kills, 80, ANSWERS)
    assert snapshot(bucket) == before, f"FAULT_SEED={seed}"
    print(f"{kills} kills of the migration, {done} of its rollback")


@on_mariadb
@pytest.mark.timeout(900)
def test_two_buckets_and_their_rows_are_as_they_were_before(folder: Path, best_server: Server, kind: str) -> None:
    seed = fault_seed()
    print(f"FAULT_SEED={seed}")
    draw = random.Random(seed)
    with stage(folder, best_server, kind, seed=draw.randrange(2**32), count=40) as all_of_it:
        migration, proxy, database = all_of_it.migration, all_of_it.proxy, all_of_it.database
        migration.environment["MIGRATOR_DESTINATION__ON_CONFLICT"] = "overwrite"
        for key in sorted(all_of_it.world.moves)[::7]:
            put(migration.bucket, key, b"stood here before", Metadata={"who": "them"}, Tagging="a=b")
        before = [snapshot(migration.bucket), snapshot(all_of_it.second)]
        kills = max(2, fault_kills(8) // 4)
        done = run_killed(migration, proxy, draw, kills, 150, ANSWERS)
        assert migration.run("verify").status == 0
        undone = run_killed(Rolling(migration), proxy, draw, kills, 250, ANSWERS)
        assert [snapshot(migration.bucket), snapshot(all_of_it.second)] == before, f"FAULT_SEED={seed}"
        rows, structure = all_of_it.before
        assert database.table() == rows
        assert miscounted(migration) == []
        assert {row for row in database.structure() if row[0] != "audit"} == structure
        print(f"{done} kills of the migration, {undone} of its rollback")


def test_row_34_what_somebody_changed_since_is_left_alone(folder: Path, bucket: Bucket) -> None:
    migration = overwriting(folder, bucket)
    before = snapshot(bucket)
    assert migration.run("migrate").status == 0
    put(bucket, "photos/1.bin", b"somebody's")
    put(bucket, "photos/3.bin", b"somebody's too")
    bucket.client().delete_object(Bucket=bucket.name, Key="photos/2.bin")
    dry, finished = migration.run("rollback", "--dry-run"), migration.run("rollback", "--yes")
    for said in (dry, finished):
        assert said.status == 1, said.words
        assert "2 objects" in said.out
        assert "somebody put something else there since" in said.out
    left = snapshot(bucket)
    assert left.pop("photos/1.bin null True")[0] == b"somebody's"
    assert left.pop("photos/3.bin null True")[0] == b"somebody's too"
    # What it had replaced is the only other thing that is left: the way back of somebody's own object.
    backup = [key for key in left if key.startswith("_migrator/backup/")]
    assert [left.pop(key)[0] for key in backup] == [b"before 3"]
    assert left == {key: value for key, value in before.items() if "photos/3.bin" not in key}
    names = migration.rows("SELECT kind, name, fault FROM left_alone ORDER BY name")
    assert names == [("object", "photos/1.bin", "conflict"), ("object", "photos/3.bin", "conflict")]
    bucket.client().delete_object(Bucket=bucket.name, Key="photos/1.bin")
    bucket.client().delete_object(Bucket=bucket.name, Key="photos/3.bin")
    assert migration.run("rollback", "--yes").status == 0
    assert snapshot(bucket) == before


@on_postgres
def test_row_34_a_row_that_somebody_changed_keeps_its_object(folder: Path, best_server: Server, kind: str) -> None:
    with stage(folder, best_server, kind, seed=5, count=30, large=100) as all_of_it:
        migration, database = all_of_it.migration, all_of_it.database
        before = snapshot(migration.bucket)
        assert migration.run().status == 0
        row, key = sorted(all_of_it.world.updates.items())[0]
        database.execute(f"UPDATE s3_images SET image_type = 'theirs' WHERE image_id = '{row}'")
        finished = migration.run("rollback", "--yes", "--drop-columns")
        assert finished.status == 1, finished.words
        assert "somebody changed image_type since it was updated" in finished.out
        assert "1 row holds a value in it" in finished.out
        now = database.table()
        changed = now.pop(row)
        assert (changed["s3_key_processed"], changed["image_type"]) == (key, "theirs")
        rows = {name: columns for name, columns in all_of_it.before[0].items() if name != row}
        grown = ("s3_key_processed", "image_type")
        assert {name: {c: v for c, v in one.items() if c not in grown} for name, one in now.items()} == rows
        left = snapshot(migration.bucket)
        assert [name.rsplit(" ", 2)[0] for name in left if name not in before] == [key]
        # Mended by hand: the rest goes with the same command.
        database.execute(f"UPDATE s3_images SET image_type = 'processed' WHERE image_id = '{row}'")
        finished = migration.run("rollback", "--yes", "--drop-columns")
        assert finished.status == 0, finished.words
        assert snapshot(migration.bucket) == before
        assert database.table() == all_of_it.before[0]


def test_one_run_or_one_source_is_undone(folder: Path, bucket: Bucket) -> None:
    tree(folder, FILES)
    tree(folder / "more", {"more.bin": b"more"})
    sources = [
        {"type": "directory", "name": name, "root": str(root / "tree"), "key": f"{name}/{{path}}"}
        for name, root in (("files", folder), ("more", folder / "more"))
    ]
    migration = Migration(folder, bucket, sources=sources)
    assert migration.run("migrate", "--limit", "5", "--source", "files").status in (0, 5)
    first = snapshot(bucket)
    assert len(first) == 5
    assert migration.run("migrate").status == 0
    everything = snapshot(bucket)
    runs = [number for (number,) in migration.rows("SELECT id FROM runs ORDER BY id")]
    assert migration.run("rollback", "--source", "more", "--yes").status == 0
    assert everything.keys() - snapshot(bucket).keys() == {"more/more.bin null True"}
    assert migration.run("rollback", "--run", str(runs[1]), "--yes").status == 0
    assert snapshot(bucket) == first
    assert miscounted(migration) == []
    assert migration.run("retry", "--rolled-back").status == 0
    finished = migration.run("migrate")
    assert finished.status == 0, finished.words
    assert snapshot(bucket) == everything
    assert miscounted(migration) == []
    assert migration.run("rollback", "--yes").status == 0
    assert snapshot(bucket) == {}


def test_nothing_is_undone_without_the_name(folder: Path, bucket: Bucket) -> None:
    migration = overwriting(folder, bucket)
    missing = migration.run("rollback", "--yes")
    assert (missing.status, "there is no ledger" in missing.words) == (3, True)
    assert migration.run("migrate").status == 0
    after = snapshot(bucket)
    finished = migration.run("rollback")
    assert finished.status == 2
    assert "--yes" in finished.words
    assert snapshot(bucket) == after


@pytest.mark.parametrize(
    ("original", "versioned"),
    [pytest.param(True, True, id="original"), pytest.param(False, False, id="variants-only", marks=pytest.mark.slow)],
)
@pytest.mark.timeout(600)
def test_variants_that_a_kill_kept_from_the_ledger_go_too(
    folder: Path, bucket: Bucket, proxy: Proxy, original: bool
) -> None:
    images = {f"{number}.jpg": photograph_jpeg(number, (360, 240)) for number in range(6)}
    tree(folder, images | {"words.txt": b"no image"} if original else images)
    source = tree_source(folder / "tree", keep_original=original)
    migration = Migration(folder, bucket, endpoint=proxy.url, sources=[source], transfer={"concurrency": 2})
    with migration.config.open("a") as file:
        file.write(
            '[[variants]]\nname = "thumb"\nkey = "thumbs/{stem}.{format}"\nwidth = 60\nformats = ["jpeg", "webp"]\n'
        )
    put(bucket, "bystander.txt", b"nobody's business")
    before = snapshot(bucket)
    for requests in (14, 20):
        kill_after(migration, proxy, requests)
        assert migration.run("rollback", "--yes").status == 0
        assert snapshot(bucket) == before, requests
        assert migration.run("retry", "--rolled-back").status == 0
    assert migration.run("migrate").status == 0
    expected = {f"thumbs/{number}.{kind}" for number in range(6) for kind in ("jpeg", "webp")}
    expected |= {"bystander.txt", *((*images, "words.txt") if original else ())}
    assert {name.rsplit(" ", 2)[0] for name in snapshot(bucket)} == expected
    assert migration.run("verify").status == 0
    assert migration.run("rollback", "--yes").status == 0
    assert snapshot(bucket) == before


def test_row_34_the_same_bytes_put_on_top_in_the_same_second(server: Server, folder: Path, bucket: Bucket) -> None:
    bucket.client().put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    tree(folder, {"mine.bin": b"one", "theirs.bin": b"one"})
    migration = Migration(folder, bucket)
    assert migration.run().status == 0
    put(bucket, "theirs.bin", b"one")
    before = snapshot(bucket)
    undone = migration.run("rollback", "--yes")
    assert undone.status == 1, undone.words
    assert "theirs.bin: left alone (somebody put something else there since)" in undone.words
    after = snapshot(bucket)
    assert after == {name: one for name, one in before.items() if name.startswith("theirs.bin")}
