"""What a step of work costs the ledger does not grow with what waits or has been done: counted in SQLite's own steps.

A statement that walks an index of all that waits passes every other test, and halts a migration of ten million items.
"""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from migrator.core.model import Fault, OpenUpload, VariantOutcome
from migrator.core.records import Recorded
from migrator.core.undoing import Doing, Scope, Undone, UndoneItem
from migrator.core.verification import Match, Verification
from migrator.ledger import connection
from migrator.ledger.sqlite import SqliteLedger
from tests.ledger.making import failed, page, settle_all, settlement, stored
from tests.ledger.test_records import a_change, a_row, each
from tests.ledger.test_variants import FULL, THUMB, WANTED, made, unmade, with_variants

FEW, MANY = 200, 6_000
"""Items in the ledger."""
BATCH = 20
"""Items that a step is about."""
_EVERY = 50
"""SQLite's virtual machine reports each time that it has made so many steps."""


class Steps:
    """Steps of SQLite's virtual machine on all connections that a ledger opens."""

    def __init__(self) -> None:
        self.taken = 0

    def count(self) -> int:
        """Called by SQLite; 0 lets it go on."""
        self.taken += _EVERY
        return 0


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    counted = Steps()

    def connect(path: Path) -> sqlite3.Connection:
        opened = connect_writer(path)
        opened.set_progress_handler(counted.count, _EVERY)
        return opened

    connect_writer = connection.connect_writer
    monkeypatch.setattr("migrator.ledger.sqlite.connect_writer", connect)
    return counted


Step = Callable[[], Awaitable[object]]
Making = Callable[[SqliteLedger, int], Awaitable[Step]]
"""Fills a ledger with so many items and returns the step of work to be measured."""


async def _filled(ledger: SqliteLedger, number: int, outcome: Any = None) -> None:
    """`number` items with a row each; with an outcome: settled by it."""
    await ledger.add("photos", page([a_row(i) for i in range(number)]))
    if outcome is not None:
        await settle_all(ledger, await ledger.claim(number), outcome)


async def _with_variants(ledger: SqliteLedger, number: int, one: Callable[[int, str], VariantOutcome]) -> None:
    """`number` items that are settled, each with the variant that `one` makes of its place and key."""
    await _filled(ledger, number)
    tasks = await ledger.claim(number)
    await ledger.settle([settlement(task, with_variants(one(i, task.key))) for i, task in enumerate(tasks)])


async def adding(ledger: SqliteLedger, number: int) -> Step:
    await _filled(ledger, number)
    return lambda: ledger.add("photos", page([a_row(number + i) for i in range(BATCH)]))


async def claiming(ledger: SqliteLedger, number: int) -> Step:
    await _filled(ledger, number)
    return lambda: ledger.claim(BATCH)


async def claiming_beside_keys(ledger: SqliteLedger, number: int) -> Step:
    async def keys() -> AsyncIterator[list[str]]:
        yield [f"other/{i}" for i in range(number)]

    await _filled(ledger, number)
    await ledger.survey(keys())
    return lambda: ledger.claim(BATCH)


async def settling(ledger: SqliteLedger, number: int) -> Step:
    await _filled(ledger, number)
    tasks = (await ledger.claim(number))[:BATCH]
    return lambda: ledger.settle([settlement(task, stored()) for task in tasks])


async def settling_failures(ledger: SqliteLedger, number: int) -> Step:
    await _filled(ledger, number, failed())
    await ledger.retry(None, None, {})
    tasks = await ledger.claim(BATCH)
    return lambda: ledger.settle([settlement(task, failed(Fault.FORBIDDEN)) for task in tasks])


async def releasing(ledger: SqliteLedger, number: int) -> Step:
    await _filled(ledger, number)
    tasks = await ledger.claim(BATCH)
    return lambda: ledger.release(tasks)


async def intending_rows(ledger: SqliteLedger, number: int) -> Step:
    await _filled(ledger, number, stored())
    tasks = await ledger.ready_records(BATCH)
    return lambda: ledger.intend_records([a_change(task) for task in tasks])


