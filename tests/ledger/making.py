"""Items, pages and settlements, made short; and a recount of the rows to hold the tallies against."""

import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from migrator.core.model import Failed, Fault, Item, Outcome, Page, Problem, Settlement, Stored, Task
from migrator.ledger.sqlite import SqliteLedger

DIGEST = bytes(range(32))


def items(*names: str, size: int | None = 10) -> list[Item]:
    """Items that keep their names as keys."""
    return [Item(f"file:///data/{name}", name, size) for name in names]


def page(found: Iterable[Item] = (), problems: Iterable[Problem] = (), cursor: str = "c", skipped: int = 0) -> Page:
    return Page(tuple(found), tuple(problems), cursor, skipped)


def stored(size: int = 10) -> Stored:
    return Stored(size, DIGEST, "image/jpeg", "etag", "version")


def failed(fault: Fault = Fault.GONE, message: str = "404", *, again: bool = False) -> Failed:
    return Failed(fault, message, again=again)


def settlement(task: Task, outcome: Outcome, attempts: int = 1) -> Settlement:
    return Settlement(task, outcome, attempts, 0.1)


@asynccontextmanager
async def planning(path: Path) -> AsyncIterator[SqliteLedger]:
    """A ledger in which a plan has started over; in the end its tallies are what its rows add up to."""
    with SqliteLedger.open(path, name="job") as ledger:
        await ledger.begin_run("plan", "digest")
        await ledger.start_over(everything=True)
        yield ledger
    assert tallied(path) == recount(path)
    assert tallied_records(path) == recount_records(path)


async def finish_left_plan(path: Path) -> int:
    """Ends a plan that was left unfinished, as another process does: how many items it has."""
    with SqliteLedger.open(path, name="job") as ledger:
        assert ledger.plan_unfinished
        await ledger.finish_plan()
        return len(await ledger.claim(5000))


async def settle_all(ledger: SqliteLedger, tasks: Sequence[Task], outcome: Outcome) -> None:
    await ledger.settle([settlement(task, outcome) for task in tasks])


def query(path: Path, statement: str, *values: object) -> list[Any]:
    """What any SQLite tool would answer."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return database.execute(statement, values).fetchall()


def recount(path: Path) -> set[tuple[object, ...]]:
    """The tallies as the rows themselves tell them."""
    return set(
        query(
            path,
            "SELECT name, state, coalesce(fault, ''), count(*), sum(coalesce("
            "iif(state IN ('planned', 'intended', 'failed'), size, stored_size), size, 0))"
            " FROM items JOIN sources ON sources.id = items.source GROUP BY 1, 2, 3",
        )
    )


def tallied(path: Path) -> set[tuple[object, ...]]:
    return set(query(path, "SELECT source, state, reason, items, bytes FROM progress"))


def recount_records(path: Path) -> set[tuple[object, ...]]:
    """The tallies of records as the rows themselves tell them."""
    return set(
        query(
            path,
            "SELECT name, state, coalesce(fault, ''), count(*)"
            " FROM records JOIN sources ON sources.id = records.source GROUP BY 1, 2, 3",
        )
    )


def tallied_records(path: Path) -> set[tuple[object, ...]]:
    return set(query(path, "SELECT source, state, reason, records FROM record_progress"))
