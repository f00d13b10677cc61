"""Claim, leftovers, settle, release, retry: what the engine relies on, over restarts too."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from migrator.core.errors import LedgerError
from migrator.core.model import Failed, Fault, Item, OpenUpload, Outcome, Skip, Skipped, State, Stored, Task
from migrator.ledger.sqlite import SqliteLedger
from migrator.ledger.view import LedgerView
from tests.ledger.making import DIGEST, failed, items, page, query, settle_all, settlement, stored


def keys(tasks: list[Task]) -> list[str]:
    return [task.key for task in tasks]


async def count(ledger: SqliteLedger) -> dict[str, int]:
    found: dict[str, int] = {}
    for tally in await ledger.tallies():
        found[tally.state] = found.get(tally.state, 0) + tally.items
    return found


async def test_a_claim_carries_everything_and_hands_nothing_out_twice(ledger: SqliteLedger) -> None:
    full = Item("https://h/a.jpg", "a.jpg", 5, "etag-1", {"lot": "7", "title": "Öl"})
    await ledger.add("lots", page([full, *items("b", "c")]))
    first, second = await ledger.claim(2)
    assert first == Task(
        id=first.id,
        put_id=f"{ledger.id}/{first.id}",
        source="lots",
        location="https://h/a.jpg",
        key="a.jpg",
        size=5,
        fingerprint="etag-1",
        fields={"lot": "7", "title": "Öl"},
    )
    assert second.key == "b"
    assert keys(await ledger.claim(10)) == ["c"]
    assert await ledger.claim(10) == []
    assert await ledger.leftovers(10) == []


async def test_a_claim_is_on_disk_before_it_is_handed_out(ledger: SqliteLedger, path: Path) -> None:
    await ledger.add("lots", page(items("a", "b")))
    run = await ledger.begin_run("migrate", "hash")
    await ledger.claim(1)
    assert query(path, "SELECT key, state, run FROM items ORDER BY key") == [
        ("a", "intended", run),
        ("b", "planned", None),
    ]


async def test_only_the_sources_that_were_asked_for(ledger: SqliteLedger) -> None:
    await ledger.add("one", page(items("a")))
    await ledger.add("two", page(items("b")))
    assert keys(await ledger.claim(10, ["two"])) == ["b"]
    assert await ledger.claim(10, ["unknown"]) == []
    assert keys(await ledger.claim(10, ["unknown", "one"])) == ["a"]


async def test_what_an_earlier_process_left_comes_once_to_be_looked_at_first(path: Path) -> None:
    with SqliteLedger.open(path, name="job") as ledger:
        await ledger.begin_run("migrate", "hash")
        await ledger.add("lots", page(items("a", "b", "c")))
        before = await ledger.claim(2)
        await ledger.opened(before[1], OpenUpload("upload-1", 8))
    with SqliteLedger.open(path, name="job") as ledger:
        await ledger.begin_run("migrate", "hash")
        assert keys(await ledger.claim(10)) == ["c"]
        assert await ledger.leftovers(10, ["other"]) == []
        found = await ledger.leftovers(1) + await ledger.leftovers(10)
        assert await ledger.leftovers(10) == []
    assert [(task.put_id, task.key, task.again, task.upload) for task in found] == [
        (before[0].put_id, "a", True, None),
        (before[1].put_id, "b", True, OpenUpload("upload-1", 8)),
    ]


async def test_outcomes_are_kept_whole(ledger: SqliteLedger, path: Path) -> None:
    await ledger.add("lots", page(items("adopted", "skipped", "failed", size=None)))
    tasks = {task.key: task for task in await ledger.claim(10)}
    outcomes: dict[str, Outcome] = {
        "adopted": Stored(7, DIGEST, "image/png", "e1", "v1", adopted=True, replaced="version:v0"),
        "skipped": Skipped(Skip.IDENTICAL, "same bytes", 8, DIGEST, "e2"),
        "failed": Failed(Fault.FORBIDDEN, "403 for https://h/x?sig=canary"),
    }
    await ledger.settle([settlement(tasks[key], outcome, attempts=3) for key, outcome in outcomes.items()])
    with LedgerView.open(path) as view:
        adopted, skipped = view.settled()
        (failure,) = view.failures()
        tallies = {(tally.state, tally.reason): tally.bytes for tally in view.tallies()}
    assert (adopted.size, adopted.sha256, adopted.content_type, adopted.etag) == (7, DIGEST.hex(), "image/png", "e1")
    assert (adopted.version_id, adopted.adopted, adopted.replaced, adopted.skip) == ("v1", True, "version:v0", None)
    assert (skipped.size, skipped.sha256, skipped.skip, skipped.adopted) == (8, DIGEST.hex(), "identical", False)
    assert (failure.fault, failure.attempts) == (Fault.FORBIDDEN, 3)
    assert "403" in failure.message
    assert "canary" not in failure.message
    assert tallies == {(State.STORED, ""): 7, (State.SKIPPED, "identical"): 8, (State.FAILED, "forbidden"): 0}


async def test_nothing_is_settled_that_was_not_claimed(ledger: SqliteLedger) -> None:
    await ledger.add("lots", page(items("a", "b")))
    first, second = await ledger.claim(2)
    await settle_all(ledger, [first], stored())
    with pytest.raises(LedgerError):
        await settle_all(ledger, [first, second], stored())
    assert await count(ledger) == {"stored": 1, "intended": 1}
    await settle_all(ledger, [second], stored())


async def test_a_large_batch_is_settled_whole(ledger: SqliteLedger) -> None:
    await ledger.add("lots", page(items(*map(str, range(1201)))))
    await settle_all(ledger, await ledger.claim(2000), stored())
    assert await count(ledger) == {"stored": 1201}


async def test_a_fatal_failure_fails_nothing(ledger: SqliteLedger) -> None:
    await ledger.add("lots", page(items("unsent", "unsure", "done")))
    tasks = {task.key: task for task in await ledger.claim(10)}
    await ledger.settle(
        [
            settlement(tasks["unsent"], Failed(Fault.FATAL, "credentials refused")),
            settlement(tasks["unsure"], Failed(Fault.FATAL, "credentials refused", again=True)),
            settlement(tasks["done"], stored()),
        ]
    )
    assert await count(ledger) == {"planned": 1, "intended": 1, "stored": 1}
    (claimed,) = await ledger.claim(10)
    (left,) = await ledger.leftovers(10)
    assert (claimed.key, claimed.again) == ("unsent", False)
    assert (left.key, left.again) == ("unsure", True)


async def test_released_tasks_are_planned_again_unless_they_may_be_stored(path: Path) -> None:
    with SqliteLedger.open(path, name="job") as ledger:
        await ledger.add("lots", page(items("a", "b")))
        await ledger.claim(1)
    with SqliteLedger.open(path, name="job") as ledger:
        tasks = [*await ledger.leftovers(5), *await ledger.claim(5)]
        await ledger.release(tasks)
        await ledger.release([])
        assert await count(ledger) == {"planned": 1, "intended": 1}
        assert [(task.key, task.again) for task in await ledger.claim(5)] == [("b", False)]
        assert [(task.key, task.again) for task in await ledger.leftovers(5)] == [("a", True)]


async def test_retry_plans_the_failed_ones_of_some_faults_and_sources(ledger: SqliteLedger, path: Path) -> None:
    await ledger.add("one", page(items("gone", "slow")))
    await ledger.add("two", page(items("also gone")))
    tasks = {task.key: task for task in await ledger.claim(10)}
    await settle_all(ledger, [tasks["gone"], tasks["also gone"]], failed(Fault.GONE))
    await settle_all(ledger, [tasks["slow"]], failed(Fault.TRANSIENT, again=True))
    assert await ledger.retry([Fault.INVALID]) == (0, 0, 0)
    assert await ledger.retry([Fault.GONE], ["two"]) == (1, 0, 0)
    assert [(task.key, task.again) for task in await ledger.claim(10)] == [("also gone", False)]
    assert await ledger.retry(["gone", "transient"], None) == (2, 0, 0)
    assert await count(ledger) == {"planned": 2, "intended": 1}
    assert query(path, "SELECT DISTINCT attempts FROM items") == [(1,)]
    assert {(task.key, task.again) for task in await ledger.claim(10)} == {("gone", False), ("slow", True)}
    assert query(path, "SELECT count(*) FROM items WHERE fault IS NOT NULL OR message IS NOT NULL") == [(0,)]


async def test_attempts_add_up(ledger: SqliteLedger, path: Path) -> None:
    await ledger.add("lots", page(items("a")))
    for outcome in (failed(Fault.TRANSIENT), failed(Fault.TRANSIENT), stored()):
        await ledger.settle([settlement(task, outcome, attempts=6) for task in await ledger.claim(1)])
        await ledger.retry()
    assert query(path, "SELECT state, attempts, fault, message FROM items") == [("stored", 18, None, None)]


async def listing(*pages: list[str]) -> AsyncIterator[list[str]]:
    for keys in pages:
        yield keys


async def test_present_is_answered_from_the_latest_listing_of_this_process(path: Path) -> None:
    with SqliteLedger.open(path, name="job") as ledger:
        await ledger.add("lots", page(items("a", "b", "c", "d")))
        assert [task.present for task in await ledger.claim(1)] == [None]
        await ledger.survey(listing(["b"], ["c", "ü"]))
        await ledger.survey(listing(*([f"x{number}"] for number in range(45)), ["c"]))
        assert [(task.key, task.present) for task in await ledger.claim(2)] == [("b", False), ("c", True)]
    with SqliteLedger.open(path, name="job") as ledger:
        assert [task.present for task in await ledger.claim(1)] == [None]
        await ledger.survey(listing(["a", "b"]))
        assert [(task.key, task.present) for task in await ledger.leftovers(2)] == [("a", True), ("b", True)]


async def test_uploads_that_nobody_needs_are_listed_until_they_are_forgotten(ledger: SqliteLedger) -> None:
    await ledger.add("films", page(items("open", "stored", "failed", "closed", "twice")))
    tasks = {task.key: task for task in await ledger.claim(10)}
    for key, task in tasks.items():
        await ledger.opened(task, OpenUpload(f"of {key}", 8))
    await ledger.opened(tasks["twice"], OpenUpload("newer", 8))
    await ledger.closed(tasks["closed"])
    await settle_all(ledger, [tasks["stored"], tasks["closed"]], stored())
    await settle_all(ledger, [tasks["failed"]], failed())
    assert await ledger.stale_uploads() == [
        ("stored", "of stored"),
        ("failed", "of failed"),
        ("twice", "of twice"),
    ]
    await ledger.forget_upload("stored", "of stored")
    await ledger.closed(tasks["twice"])
    assert await ledger.stale_uploads() == [("failed", "of failed")]
    await ledger.retry()
    assert await ledger.stale_uploads() == []
    (task,) = await ledger.claim(1)
    assert task.upload == OpenUpload("of failed", 8)


@pytest.mark.parametrize(
    "query_text",
    [
        "SELECT id FROM items WHERE state = 'planned' AND source IN (1, 2) LIMIT 5",
        "SELECT id FROM items WHERE state = 'intended' AND source IN (1, 2) AND run IS NULL LIMIT 5",
        "UPDATE items SET run = NULL WHERE state = 'intended'",
        "UPDATE items SET state = 'planned' WHERE state = 'failed' AND source IN (1) AND collides IS NULL"
        " AND fault IN (SELECT value FROM json_each('[]'))",
        "SELECT items.id FROM items LEFT JOIN items AS earlier ON earlier.id = items.collides"
        " WHERE items.state = 'failed' AND items.source = 1 AND items.fault = 'gone' AND items.id > 0"
        " ORDER BY items.id",
        "SELECT * FROM failures",
    ],
)
async def test_the_queue_never_looks_at_settled_rows(ledger: SqliteLedger, path: Path, query_text: str) -> None:
    await ledger.cursor("lots")
    with closing(sqlite3.connect(path)) as database:
        plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {query_text}")]
    assert any("SEARCH items USING" in step and "items_queue (state=?" in step for step in plan), plan
    assert not any(step.startswith("SCAN items") or "TEMP B-TREE" in step for step in plan), plan