async def settling_rows(ledger: SqliteLedger, number: int) -> Step:
    await _filled(ledger, number, stored())
    tasks = await ledger.ready_records(BATCH)
    await ledger.intend_records([a_change(task) for task in tasks])
    return lambda: ledger.settle_records(each(tasks, Recorded()))


async def taking_rows(ledger: SqliteLedger, number: int) -> Step:
    await _filled(ledger, number, stored())
    return lambda: ledger.ready_records(BATCH)


async def planning_what_verify_missed(ledger: SqliteLedger, number: int) -> Step:
    """Few results, many rows that wait."""
    await _filled(ledger, number, stored())
    verifying = ledger.verifying
    verification, _ = await verifying.begin_verification("all", 1)
    found, _ = await verifying.unverified(verification, 0, BATCH, None, unseal=False)
    await verifying.keep_verifications(verification, [Verification(one, Match.MISSING, None, "") for one in found])
    return lambda: ledger.plan_verified([Match.MISSING], None, {})


async def looking_for_variants(ledger: SqliteLedger, number: int) -> Step:
    """All wait for theirs but those that are looked at first."""
    await _with_variants(ledger, number, lambda i, key: made(THUMB, key) if i < BATCH else unmade(THUMB, key))
    await ledger.retry(None, None, WANTED)
    return lambda: ledger.lacking(WANTED, 0, 1, planned_only=True)


async def settling_later_variants(ledger: SqliteLedger, number: int) -> Step:
    await _with_variants(ledger, number, lambda _, key: unmade(FULL, key))
    await ledger.retry(None, None, WANTED)
    found, _ = await ledger.lacking(WANTED, 0, BATCH, planned_only=True)
    return lambda: ledger.settle_variants([(job, [made(FULL, job.task.key)]) for job in found])


async def undoing(ledger: SqliteLedger, number: int) -> Step:
    await _with_variants(ledger, number, lambda _, key: made(THUMB, key))
    remains = await ledger.undoing.remains(0, BATCH, Scope())
    gone = Undone(Doing.DELETE, "key", "")
    done = [UndoneItem(one, gone, {THUMB: gone}) for one in remains]
    return lambda: ledger.undoing.settle_undone(done, [])


async def looking_for_what_to_undo(ledger: SqliteLedger, number: int) -> Step:
    await _filled(ledger, number, stored())
    return lambda: ledger.undoing.remains(0, BATCH, Scope())


async def looking_for_what_to_verify(ledger: SqliteLedger, number: int) -> Step:
    await _filled(ledger, number, stored())
    verification, _ = await ledger.verifying.begin_verification("all", 1)
    return lambda: ledger.verifying.unverified(verification, 0, BATCH, None, unseal=False)


async def noting_backups(ledger: SqliteLedger, number: int) -> Step:
    await _with_variants(ledger, number, lambda _, key: made(THUMB, key))
    backups = [(f"{i}.jpg", 1, f"_migrator/backup/1/{i}.jpg") for i in range(BATCH)]
    return lambda: ledger.undoing.keep_backups(backups)


async def forgetting_an_upload(ledger: SqliteLedger, number: int) -> Step:
    await _filled(ledger, number)
    task, *_ = await ledger.claim(1)
    await ledger.opened(task, OpenUpload("upload", 1))
    return lambda: ledger.forget_upload(task.key, "upload")


@pytest.mark.parametrize(
    "making",
    [
        adding,
        claiming,
        claiming_beside_keys,
        settling,
        settling_failures,
        releasing,
        taking_rows,
        intending_rows,
        settling_rows,
        planning_what_verify_missed,
        looking_for_variants,
        settling_later_variants,
        undoing,
        looking_for_what_to_undo,
        looking_for_what_to_verify,
        noting_backups,
        forgetting_an_upload,
    ],
    ids=lambda making: making.__name__,
)
async def test_a_step_costs_the_same_however_much_waits(tmp_path: Path, steps: Steps, making: Making) -> None:
    taken = []
    for number in (FEW, MANY):
        with SqliteLedger.open(tmp_path / f"{number}.db", name="job") as ledger:
            step = await making(ledger, number)
            before = steps.taken
            await step()
            taken.append(steps.taken - before)
    few, many = taken
    assert many < 1.5 * few + 10 * _EVERY, f"{few} steps beside {FEW} items, {many} beside {MANY}"
