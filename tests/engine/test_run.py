"""A whole run over a real ledger: what it leaves behind when it drains, is limited, stopped, or hits a wall."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from migrator.core.errors import Fatal, LedgerFull, Transient
from migrator.core.model import Item, Page, Side, State, Task
from migrator.core.objects import Upload
from migrator.core.ports import EventKind
from migrator.engine.run import Result, Run, RunOptions
from migrator.engine.stopping import Stop
from migrator.engine.worker import Worker
from migrator.ledger.sqlite import SqliteLedger

from .memory_store import MemoryStore
from .world import HONOURS_ALL, MemoryReader, Recorder, a_config


class Pages:
    """A source called `files` with `count` items, a hundred a page; `between` runs before each page but the first."""

    name = "files"
    lists_destination = False

    def __init__(self, count: int, between: threading.Event | None = None) -> None:
        self.items = [Item(f"memory://{number}", f"{number}", size=8) for number in range(count)]
        self.between = between

    def scan(self, cursor: str | None) -> Iterator[Page]:
        start = int(cursor or 0)
        for first in range(start, max(len(self.items), 1), 100):
            if self.between and first:
                self.between.wait(10)
            items = tuple(self.items[first : first + 100])
            yield Page(items, (), str(first + len(items)))


class World:
    """Ledger, source, store and reader of one run after another."""

    def __init__(self, folder: Path, count: int = 250) -> None:
        self.path = folder / "checkpoints" / "world.db"
        self.source = Pages(count)
        self.store = MemoryStore()
        self.reader = MemoryReader(**{str(number): b"contents" for number in range(count)})
        self.observer = Recorder()
        self.stop = Stop()

    @asynccontextmanager
    async def ledger(self) -> AsyncIterator[SqliteLedger]:
        ledger = SqliteLedger.open(self.path, name="world")
        try:
            yield ledger
        finally:
            ledger.close()

    async def run(self, options: RunOptions | None = None) -> Result:
        async with self.ledger() as ledger:
            return await self.run_on(ledger, options or RunOptions())

    async def run_on(self, ledger: SqliteLedger, options: RunOptions) -> Result:
        self.stop = Stop()
        number = await ledger.begin_run("migrate", "hash")
        worker = Worker(
            a_config(), "bucket", number, self.reader, self.store, ledger, HONOURS_ALL, self.observer, self.stop
        )
        run = Run(ledger, [self.source], worker, self.store, self.observer, self.stop, options, 8)
        with self.stop.on_signals():
            return await run.execute(number)


def count(result: Result, state: State) -> int:
    return result.summary.items(state)


async def test_everything_is_moved_and_a_second_run_has_nothing_to_do(tmp_path: Path) -> None:
    world = World(tmp_path)
    first = await world.run()
    assert (first.exit_status, count(first, State.STORED), first.summary.moved_items) == (0, 250, 250)
    assert len(world.store.objects) == 250
    second = await world.run()
    assert (second.exit_status, second.summary.moved_items) == (0, 0)
    assert world.store.requests == {"PUT": 250}


async def test_moving_starts_before_the_scan_is_complete(tmp_path: Path) -> None:
    world = World(tmp_path)
    first_put = threading.Event()
    world.source.between = first_put
    original = world.store.put

    async def put(*arguments: object) -> object:
        first_put.set()
        return await original(*arguments)  # type: ignore[arg-type]

    world.store.put = put  # type: ignore[method-assign, assignment]
    result = await world.run()
    assert count(result, State.STORED) == 250, "the second page waited for the first put"


async def test_objects_that_wait_for_another_try_keep_nobody_from_going_on(tmp_path: Path) -> None:
    """Half of all are on a host that is gone, first in line, and many more than there are places."""
    world = World(tmp_path, 400)
    world.source.items = [
        Item(f"http://{'gone' if number < 200 else 'well'}.example/{number}", f"{number}", size=8)
        for number in range(400)
    ]
    for number in range(200):
        world.reader.errors[f"{number}"] = [Transient("no connection within 10 s", silent=True) for _ in range(20)]
    original = world.store.put

    async def put(*arguments: object) -> object:
        placed = await original(*arguments)  # type: ignore[arg-type]
        if len(world.store.objects) == 200:
            world.stop.request("all that can be moved is moved", limit=True)
        return placed

    world.store.put = put  # type: ignore[method-assign, assignment]
    result = await world.run()
    assert (count(result, State.STORED), count(result, State.PLANNED), result.exit_status) == (200, 200, 5)
    tries = sum(int(key) < 200 for key in world.reader.opened)
    assert tries < 60, "a few found out; the others were not even tried"
    assert [text for kind, text in world.observer.events if kind is EventKind.PAUSED] == [
        "http://gone.example does not answer: its objects wait, others go on; one try every 10 s"
    ]


def silent_after(world: World, pages: int, tries: int) -> None:
    """The source gives so many pages and then fails so often, each time after the few tries that are made at once."""
    original, failures = world.source.scan, tries
    given = 0

    def scan(cursor: str | None) -> Iterator[Page]:
        nonlocal given, failures
        for page in original(cursor):
            if given == pages and failures:
                failures -= 1
                raise Transient("LIST old: no connection")
            given += 1
            yield page

    world.source.scan = scan  # type: ignore[method-assign]


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries come at once."""
    monkeypatch.setattr("migrator.engine.probe.PAUSES", (0.0,))
    monkeypatch.setattr("migrator.engine.scan.TRY_EVERY", 0.001)


