"""What a kill, a full disk or a failing neighbour may not do to a ledger."""

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from migrator.core.audit import Wanted
from migrator.core.errors import LedgerError, LedgerFull
from migrator.ledger.audit_check import check
from migrator.ledger.audit_reading import events
from migrator.ledger.sqlite import SqliteLedger
from migrator.ledger.view import LedgerView
from tests.ledger.making import (
    finish_left_plan,
    items,
    page,
    planning,
    query,
    recount,
    settle_all,
    settlement,
    stored,
    tallied,
)
from tests.small_disk import small_disk_at

WORK = """
import asyncio, sys
from pathlib import Path
from migrator.ledger.sqlite import SqliteLedger
from tests.ledger.making import items, page, settlement, stored, failed

async def scan(ledger):
    cursor, _ = await ledger.cursor("photos")
    for number in range(int(cursor or 0), 10_000):
        await ledger.add("photos", page(items(*(f"{number}-{n}" for n in range(7))), cursor=str(number + 1)))
        print("page", number + 1, flush=True)

async def move(ledger):
    while True:
        tasks = await ledger.leftovers(5) or await ledger.claim(5)
        for task in tasks:
            print("claimed", task.id, flush=True)
        done = [settlement(task, stored() if task.id % 3 else failed()) for task in tasks]
        await ledger.settle(done)
        for task in tasks:
            print("settled", task.id, flush=True)

async def main():
    ledger = SqliteLedger.open(Path(sys.argv[1]), name="job")
    await ledger.begin_run("migrate", "hash")
    await asyncio.gather(scan(ledger), move(ledger))

asyncio.run(main())
"""


def work_until_killed(path: Path, lines: int) -> list[list[str]]:
    """What a process said before it was killed, after about `lines` lines of it."""
    with subprocess.Popen([sys.executable, "-c", WORK, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = [line.split() for line, _ in zip(process.stdout, range(lines), strict=False)]
        process.send_signal(signal.SIGKILL)
        said += [line.split() for line in process.stdout if line.endswith("\n")]
    assert process.returncode == -signal.SIGKILL
    return said


def test_what_was_said_to_be_written_is_there_after_kills(path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    pages = 0
    for lines in random.Random(seed).choices(range(1, 120), k=5):
        said = work_until_killed(path, lines)
        state: dict[int, str] = dict(query(path, "SELECT id, state FROM items"))
        assert tallied(path) == recount(path), seed
        assert all(state[int(item)] in ("stored", "failed") for word, item in said if word == "settled"), seed
        assert all(state[int(item)] != "planned" for word, item in said if word == "claimed"), seed
        pages = max([pages, *(int(number) for word, number in said if word == "page")])
        ((cursor, count),) = query(path, "SELECT cursor, (SELECT count(*) FROM items) FROM scans")
        assert int(str(cursor)) >= pages, seed
        assert count == 7 * int(str(cursor)), seed
        assert untold(path) == [], seed


def untold(path: Path) -> list[str]:
    """Keys that stand and are not in the audit log, which must be whole but for a line that the kill cut short."""
    log = path.with_suffix(".audit.jsonl")
    with LedgerView.open(path) as view:
        assert check(log, view.audit_head()).broken is None
    told = {event.name for event in events(log, Wanted())} if log.exists() else set()
    return [key for (key,) in query(path, "SELECT key FROM items WHERE state = 'stored'") if key not in told]


async def test_work_that_fails_leaves_its_neighbours_in_the_same_commit_alone(path: Path) -> None:
    with SqliteLedger.open(path, name="job") as ledger:
        await ledger.add("photos", page(items("a", "b")))
        first, second = await ledger.claim(2)
        await settle_all(ledger, [first], stored())
        results = await asyncio.gather(
            ledger.add("photos", page(items("c"))),
            ledger.settle([settlement(second, stored()), settlement(first, stored())]),
            ledger.settle([settlement(second, stored())]),
            return_exceptions=True,
        )
    assert [type(result) for result in results] == [int, LedgerError, type(None)]
    assert query(path, "SELECT key, state FROM items ORDER BY key") == [
        ("a", "stored"),
        ("b", "stored"),
        ("c", "planned"),
    ]
    assert tallied(path) == recount(path)


async def test_a_caller_that_is_gone_stops_nobody(ledger: SqliteLedger) -> None:
    waiting = [asyncio.ensure_future(ledger.add("photos", page(items(str(number))))) for number in range(50)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await ledger.add("photos", page(items("last"))) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    with small_disk_at(tmp_path / "small", 2) as place:
        yield place


async def test_a_full_disk_stops_the_run_and_room_lets_it_go_on(small_disk: Path) -> None:
    path = small_disk / "checkpoints" / "job.db"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_200_000))
    with SqliteLedger.open(path, name="job") as ledger:
        entered = 0
        with pytest.raises(LedgerFull, match="make room"):
            for number in range(100):
                entered += await ledger.add("photos", page(items(*(f"{number}-{n}" for n in range(200)))))
        with pytest.raises(LedgerFull):
            for _ in range(1000):
                assert await ledger.claim(50)
        claimed = query(path, "SELECT count(*) FROM items WHERE state = 'intended'")
        ballast.unlink()
        assert await ledger.add("photos", page(items("last"))) == 1
    with SqliteLedger.open(path, name="job") as ledger:
        assert [(len(await ledger.leftovers(10_000)),)] == claimed
    assert query(path, "SELECT count(*) FROM items") == [(entered + 1,)]
    assert tallied(path) == recount(path)


async def test_a_disk_that_is_full_from_the_start_is_said_to_be(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(2 * 1024 * 1024 - 8192))
    with pytest.raises(LedgerFull, match="make room"):
        SqliteLedger.open(small_disk / "job.db", name="job")
    (small_disk / "ballast").unlink()
    with SqliteLedger.open(small_disk / "job.db", name="job") as ledger:
        assert await ledger.add("photos", page(items("a"))) == 1


async def test_a_disk_that_is_full_when_a_plan_ends_leaves_it_to_be_ended(small_disk: Path) -> None:
    path, ballast = small_disk / "job.db", small_disk / "ballast"
    async with planning(path) as ledger:
        for number in range(10):
            await ledger.add("photos", page(items(*(f"{number}/{n}" for n in range(200)))))
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        with pytest.raises(LedgerFull, match="make room"):
            await ledger.finish_plan()
        assert ledger.plan_unfinished
        ballast.unlink()
    assert await finish_left_plan(path) == 2000
