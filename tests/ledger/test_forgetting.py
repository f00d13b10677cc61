"""A scan from the beginning forgets what was planned and never sent, and at its end what failed and is not listed."""

from pathlib import Path

import pytest

from migrator.core.model import Fault, Item, OpenUpload, Outcome, Skip, Skipped
from migrator.core.records import Row
from migrator.ledger import forgetting
from migrator.ledger.sqlite import SqliteLedger
from tests.ledger.making import (
    failed,
    items,
    page,
    query,
    recount,
    recount_records,
    settle_all,
    settlement,
    stored,
    tallied,
    tallied_records,
)


def left(path: Path) -> dict[str, str]:
    """State of each key, once the tallies are seen to agree with the rows."""
    assert tallied(path) == recount(path)
    assert tallied_records(path) == recount_records(path)
    return dict(query(path, "SELECT key, state FROM items WHERE collides IS NULL"))


async def test_only_what_was_never_sent_is_forgotten(ledger: SqliteLedger, path: Path) -> None:
    outcomes: dict[str, Outcome] = {
        "stored": stored(),
        "skipped": Skipped(Skip.IDENTICAL, "", 10, bytes(32), "etag"),
        "gone": failed(),
        "unsure": failed(Fault.TRANSIENT, again=True),
        "retried": failed(Fault.THROTTLED),
    }
    await ledger.add("photos", page(items(*outcomes, "intended", "uploading")))
    tasks = {task.key: task for task in await ledger.claim(10)}
    await ledger.settle([settlement(tasks[key], outcome) for key, outcome in outcomes.items()])
    await ledger.retry(["throttled"])
    await ledger.opened(tasks["uploading"], OpenUpload("upload-1", 8))
    await ledger.release([tasks["uploading"]])
    await ledger.add("photos", page(items("planned")))
    await ledger.begin_scan("photos")
    stays = {"stored": "stored", "skipped": "skipped", "unsure": "failed", "intended": "intended"}
    stays["uploading"] = "planned"
    assert left(path) == stays | {"gone": "failed"}
    await ledger.finish_scan("photos")
    assert left(path) == stays


async def test_what_failed_and_is_listed_keeps_its_failure(ledger: SqliteLedger, path: Path) -> None:
    await ledger.add("photos", page(items("a", "b")))
    await settle_all(ledger, await ledger.claim(2), failed())
    for _ in range(2):
        await ledger.begin_scan("photos")
        await ledger.add("photos", page(items("a")))
        await ledger.finish_scan("photos")
        assert left(path) == {"a": "failed"}


async def test_more_than_a_transaction_is_forgotten(
    ledger: SqliteLedger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "BATCH", 10)
    names = [f"{n:03d}" for n in range(95)]
    await ledger.add("photos", page(items(*names)))
    await ledger.add("photos", page(Item(f"file:///other/{name}", name, 7) for name in names))
    await ledger.begin_scan("photos")
    assert left(path) == {}
    assert query(path, "SELECT count(*) FROM items") == [(0,)]


async def test_rows_go_and_come_with_what_they_wait_for(ledger: SqliteLedger, path: Path) -> None:
    found = [Item(f"file:///data/{n}", f"{n}", 10, row=Row(f"[{n}]", "{}")) for n in range(4)]
    await ledger.add("table", page(found))
    await settle_all(ledger, await ledger.claim(1), stored())
    await ledger.begin_scan("table")
    assert left(path) == {"0": "stored"}
    assert query(path, "SELECT primary_key FROM records") == [("[0]",)]
    await ledger.add("table", page(found[:3]))
    await ledger.finish_scan("table")
    assert left(path) == {"0": "stored", "1": "planned", "2": "planned"}
    assert [record.row.primary_key for record in await ledger.ready_records(9)] == ["[0]"]


async def test_the_next_of_a_key_follows_one_that_is_forgotten(ledger: SqliteLedger, path: Path) -> None:
    await ledger.add("one", page([Item("file:///one/a", "a", 1)]))
    others = [Item(f"file:///{name}/a", "a", size) for size, name in enumerate(("two", "three", "four"), 2)]
    await ledger.add("two", page(others))
    await ledger.begin_scan("one")
    await ledger.add("one", page([Item("file:///one/b", "b", 1)]))
    await ledger.finish_scan("one")
    assert left(path) == {"a": "planned", "b": "planned"}
    assert {task.location for task in await ledger.claim(9)} == {"file:///two/a", "file:///one/b"}
    messages = query(path, "SELECT message FROM items WHERE collides IS NOT NULL ORDER BY id")
    assert messages == [
        (f"file:///{name}/a is not moved to a: file:///two/a has the same key and came first",)
        for name in ("three", "four")
    ]
    assert await ledger.collision_count() == 2


@pytest.mark.parametrize("spared", [True, False])
async def test_what_another_source_has_is_spared_unless_that_is_scanned_too(
    ledger: SqliteLedger, path: Path, spared: bool
) -> None:
    await ledger.add("one", page(items("a", "b")))
    await ledger.add("two", page(items("a")))
    await ledger.begin_scan("one", spare_shared=spared)
    assert left(path) == ({"a": "planned"} if spared else {})


async def test_a_removed_source_takes_its_plan_but_not_what_failed(ledger: SqliteLedger, path: Path) -> None:
    await ledger.add("old", page(items("stored", "failed")))
    tasks = {task.key: task for task in await ledger.claim(2)}
    await ledger.settle([settlement(tasks["stored"], stored()), settlement(tasks["failed"], failed())])
    await ledger.add("old", page(items("planned")))
    assert not await ledger.forget_removed(["old", "new"])
    assert await ledger.forget_removed(["new"])
    assert left(path) == {"stored": "stored", "failed": "failed"}
    assert not await ledger.forget_removed(["new"])
    await ledger.add("new", page(items("stored", "failed")))
    assert left(path) == {"stored": "stored", "failed": "failed"}
    assert await ledger.retry(None, ["new"]) == (1, 0, 0)
    assert [task.source for task in await ledger.claim(9, ["new"])] == ["new"]
