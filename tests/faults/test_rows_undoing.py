"""Rows 30 and 34 for `rollback`: signals while it works, and what a killed one leaves to the commands after it."""

import asyncio
import os
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.ended import Ended
from tests.faults import actions
from tests.faults.checker import Bucket
from tests.faults.harness import Migration, finish, kill, tree_source
from tests.faults.proxy import Forward, Proxy, Rule
from tests.faults.servers import Server
from tests.faults.test_row_34_rollback import miscounted, put, snapshot
from tests.faults.wire import Answer, Request
from tests.faults.world import small_tree

pytestmark = pytest.mark.faults

OBJECTS = r"/dir[^?]*"


def undone_in_part(migration: Migration, proxy: Proxy, *numbers: signal.Signals, slow: float = 0.3) -> Ended:
    """A rollback that gets the signals once the third object has been deleted."""
    proxy.rules.append(Rule(actions.delay(slow), method="DELETE", target=OBJECTS, skip=3, times=None))
    seen = proxy.count("DELETE", OBJECTS)
    process = migration.start("rollback", "--yes")
    proxy.wait("DELETE", OBJECTS, number=seen + 3)
    for number in numbers:
        os.kill(process.pid, number)
        if number is not numbers[-1]:
            # Two signals at the same time are one: the second comes when the first is known to have arrived.
            assert process.stderr
            while "finishing what is on the way" not in (line := process.stderr.readline()):
                assert line, "the first signal was not noticed"
    finished = finish(process)
    proxy.rules.clear()
    return finished


@pytest.mark.parametrize(
    ("number", "status"),
    [
        pytest.param(signal.SIGINT, 130, id="SIGINT"),
        pytest.param(signal.SIGTERM, 143, id="SIGTERM", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, id="SIGHUP", marks=pytest.mark.slow),
    ],
)
def test_row_30_a_rollback_that_gets_a_signal_settles_and_goes_on(
    folder: Path, bucket: Bucket, proxy: Proxy, number: signal.Signals, status: int
) -> None:
    contents = small_tree(folder, count=30)
    migration = Migration(folder, bucket, endpoint=proxy.url)
    before = snapshot(bucket)
    assert migration.run().status == 0
    finished = undone_in_part(migration, proxy, number)
    assert finished.status == status, finished.words
    assert "Traceback" not in finished.words
    assert "goes on" in finished.words, "it says how to go on"
    standing = {name.rsplit(" ", 2)[0] for name in snapshot(bucket)}
    stored = {key for key, (state, _) in migration.items().items() if state == "stored"}
    assert stored == standing, "what was undone is settled, and nothing else"
    assert 0 < len(standing) < len(contents)
    assert miscounted(migration) == []
    again = migration.run("rollback", "--yes")
    assert again.status == 0, again.words
    assert snapshot(bucket) == before


@pytest.mark.slow
def test_row_30_a_second_signal_ends_a_rollback_at_once(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    small_tree(folder, count=30)
    migration = Migration(folder, bucket, endpoint=proxy.url, transfer={"timeout": "300s"})
    before = snapshot(bucket)
    assert migration.run().status == 0
    finished = undone_in_part(migration, proxy, signal.SIGINT, signal.SIGINT, slow=300)
    assert finished.status == 130, finished.words
    assert "Traceback" not in finished.words
    again = migration.run("rollback", "--yes")
    assert again.status == 0, again.words
    assert snapshot(bucket) == before


def test_row_34_nothing_builds_on_a_rollback_that_was_killed(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = small_tree(folder, count=20)
    sources = [tree_source(folder / "tree", name="tree")]
    migration = Migration(folder, bucket, endpoint=proxy.url, sources=sources)
    before = snapshot(bucket)
    assert migration.run().status == 0
    proxy.rules.append(Rule(actions.delay(300), method="DELETE", target=OBJECTS, skip=2, times=None))
    process = migration.start("rollback", "--yes", "--source", "tree")
    proxy.wait("DELETE", OBJECTS, number=2)
    kill(process)
    process.communicate()
    proxy.rules.clear()
    standing = snapshot(bucket)
    finished = migration.run("migrate")
    assert finished.status == 3, finished.words
    assert "a rollback was killed" in finished.words
    assert "migrator rollback --source tree" in finished.words
    assert snapshot(bucket) == standing, "it moves nothing"
    assert migration.run("rollback", "--yes", "--source", "tree").status == 0
    assert snapshot(bucket) == before
    assert migration.run("retry", "--rolled-back").status == 0
    finished = migration.run("migrate")
    assert finished.status == 0, finished.words
    assert {name.rsplit(" ", 2)[0] for name in snapshot(bucket)} == contents.keys()


def test_row_34_what_a_killed_rollback_brought_back_is_nobodys_change(
    folder: Path, server: Server, proxy: Proxy
) -> None:
    bucket = server.make_bucket(f"undoing-{os.getpid()}")
    contents = small_tree(folder, count=3)
    put(bucket, min(contents), b"stood here before")
    before = snapshot(bucket)
    migration = Migration(folder, bucket, endpoint=proxy.url, destination={"on_conflict": "overwrite"})
    assert migration.run().status == 0
    with closing(sqlite3.connect(migration.ledger)) as ledger, ledger:
        # As a kill leaves it between the put and its settling: the next run adopts what stands there.
        ledger.execute("UPDATE items SET replaced = NULL, adopted = 1")
    gone = threading.Event()

    async def held(request: Request, forward: Forward) -> Answer:
        answer = await forward(request)
        gone.set()
        await asyncio.sleep(300)
        return answer

    proxy.rules.append(Rule(held, method="DELETE", target="_migrator/backup/", times=None))
    process = migration.start("rollback", "--yes")
    assert gone.wait(30), "no backup was discarded"
    kill(process)
    process.communicate()
    proxy.rules.clear()
    finished = migration.run("rollback", "--yes")
    assert finished.status == 0, finished.words
    assert snapshot(bucket) == before
