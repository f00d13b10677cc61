"""Rows 26-28: a ledger that somebody else holds, that cannot be trusted, or that has no room."""

import os
import random
import resource
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Event

import pytest

from tests.ended import Ended
from tests.faults import actions
from tests.faults.checker import Bucket
from tests.faults.harness import Migration, finish, seeing
from tests.faults.kills import failing_writes, fault_seed, strace_missing
from tests.faults.proxy import Proxy, Rule
from tests.faults.world import small_tree
from tests.small_disk import small_disk_at

pytestmark = pytest.mark.faults

OBJECTS = r"/dir[^?]*$"


def test_row_26_the_second_of_two_runs_leaves_at_once(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = small_tree(folder)
    go_on = Event()

    def hold() -> None:
        go_on.wait(60)

    proxy.rules.append(Rule(actions.call(hold), method="PUT", target=OBJECTS, times=None, skip=2))
    migration = Migration(folder, bucket, endpoint=proxy.url)
    first = migration.start()
    try:
        proxy.wait("PUT", OBJECTS)
        second = migration.run()
        status = migration.run("status", "--json")
    finally:
        go_on.set()
        finished = finish(first)
    assert second.status == 4, second.words
    assert str(first.pid) in second.err, "it says who holds the ledger"
    assert os.uname().nodename in second.err
    assert status.status == 0, status.words
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []


@pytest.fixture
def done(folder: Path, bucket: Bucket) -> Migration:
    """A migration that is complete."""
    small_tree(folder)
    migration = Migration(folder, bucket)
    finished = migration.run()
    assert finished.status == 0, finished.words
    return migration


def assert_refused(finished: Ended, *words: str) -> None:
    """Exit 4, one message that says what to do, and no traceback."""
    assert finished.status == 4, finished.words
    assert "Traceback" not in finished.words
    for word in words:
        assert word in finished.words, finished.words


def test_row_27_a_ledger_of_a_newer_version_is_refused(done: Migration) -> None:
    with closing(sqlite3.connect(done.ledger)) as database, database:
        row = database.execute("select * from _sqlite_migrations").fetchone()
        columns = [name for _, name, *_ in database.execute("pragma table_info(_sqlite_migrations)")]
        newer = {**dict(zip(columns, row, strict=True)), "id": 99, "name": "9999-from-the-future"}
        marks = ", ".join("?" * len(newer))
        database.execute(f"insert into _sqlite_migrations ({', '.join(newer)}) values ({marks})", tuple(newer.values()))
    before = done.ledger.read_bytes()
    for command in ("migrate", "status", "plan"):
        assert_refused(done.run(command), "newer", "upgrade")
    assert done.ledger.read_bytes() == before


@pytest.mark.parametrize("damage", ["garbage", "header", "truncated", "other-database"])
def test_row_27_a_damaged_ledger_is_refused(done: Migration, damage: str) -> None:
    for sibling in done.ledger.parent.glob(done.ledger.name + "-*"):
        sibling.unlink()
    body = bytearray(done.ledger.read_bytes())
    if damage == "garbage":
        body[4096 : len(body) - 4096] = os.urandom(len(body) - 8192)
    elif damage == "header":
        body[:100] = os.urandom(100)
    elif damage == "truncated":
        del body[len(body) // 2 :]
    done.ledger.write_bytes(body)
    if damage == "other-database":
        done.ledger.unlink()
        with closing(sqlite3.connect(done.ledger)) as database, database:
            database.execute("create table somebody (else_)")
    before = done.ledger.read_bytes()
    assert_refused(done.run())
    assert done.ledger.read_bytes() == before, "it may still be mended"


@pytest.mark.parametrize("kind", ["nfs4", pytest.param("fuse.sshfs", marks=pytest.mark.slow)])
def test_row_27_a_ledger_on_a_network_file_system_is_refused(folder: Path, bucket: Bucket, kind: str) -> None:
    small_tree(folder)
    migration = Migration(folder, bucket)
    mounts = folder / "mountinfo"
    here = f"999 22 0:99 / {folder} rw,relatime - {kind} server:/export rw\n"
    mounts.write_text(Path("/proc/self/mountinfo").read_text() + here)
    # The tool sees a table of mounts in which its folder is a share.
    before = seeing(mounts, "/proc/$$/mountinfo")
    assert_refused(migration.run(before=before), "network", "checkpoint_dir")
    assert not migration.ledger.exists()


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    with small_disk_at(folder / "checkpoints", 1) as place:
        yield place


def test_row_28_a_full_disk_stops_the_run_and_room_lets_it_go_on(
    folder: Path, bucket: Bucket, proxy: Proxy, small_disk: Path
) -> None:
    contents = small_tree(folder, count=300, size=20)
    migration = Migration(folder, bucket, endpoint=proxy.url)
    filled = small_disk / "something-else"
    filled.write_bytes(b"x" * 800_000)
    finished = migration.run()
    assert_refused(finished, "full")
    assert_no_put_without_intent(migration, proxy)
    filled.unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    again = migration.run()
    assert again.status == 0, again.words
    assert migration.check(contents) == []


def test_row_28_a_file_size_limit_is_a_full_disk_too(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = small_tree(folder, count=300, size=20)
    migration = Migration(folder, bucket, endpoint=proxy.url)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    # Coverage of the child would write its own files under the same limit.
    plain = 'unset $(env | sed -n "s/^\\(COV[^=]*\\)=.*/\\1/p"); ulimit -f 120 && exec "$@"'
    finished = migration.run(before=["sh", "-c", plain, "sh"])
    assert_refused(finished)
    assert_no_put_without_intent(migration, proxy)
    again = migration.run()
    assert again.status == 0, again.words
    assert migration.check(contents) == []


def test_row_28_a_full_disk_under_the_log_alone_is_said_once(folder: Path, bucket: Bucket) -> None:
    contents = small_tree(folder, count=30)
    migration = Migration(folder, bucket)
    finished = migration.run("migrate", "-vv", "--log-file", "/dev/full")
    assert finished.status == 0, finished.words
    assert finished.err.count("the log /dev/full cannot be written") == 1
    assert migration.check(contents) == []


@pytest.mark.parametrize("error", ["ENOSPC", pytest.param("EIO", marks=pytest.mark.slow)])
def test_row_28_a_write_that_fails_stops_the_run(folder: Path, bucket: Bucket, proxy: Proxy, error: str) -> None:
    if missing := strace_missing():
        pytest.skip(missing)
    contents = small_tree(folder, count=60)
    migration = Migration(folder, bucket, endpoint=proxy.url)
    draw = random.Random(seed := fault_seed())
    for number in [draw.randrange(1, 60) for _ in range(2)]:
        print(f"FAULT_SEED={seed}: {error} from write {number} on")
        finished = migration.run(before=failing_writes(migration.ledger, error, number))
        assert finished.status in (0, 4), finished.words
        assert "Traceback" not in finished.words
        assert_no_put_without_intent(migration, proxy)
    again = migration.run()
    assert again.status == 0, again.words
    assert migration.check(contents) == []


def assert_no_put_without_intent(migration: Migration, proxy: Proxy) -> None:
    """What was sent is in the ledger as intended at least."""
    known: set[str] = set()
    with suppress(sqlite3.OperationalError):  # no ledger, or one without tables: then nothing may have been sent
        known = {key for key, (state, _) in migration.items().items() if state != "planned"}
    sent = {
        seen.target.split("/", 2)[2] for seen in proxy.seen if seen.method == "PUT" and "_migrator/" not in seen.target
    }
    assert sent <= known
