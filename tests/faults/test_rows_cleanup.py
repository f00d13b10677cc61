"""Rows 6 and 29, the other half: which sources `cleanup` takes away, how they come back, and what is never touched."""

import json
import os
import random
import signal
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.faults import actions
from tests.faults.checker import Bucket
from tests.faults.harness import Migration, finish, tree_source
from tests.faults.kills import ANSWERS, fault_kills, fault_seed, run_killed
from tests.faults.proxy import Forward, Proxy, Rule
from tests.faults.servers import Server
from tests.faults.test_row_34_rollback import Rolling, miscounted, snapshot
from tests.faults.test_rows_verify import damage
from tests.faults.wire import Answer, Request
from tests.faults.world import small_tree, write_tree

pytestmark = pytest.mark.faults

Files = dict[str, tuple[bytes, int]]

_numbers = count(1)

SERVERS = pytest.mark.parametrize("server", ["moto", pytest.param("ceph20", marks=pytest.mark.slow)], indirect=True)


def files(root: Path) -> Files:
    """Bytes and modification time of every file below `root`, by its path."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def trashed(root: Path) -> set[str]:
    """What is in the trash of a source."""
    trash = root / ".migrator-trash"
    return {str(path.relative_to(trash)) for path in trash.rglob("*") if path.is_file()}


def migrated(folder: Path, bucket: Bucket, **keys: Any) -> Migration:
    """A migration that moved everything, and of which every object was verified; its grace period is over at once."""
    migration = Migration(folder, bucket, **keys)
    migration.environment["MIGRATOR_CLEANUP__GRACE"] = "0s"
    for command in ("migrate", "verify"):
        finished = migration.run(command)
        assert finished.status == 0, finished.words
    return migration


def cleanup(migration: Migration, *arguments: str, status: int = 0) -> dict[str, Any]:
    """Its summary."""
    finished = migration.run("cleanup", "--json", *(arguments or ("--yes",)))
    assert finished.status == status, finished.words
    found: dict[str, Any] = json.loads(finished.out.splitlines()[-1])
    return found


def kept(told: Mapping[str, Any]) -> dict[str, int]:
    """Sources that stay, by reason."""
    return {name: group["sources"] for name, group in told["kept"].items()}


def gone(told: Mapping[str, Any]) -> int:
    """Sources that went."""
    return sum(group["sources"] for group in told["gone"])


@pytest.fixture
def bucket(server: Server) -> Bucket:
    """A destination without versions."""
    return server.make_bucket(f"cleanup-{os.getpid()}-{next(_numbers)}")


def test_row_06_nothing_goes_before_it_was_verified(folder: Path, bucket: Bucket) -> None:
    contents = small_tree(folder)
    before = files(folder / "tree")
    migration = Migration(folder, bucket)
    migration.environment["MIGRATOR_CLEANUP__GRACE"] = "0s"
    assert migration.run().status == 0
    assert kept(cleanup(migration)) == {"unverified": len(contents)}
    assert files(folder / "tree") == before


def test_files_go_to_the_trash_and_come_back(folder: Path, bucket: Bucket) -> None:
    contents = small_tree(folder) | write_tree(folder / "tree", {"odd/ plus+and %20 \u00fc.bin": b"odd"})
    before = files(folder / "tree")
    migration = migrated(folder, bucket)
    dry = cleanup(migration, "--dry-run")
    assert gone(dry) == len(contents)
    assert files(folder / "tree") == before
    assert gone(cleanup(migration)) == len(contents)
    assert trashed(folder / "tree") == set(contents)
    assert {name.removeprefix(".migrator-trash/"): told for name, told in files(folder / "tree").items()} == before
    assert migration.run("migrate", "--rescan").status == 0
    assert migration.run("verify", "--sources").status == 0
    assert migration.items() == dict.fromkeys(contents, ("stored", ""))
    again = cleanup(migration)
    assert (gone(again), kept(again)) == (0, {}), "what went is no candidate any more"
    assert migration.run("rollback", "--yes").status == 0
    assert files(folder / "tree") == before
    assert not (folder / "tree/.migrator-trash").exists()
    assert miscounted(migration) == []


def test_row_06_what_is_damaged_keeps_its_source(folder: Path, bucket: Bucket) -> None:
    contents = small_tree(folder, count=400, size=300)
    _damaged_keep_theirs(folder, bucket, contents, 48)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("server", ["rclone", "ceph20"], indirect=True)
def test_row_06_a_thousand_damaged_among_ten_thousand_keep_theirs(folder: Path, bucket: Bucket) -> None:
    contents = small_tree(folder, count=10_000, size=200)
    _damaged_keep_theirs(folder, bucket, contents, 1_008)


def _damaged_keep_theirs(folder: Path, bucket: Bucket, contents: Mapping[str, bytes], number: int) -> None:
    """Half of the damage is done before `verify` looks, half of it after."""
    migration = Migration(folder, bucket)
    migration.environment["MIGRATOR_CLEANUP__GRACE"] = "0s"
    assert finish(migration.start(), 600).status == 0
    seed = fault_seed()
    draw = random.Random(seed)
    early = damage(bucket, contents, number // 2, draw)
    assert finish(migration.start("verify"), 600).status == 1
    intact = {key: body for key, body in contents.items() if key not in early}
    late = damage(bucket, intact, number // 2, draw)
    told = json.loads(finish(migration.start("cleanup", "--yes", "--json"), 600).out.splitlines()[-1])
    assert kept(told) == {"differs": len(early), "object-changed": len(late)}, f"FAULT_SEED={seed}"
    assert told["exit_status"] == 1, "what was proven before and is damaged now has to be said"
    left = {key for key in contents if (folder / "tree" / key).exists()}
    assert left == early.keys() | late.keys(), f"FAULT_SEED={seed}"
    assert trashed(folder / "tree") == contents.keys() - left


def test_a_source_that_changed_is_kept(folder: Path, bucket: Bucket) -> None:
    small_tree(folder, count=4)
    migration = migrated(folder, bucket)
    changed, removed = folder / "tree/dir0/file0.bin", folder / "tree/dir1/file1.bin"
    changed.write_bytes(b"new")
    removed.unlink()
    told = cleanup(migration, status=1)
    assert kept(told) == {"source-changed": 1, "source-gone": 1}
    assert changed.read_bytes() == b"new"
    assert len(trashed(folder / "tree")) == 2


def test_the_grace_period_counts_from_the_last_verification(folder: Path, bucket: Bucket) -> None:
    small_tree(folder, count=2)
    migration = migrated(folder, bucket)
    del migration.environment["MIGRATOR_CLEANUP__GRACE"]
    assert kept(cleanup(migration)) == {"grace": 2}
    migration.environment["MIGRATOR_CLEANUP__GRACE"] = "1h"
    assert kept(cleanup(migration)) == {"grace": 2}
    assert gone(cleanup(migration, "--yes") | {}) == 0
    migration.environment["MIGRATOR_CLEANUP__GRACE"] = "0s"
    assert gone(cleanup(migration)) == 2
    migration.environment["MIGRATOR_CLEANUP__GRACE"] = "1h"
    assert kept(cleanup(migration, "--purge", "--yes")) == {"grace": 2}
    migration.environment["MIGRATOR_CLEANUP__GRACE"] = "0s"
    assert gone(cleanup(migration, "--purge", "--dry-run")) == 2
    assert len(trashed(folder / "tree")) == 2
    assert gone(cleanup(migration, "--purge", "--yes")) == 2
    assert files(folder / "tree") == {}


def test_the_last_copy_is_never_undone(folder: Path, bucket: Bucket) -> None:
    contents = small_tree(folder, count=4)
    migration = migrated(folder, bucket)
    assert gone(cleanup(migration)) == 4
    one = folder / "tree/.migrator-trash/dir0/file0.bin"
    one.unlink()
    assert gone(cleanup(migration, "--purge", "--limit", "1", "--yes")) == 1
    only = contents.keys() - trashed(folder / "tree")
    assert len(only) == 2
    dry = migration.run("rollback", "--dry-run")
    assert dry.status == 1, dry.words
    finished = migration.run("rollback", "--yes")
    assert finished.status == 1, finished.words
    s3 = bucket.client()
    standing = {entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket.name)["Contents"]}
    assert standing == only
    assert "dir0/file0.bin: left alone (its source is gone for good, so it may be the only copy)" in finished.out
    for key in only:
        path = folder / "tree" / key
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(s3.get_object(Bucket=bucket.name, Key=key)["Body"].read())
    again = migration.run("rollback", "--yes")
    assert again.status == 0, again.words
    assert {key: body for key, (body, _) in files(folder / "tree").items()} == contents
    assert s3.list_objects_v2(Bucket=bucket.name).get("Contents", []) == []


def test_nothing_is_put_over_what_appeared_since(folder: Path, bucket: Bucket) -> None:
    small_tree(folder, count=2)
    migration = migrated(folder, bucket)
    assert gone(cleanup(migration)) == 2
    new = folder / "tree/dir0/file0.bin"
    new.write_bytes(b"new")
    finished = migration.run("rollback", "--yes")
    assert finished.status == 1, finished.words
    assert "something else stands at its place since" in finished.out
    assert new.read_bytes() == b"new"
    assert trashed(folder / "tree") == {"dir0/file0.bin"}
    keys = {entry["Key"] for entry in bucket.client().list_objects_v2(Bucket=bucket.name)["Contents"]}
    assert keys == {"dir0/file0.bin"}


def old_bucket(server: Server, contents: Mapping[str, bytes], *, versioned: bool) -> Bucket:
    """A source."""
    old = server.make_bucket(f"cleanup-old-{os.getpid()}-{next(_numbers)}", versioned=versioned)
    for key, body in contents.items():
        old.client().put_object(Bucket=old.name, Key=key, Body=body)
    return old


def bucket_source(old: Bucket, **keys: Any) -> dict[str, Any]:
    """It in a configuration."""
    return {"type": "bucket", "name": "old", "bucket": old.name, "key": "new/{path}", **keys}


CONTENTS = {f"a/{number}.bin": bytes([number]) * 50 for number in range(6)} | {"odd/ +%20\u00fc.bin": b"odd"}


@SERVERS
def test_objects_of_a_versioned_bucket_are_hidden_and_come_back(folder: Path, server: Server, bucket: Bucket) -> None:
    old = old_bucket(server, CONTENTS, versioned=True)
    before = snapshot(old)
    migration = migrated(folder, bucket, sources=[bucket_source(old)])
    assert gone(cleanup(migration, "--dry-run")) == len(CONTENTS)
    assert snapshot(old) == before
    told = cleanup(migration)
    assert [(group["way"], group["sources"]) for group in told["gone"]] == [("marker", len(CONTENTS))]
    assert old.client().list_objects_v2(Bucket=old.name).get("Contents", []) == []
    assert migration.run("rollback", "--yes").status == 0
    assert snapshot(old) == before
    assert migration.run("retry", "--rolled-back").status == 0
    assert migration.run().status == 0
    assert migration.run("verify").status == 0
    assert gone(cleanup(migration)) == len(CONTENTS)
    assert gone(cleanup(migration, "--purge", "--yes")) == len(CONTENTS)
    assert snapshot(old) == {}
    assert migration.run("rollback", "--yes").status == 1
    assert len(bucket.client().list_objects_v2(Bucket=bucket.name)["Contents"]) == len(CONTENTS)


@pytest.mark.parametrize(
    ("server", "conditional"),
    [("moto", True), ("rclone", False), pytest.param("ceph20", True, marks=pytest.mark.slow)],
    indirect=["server"],
)
def test_objects_without_versions_go_under_a_condition_or_not_at_all(
    folder: Path, server: Server, bucket: Bucket, conditional: bool
) -> None:
    old = old_bucket(server, CONTENTS, versioned=False)
    migration = migrated(folder, bucket, sources=[bucket_source(old)])
    if not conditional:
        told = cleanup(migration, status=1)
        assert kept(told) == {"unconditional": len(CONTENTS)}
        assert "--without-condition" in told["kept"]["unconditional"]["message"]
        assert len(old.client().list_objects_v2(Bucket=old.name)["Contents"]) == len(CONTENTS)
    assert gone(cleanup(migration, "--yes", *(() if conditional else ("--without-condition",)))) == len(CONTENTS)
    assert old.client().list_objects_v2(Bucket=old.name).get("Contents", []) == []
    assert migration.run("rollback", "--yes").status == 1
    assert len(bucket.client().list_objects_v2(Bucket=bucket.name)["Contents"]) == len(CONTENTS)


class Cleaning(Migration):
    """The same migration, of which every run is a cleanup."""

    def __init__(self, migration: Migration, *words: str) -> None:
        self.__dict__.update(migration.__dict__)
        self.words = words or ("cleanup", "--yes", "--without-condition")


def _killed_at_any_moment(folder: Path, server: Server, bucket: Bucket, proxy: Proxy, kills: int) -> None:
    """Cleanup and then rollback, killed again and again: bucket, versions and files are what they were before."""
    tree = {f"dir{number % 3}/{number}.bin": bytes([number]) * 99 for number in range(20)}
    write_tree(folder / "tree", tree)
    old = old_bucket(server, {f"old/{key}": body for key, body in tree.items()}, versioned=True)
    sources = [tree_source(folder / "tree"), bucket_source(old, prefix="old/", endpoint_url=proxy.url)]
    before = files(folder / "tree"), snapshot(old), snapshot(bucket)
    migration = migrated(folder, bucket, endpoint=proxy.url, sources=sources)
    stored = snapshot(bucket)
    seed = fault_seed()
    draw = random.Random(seed)
    killed = run_killed(Cleaning(migration), proxy, draw, kills, 150, ANSWERS)
    assert snapshot(bucket) == stored, f"FAULT_SEED={seed}"
    assert trashed(folder / "tree") == tree.keys(), f"FAULT_SEED={seed}"
    assert old.client().list_objects_v2(Bucket=old.name).get("Contents", []) == [], f"FAULT_SEED={seed}"
    killed += run_killed(Rolling(migration), proxy, draw, kills, 150, ANSWERS)
    after = files(folder / "tree"), snapshot(old), snapshot(bucket)
    assert after == before, f"FAULT_SEED={seed}"
    assert migration.rows("select distinct state from cleaned") == [("restored",)], f"FAULT_SEED={seed}"
    assert miscounted(migration) == []
    print(f"{killed} kills, FAULT_SEED={seed}")


def test_killed_at_any_moment_every_source_comes_back(
    folder: Path, server: Server, bucket: Bucket, proxy: Proxy
) -> None:
    _killed_at_any_moment(folder, server, bucket, proxy, fault_kills(3))


@pytest.mark.slow
@pytest.mark.timeout(900)
@SERVERS
def test_killed_twenty_times_every_source_comes_back(
    folder: Path, server: Server, bucket: Bucket, proxy: Proxy
) -> None:
    _killed_at_any_moment(folder, server, bucket, proxy, fault_kills(20))


@pytest.mark.parametrize("conditional", [True, False])
def test_an_answer_that_was_lost_hides_nothing_twice(
    folder: Path, server: Server, bucket: Bucket, proxy: Proxy, conditional: bool
) -> None:
    old = old_bucket(server, CONTENTS, versioned=True)
    before = snapshot(old)
    migration = migrated(folder, bucket, sources=[bucket_source(old, endpoint_url=proxy.url)])
    lost = Rule(actions.lose_answer, method="DELETE", target=r"/a/", times=3)
    proxy.rules.append(lost)
    if not conditional:
        proxy.rules.append(Rule(actions.drop_request_headers("if-match"), method="DELETE", times=None))
    assert gone(cleanup(migration)) == len(CONTENTS)
    assert lost.hits == 3
    markers = [key for key, told in snapshot(old).items() if told == "delete marker"]
    assert len(markers) == len(CONTENTS)
    assert migration.run("rollback", "--yes").status == 0
    assert snapshot(old) == before


def test_what_its_server_does_not_show_again_is_not_called_brought_back(
    folder: Path, server: Server, bucket: Bucket, proxy: Proxy
) -> None:
    """OpenStack Swift, where a key is not ASCII: the marker goes, and the version below stays out of sight."""
    old = old_bucket(server, CONTENTS, versioned=True)
    migration = migrated(folder, bucket, sources=[bucket_source(old, endpoint_url=proxy.url)])
    assert gone(cleanup(migration)) == len(CONTENTS)

    async def unseen(request: Request, forward: Forward) -> Answer:
        answer = await forward(request)
        if b"<DeleteMarker>" in answer.body:
            return answer
        return replace(answer, body=answer.body.replace(b"<IsLatest>true", b"<IsLatest>false"))

    proxy.rules.append(Rule(unseen, method="GET", target=r"/a/1\.bin|prefix=a%2F1\.bin", times=None))
    undone = migration.run("rollback", "--yes")
    assert undone.status == 1
    assert "does not show it" in undone.out
    assert f"{len(CONTENTS) - 1} sources brought back" in undone.out


def test_row_30_a_signal_drains_and_the_next_cleanup_goes_on(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = small_tree(folder, count=60, size=100)
    migration = migrated(folder, bucket)
    migration.environment["MIGRATOR_DESTINATION__ENDPOINT_URL"] = proxy.url
    proxy.rules.append(Rule(actions.delay(0.2), method="HEAD", target=r"/dir", times=None))
    process = migration.start("cleanup", "--yes")
    proxy.wait("HEAD", r"/dir", 20)
    os.kill(process.pid, signal.SIGINT)
    ended = finish(process)
    assert ended.status == 130, ended.words
    assert "the same command again goes on where this stopped" in ended.out
    assert "Traceback" not in ended.words
    proxy.rules.clear()
    went = len(trashed(folder / "tree"))
    assert 0 < went < 60
    assert migration.rows("select count(*) from cleaned where state = 'intended'") == [(0,)]
    assert gone(cleanup(migration)) == 60 - went
    assert trashed(folder / "tree") == contents.keys()
