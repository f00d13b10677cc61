"""Rows beside the moving: what happens when a database is away, comes back, stays away, or the run stops."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from migrator.core.errors import Fatal, Transient
from migrator.core.model import Failed, Fault, Side
from migrator.core.ports import EventKind
from migrator.core.records import Recorded, RecordOutcome, RecordTask, Row, RowChange
from migrator.engine.recording import LONGEST_PAUSE, Recording

from .world import FakeClock, Recorder


def record(number: int, source: str = "rows") -> RecordTask:
    """One row whose object stands."""
    return RecordTask(number, source, Row(f"[{number}]", "{}"), {"key": str(number)})


class Shelf:
    """As much of a ledger as records need; notes what is done in which order."""

    def __init__(self, *ready: RecordTask) -> None:
        self.ready = list(ready)
        self.log: list[str] = []

    async def ready_records(self, limit: int, sources: Sequence[str] | None = None) -> list[RecordTask]:
        return [task for task in self.ready if sources is None or task.source in sources][:limit]

    async def intend_records(self, changes: Sequence[RowChange]) -> None:
        self.log.append(f"intend {[change.task.id for change in changes]}")

    async def settle_records(self, outcomes: Sequence[tuple[RecordTask, RecordOutcome]]) -> None:
        self.log.append(f"settle {[task.id for task, _ in outcomes]}")
        done = {task.id for task, _ in outcomes}
        self.ready = [task for task in self.ready if task.id not in done]


class Rows:
    """A database that answers what it is told to, then that all is well."""

    def __init__(
        self, shelf: Shelf, inspected: Callable[[RecordTask], RowChange | RecordOutcome] | None = None
    ) -> None:
        self.shelf = shelf
        self.away: dict[str, float] = {}
        """Source -> how many times it does not answer."""
        self.tried = 0
        self.answered = asyncio.Event()
        self._inspected = inspected or (lambda task: RowChange(task, "{}", "{}"))

    async def inspect(self, tasks: Sequence[RecordTask]) -> list[RowChange | RecordOutcome]:
        self.tried += 1
        source = tasks[0].source
        if self.away.get(source, 0) > 0:
            self.away[source] -= 1
            raise Transient("the database does not answer now", side=Side.DATABASE)
        self.answered.set()
        return [self._inspected(task) for task in tasks]

    async def apply(self, changes: Sequence[RowChange]) -> list[RecordOutcome]:
        self.shelf.log.append(f"apply {[change.task.id for change in changes]}")
        return [Recorded() for _ in changes]

    async def close(self) -> None: ...


class World:
    """A recording over a shelf."""

    def __init__(self, *ready: RecordTask, retries: int = 2, sources: Sequence[str] = ("rows",), **rows: Any) -> None:
        self.shelf = Shelf(*ready)
        self.rows = Rows(self.shelf, **rows)
        self.observer = Recorder()
        self.clock = FakeClock()
        self.stop = asyncio.Event()
        self.recording = Recording(
            self.shelf,  # type: ignore[arg-type]
            self.rows,
            sources,
            self.observer,
            self.clock,
            self.stop,
            retries,
        )

    @property
    def kinds(self) -> list[EventKind]:
        return [kind for kind, _ in self.observer.events]


async def test_the_before_image_is_kept_before_a_row_is_touched() -> None:
    world = World(record(1), record(2))
    world.recording.finish()
    await world.recording.run()
    assert world.shelf.log == ["intend [1, 2]", "apply [1, 2]", "settle [1, 2]"]
    assert [outcome for _, outcome in world.observer.records] == [Recorded(), Recorded()]


async def test_what_needs_no_update_is_settled_without_one() -> None:
    done: dict[int, RowChange | RecordOutcome] = {1: Recorded(adopted=True), 2: Failed(Fault.CONFLICT, "changed")}
    world = World(record(1), record(2), inspected=lambda task: done[task.id])
    world.recording.finish()
    await world.recording.run()
    assert world.shelf.log == ["settle [1, 2]"]
    assert {task.id: outcome for task, outcome in world.observer.records} == done


async def test_records_that_become_ready_later_are_updated_when_it_is_woken() -> None:
    world = World()
    running = asyncio.create_task(world.recording.run())
    await asyncio.sleep(0)
    world.shelf.ready.append(record(7))
    world.recording.wake()
    await world.rows.answered.wait()
    world.recording.finish()
    await running
    assert world.shelf.log[-1] == "settle [7]"


async def test_a_database_that_comes_back_goes_on_and_says_so_once() -> None:
    world = World(record(1), retries=0)
    world.rows.away["rows"] = 50
    running = asyncio.create_task(world.recording.run())
    await world.rows.answered.wait()
    world.recording.finish()
    await running
    assert world.shelf.log[-1] == "settle [1]"
    assert world.kinds == [EventKind.PAUSED, EventKind.RESUMED]
    assert max(world.clock.slept) <= LONGEST_PAUSE


async def test_a_database_that_stays_away_ends_the_run_when_nothing_else_is_left() -> None:
    world = World(record(1), retries=2)
    world.rows.away["rows"] = float("inf")
    world.recording.finish()
    with pytest.raises(ExceptionGroup) as stopped:
        await world.recording.run()
    (error,) = stopped.value.exceptions
    assert isinstance(error, Fatal)
    assert 'rows of the source "rows" are left: the database does not answer now' in str(error)
    assert world.rows.tried == 3, "the first try and two more"
    assert world.shelf.log == []


async def test_one_database_that_is_away_holds_up_its_own_rows_only() -> None:
    world = World(record(1, "away"), record(2, "here"), sources=("away", "here"), retries=1)
    world.rows.away["away"] = float("inf")
    world.recording.finish()
    with pytest.raises(ExceptionGroup):
        await world.recording.run()
    assert "settle [2]" in world.shelf.log
    assert [task.id for task in world.shelf.ready] == [1]


async def test_a_run_that_stops_begins_no_batch() -> None:
    world = World(record(1))
    world.stop.set()
    await world.recording.run()
    assert world.shelf.log == []