@pytest.mark.usefixtures("no_waiting")
async def test_a_source_that_goes_silent_is_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path)
    silent_after(world, 1, 20)
    result = await world.run()
    assert (count(result, State.STORED), result.exit_status) == (250, 0)
    told = [text for kind, text in world.observer.events if kind in (EventKind.PAUSED, EventKind.RESUMED)]
    assert told[0].startswith("the source files does not answer: its scan waits")
    assert told[1:] == ["the source files answers again"]


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("pages", [0, 1])
async def test_a_source_that_stays_silent_ends_the_run(tmp_path: Path, pages: int) -> None:
    """At once where it never said anything: whoever has begun the run still looks on."""
    world = World(tmp_path)
    silent_after(world, pages, 3 if pages == 0 else 99)
    result = await world.run()
    assert (result.exit_status, count(result, State.FAILED)) == (3, 0)
    assert "LIST old: no connection" in result.stopped
    assert [kind for kind, _ in world.observer.events].count(EventKind.PAUSED) == pages


async def test_a_disk_that_is_slow_to_claim_is_asked_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each claim is a sync of the disk: where that takes longer than what was claimed lasts, more is taken at once."""
    world = World(tmp_path, 2000)
    sizes: list[int] = []

    async def slowly(ledger: SqliteLedger, limit: int, sources: Sequence[str] | None = None) -> list[Task]:
        while len(world.store.objects) < sum(sizes):  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0)
        batch = await claim(ledger, limit, sources)
        sizes.append(len(batch))
        return batch

    claim = SqliteLedger.claim
    async with world.ledger() as ledger:
        for page in world.source.scan(None):
            await ledger.add("files", page)
        monkeypatch.setattr(SqliteLedger, "claim", slowly)
        result = await world.run_on(ledger, RunOptions())
    assert count(result, State.STORED) == 2000
    assert len(sizes) <= 10, sizes


async def test_a_limit_stops_with_status_5_and_the_next_run_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    limited = await world.run(RunOptions(limit=30))
    assert (limited.exit_status, count(limited, State.STORED)) == (5, 30)
    assert count(limited, State.INTENDED) == 0
    assert "same command" in limited.stopped
    rest = await world.run()
    assert (rest.exit_status, count(rest, State.STORED)) == (0, 250)
    assert world.store.requests == {"PUT": 250}


async def test_a_limit_that_is_not_reached_is_no_stop(tmp_path: Path) -> None:
    assert (await World(tmp_path, 20).run(RunOptions(limit=30))).exit_status == 0


async def test_a_time_limit_stops_with_status_5(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.source.between = threading.Event()  # never set: the scan hangs
    result = await world.run(RunOptions(max_duration=0.2))
    assert result.exit_status == 5
    assert count(result, State.STORED) == 100


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_a_signal_drains_and_says_how_to_resume(tmp_path: Path, number: signal.Signals, status: int) -> None:
    world = World(tmp_path)
    original = world.store.put

    async def put(upload: Upload, *rest: object) -> object:
        if upload.key == "50":
            os.kill(os.getpid(), number)
        return await original(upload, *rest)  # type: ignore[arg-type]

    world.store.put = put  # type: ignore[method-assign, assignment]
    result = await world.run()
    assert result.exit_status == status
    assert "same command" in result.stopped
    assert count(result, State.INTENDED) == 0, "what was not begun is planned again"
    assert count(result, State.STORED) == len(world.store.objects) < 250
    assert (await world.run()).exit_status == 0
    assert world.store.requests["PUT"] <= 251


async def test_fatal_stops_the_run_and_fails_no_item(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.store.fail("PUT", lambda: Fatal("the bucket is gone", side=Side.DESTINATION), times=99)
    result = await world.run()
    assert (result.exit_status, count(result, State.FAILED)) == (3, 0)
    assert "the bucket is gone" in result.stopped
    assert count(result, State.INTENDED) <= 8, "what was not begun is planned again"
    world.store.failures.clear()
    assert (await world.run()).exit_status == 0
    assert len(world.store.objects) == 250


async def test_a_full_disk_under_the_ledger_stops_with_status_4(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.ledger() as ledger:
        settle = ledger.settle

        async def full(*_: object) -> None:
            raise LedgerFull("no room for the ledger")

        ledger.settle = full  # type: ignore[method-assign, assignment]
        result = await world.run_on(ledger, RunOptions())
        assert result.exit_status == 4
        ledger.settle = settle  # type: ignore[method-assign]
    again = await world.run()
    assert (again.exit_status, count(again, State.STORED)) == (0, 250)
    assert world.store.requests["PUT"] == 250, "what was stored without a settlement is adopted"


async def test_failed_items_make_status_1_and_do_not_stop_the_others(tmp_path: Path) -> None:
    world = World(tmp_path)
    del world.reader.bodies["7"]
    result = await world.run()
    assert (result.exit_status, count(result, State.FAILED), count(result, State.STORED)) == (1, 1, 249)


async def test_an_abandoned_upload_is_aborted_by_the_next_run(tmp_path: Path) -> None:
    world = World(tmp_path, 1)
    world.reader.bodies["0"] = bytes(9 * 1024 * 1024)
    world.source.items = [Item("memory://0", "0")]

    def reset() -> Transient:
        world.stop.request("enough", limit=True)
        return Transient("reset", side=Side.DESTINATION)

    world.store.fail("PART", reset, times=99)
    assert (await world.run()).exit_status == 5
    assert len(world.store.uploads) == 1
    world.store.failures.clear()
    assert (await world.run()).exit_status == 0
    assert world.store.uploads == {}
    assert world.store.requests["CREATE"] == 1, "the open upload was continued"
