"""What verify found missing or damaged goes back into the queue, with everything that the queue counts."""

from pathlib import Path

from migrator.core.model import Stood
from migrator.core.records import Recorded
from migrator.core.verification import Match, Verification
from migrator.ledger.sqlite import SqliteLedger
from tests.ledger.making import (
    DIGEST,
    page,
    query,
    recount,
    recount_records,
    settle_all,
    stored,
    tallied,
    tallied_records,
)
from tests.ledger.test_records import a_change, a_row, each, states, store_all
from tests.ledger.test_verifications import expected


async def test_items_are_planned_and_rows_that_were_ready_wait_for_them(ledger: SqliteLedger, path: Path) -> None:
    await ledger.add("lots", page([a_row(1), a_row(2), a_row(3)]))
    await store_all(ledger)
    tasks = await ledger.ready_records(1)
    await ledger.intend_records([a_change(task) for task in tasks])
    await ledger.settle_records(each(tasks, Recorded()))
    number, _ = await ledger.verifying.begin_verification("all", 1)
    one, two, three = await expected(ledger, number)
    results = ((one, Match.MISSING), (two, Match.MISSING), (three, Match.DIFFER))
    await ledger.verifying.keep_verifications(
        number, [Verification(item, result, None, "") for item, result in results]
    )
    assert await ledger.plan_verified([Match.MISSING], ["lots"], {}) == (2, 0, 0)
    assert await states(ledger) == {("recorded", ""): 1, ("planned", ""): 1, ("ready", ""): 1}
    assert (tallied(path), tallied_records(path)) == (recount(path), recount_records(path))
    claimed = await ledger.claim(10)
    assert [(task.key, task.again) for task in claimed] == [("1.jpg", True), ("2.jpg", True)]
    (at,) = query(path, "SELECT DISTINCT settled_at FROM items")[0]
    assert {task.stood for task in claimed} == {Stood("etag", DIGEST, at)}
    await ledger.release(claimed)
    await settle_all(ledger, await ledger.leftovers(10), stored())
    assert await states(ledger) == {("recorded", ""): 1, ("ready", ""): 2}, (
        "a row that was updated is not updated again"
    )
    assert (tallied(path), tallied_records(path)) == (recount(path), recount_records(path))


async def test_only_the_last_verification_counts_and_only_what_stands(ledger: SqliteLedger) -> None:
    await ledger.add("lots", page([a_row(1), a_row(2)]))
    await store_all(ledger)
    number, _ = await ledger.verifying.begin_verification("all", 1)
    one, two = await expected(ledger, number)
    await ledger.verifying.keep_verifications(number, [Verification(one, Match.MISSING, None, "")])
    await ledger.verifying.finish_verification(number)
    second, _ = await ledger.verifying.begin_verification("all", 1)
    await ledger.verifying.keep_verifications(second, [Verification(two, Match.DIFFER, None, "")])
    assert await ledger.plan_verified([Match.MISSING], None, {}) == (0, 0, 0)
    assert await ledger.plan_verified([Match.DIFFER, Match.MISSING], None, {}) == (1, 0, 0)
    assert await ledger.plan_verified([Match.DIFFER], None, {}) == (0, 0, 0), "it is planned already"
