"""Records: rows come in beside their items, get ready with them, and are intended, settled and retried."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from migrator.core.errors import LedgerError
from migrator.core.model import Failed, Fault, Item, Outcome, Skip, Skipped, Stored
from migrator.core.records import Recorded, RecordOutcome, RecordState, RecordTask, Row, RowChange
from migrator.ledger.sqlite import SqliteLedger
from migrator.ledger.view import LedgerView
from tests.ledger.making import failed, page, query, settle_all, settlement, stored


def a_row(number: int, name: str | None = None, *, here: str | None = None, **seen: str) -> Item:
    """The item of row `number`, which refers to the object `name`."""
    name = name or f"{number}.jpg"
    found = ",".join(f'"{column}":"{value}"' for column, value in ({"photo": name} | seen).items())
    row = Row(f"[{number}]", f"{{{found}}}", {"title": f"number {number}"})
    return Item(f"https://old/{name}", name, 10, row=row, here=here)


async def states(ledger: SqliteLedger) -> dict[tuple[str, str], int]:
    found = Counter[tuple[str, str]]()
    for tally in await ledger.record_tallies():
        found[tally.state.value, tally.reason] += tally.records
    return dict(found)


async def store_all(ledger: SqliteLedger) -> None:
    await settle_all(ledger, await ledger.claim(100), stored())


def a_change(task: RecordTask, before: str = '{"photo":"old"}', after: str = '{"photo":"new"}') -> RowChange:
    return RowChange(task, before, after)


def each(tasks: Sequence[RecordTask], outcome: RecordOutcome) -> list[tuple[RecordTask, RecordOutcome]]:
    return [(task, outcome) for task in tasks]


def problems(path: Path) -> list[tuple[str, str]]:
    with LedgerView.open(path) as view:
        return [(problem.fault, problem.message) for _, problem in view.problems()]


async def test_a_record_is_ready_when_its_item_is_stored_and_not_before(ledger: SqliteLedger) -> None:
    await ledger.add("lots", page([a_row(1), a_row(2)]))
    assert await states(ledger) == {("planned", ""): 2}
    first, second = await ledger.claim(2)
    assert await ledger.ready_records(10) == []
    await ledger.settle([settlement(first, stored(7)), settlement(second, failed())])
    (task,) = await ledger.ready_records(10)
    assert await states(ledger) == {("planned", ""): 1, ("ready", ""): 1}
    assert task.row == Row("[1]", '{"photo":"1.jpg"}', {"title": "number 1"})
    assert (task.source, task.before) == ("lots", None)
    assert dict(task.values) == {
        "key": "1.jpg",
        "sha256": bytes(range(32)).hex(),
        "size": "7",
        "content_type": "image/jpeg",
    }


async def test_a_copy_of_which_no_digest_is_known(ledger: SqliteLedger) -> None:
    await ledger.add("lots", page([a_row(1)]))
    await settle_all(ledger, await ledger.claim(1), Stored(10, None, "image/jpeg", "etag", None))
    (task,) = await ledger.ready_records(10)
    assert (task.values["sha256"], task.values["size"]) == (None, "10")


@pytest.mark.parametrize("reason", [Skip.IDENTICAL, Skip.IN_PLACE])
async def test_an_object_that_stood_there_makes_its_record_ready(ledger: SqliteLedger, reason: Skip) -> None:
    await ledger.add("lots", page([a_row(1)]))
    await settle_all(ledger, await ledger.claim(1), Skipped(reason))
    (task,) = await ledger.ready_records(10)
    assert (task.values["key"], task.values["size"], task.values["content_type"]) == ("1.jpg", "10", None)


async def test_other_bytes_under_the_key_fail_the_record(ledger: SqliteLedger, path: Path) -> None:
    await ledger.add("lots", page([a_row(1)]))
    await settle_all(ledger, await ledger.claim(1), Skipped(Skip.EXISTS))
    assert await states(ledger) == {("failed", "conflict"): 1}
    ((message,),) = query(path, "SELECT message FROM failed_records")
    assert "other bytes stand under the key" in message
    assert await ledger.retry() == (0, 0, 0)


async def test_several_rows_of_one_object_are_one_item(ledger: SqliteLedger, path: Path) -> None:
    assert await ledger.add("lots", page([a_row(1, "a.jpg"), a_row(2, "a.jpg"), a_row(3, "b.jpg")])) == 2
    assert await ledger.add("lots", page([a_row(4, "a.jpg")])) == 0
    await store_all(ledger)
    assert {(task.row.primary_key, task.values["key"]) for task in await ledger.ready_records(10)} == {
        ("[1]", "a.jpg"),
        ("[2]", "a.jpg"),
        ("[3]", "b.jpg"),
        ("[4]", "a.jpg"),
    }


async def test_a_row_that_comes_for_a_stored_item_is_ready_at_once(ledger: SqliteLedger) -> None:
    await ledger.add("lots", page([a_row(1, "a.jpg")]))
    await store_all(ledger)
    await ledger.add("more lots", page([a_row(1, "a.jpg"), a_row(2, "new.jpg")]))
    assert [(task.source, task.row.primary_key) for task in await ledger.ready_records(10, ["more lots"])] == [
        ("more lots", "[1]")
    ]
    assert await states(ledger) == {("planned", ""): 1, ("ready", ""): 2}


async def test_a_row_on_a_collision_waits(ledger: SqliteLedger) -> None:
    taken = Item("https://old/other.jpg", "a.jpg", 10)
    await ledger.add("lots", page([taken, a_row(1, "a.jpg")]))
    await store_all(ledger)
    assert await states(ledger) == {("planned", ""): 1}
    await ledger.begin_scan("lots")
    await ledger.add("lots", page([taken, a_row(1, "a.jpg")]))
    assert await states(ledger) == {("planned", ""): 1}


async def test_the_same_rows_again_change_nothing(ledger: SqliteLedger, path: Path) -> None:
    await ledger.add("lots", page([a_row(1), a_row(2)]))
    await store_all(ledger)
    await ledger.settle_records(each(await ledger.ready_records(1), Recorded()))
    before = query(path, "SELECT * FROM records")
    await ledger.begin_scan("lots")
    assert await ledger.add("lots", page([a_row(1), a_row(2)])) == 0
    assert query(path, "SELECT * FROM records") == before
    assert problems(path) == []


async def test_a_row_that_refers_to_another_object_since_takes_its_record_there(ledger: SqliteLedger) -> None:
    await ledger.add("lots", page([a_row(1, "a.jpg"), a_row(2, "b.jpg")]))
    await store_all(ledger)
    await ledger.settle_records(each((await ledger.ready_records(10))[:1], failed(Fault.CONFLICT)))
    await ledger.begin_scan("lots")
    await ledger.add("lots", page([a_row(1, "c.jpg"), a_row(2, "a.jpg")]))
    assert await states(ledger) == {("planned", ""): 1, ("ready", ""): 1}
    (task,) = await ledger.ready_records(10)
    assert (task.row.primary_key, task.row.seen, task.values["key"]) == ("[2]", '{"photo":"a.jpg"}', "a.jpg")
    await store_all(ledger)
    assert [task.values["key"] for task in await ledger.ready_records(10)] == ["c.jpg", "a.jpg"]


async def test_a_row_that_was_updated_and_refers_to_another_object_since_is_a_problem(
    ledger: SqliteLedger, path: Path
) -> None:
    await ledger.add("lots", page([a_row(1, "a.jpg")]))
    await store_all(ledger)
    tasks = await ledger.ready_records(1)
    await ledger.intend_records([a_change(task) for task in tasks])
    await ledger.settle_records(each(tasks, Recorded()))
    await ledger.begin_scan("lots")
    assert await ledger.add("lots", page([a_row(1, "c.jpg")])) == 1
    ((fault, message),) = problems(path)
    assert fault == Fault.CHANGED
    assert "[1]" in message
    assert "https://old/a.jpg" in message
    assert await states(ledger) == {("recorded", ""): 1}


@pytest.mark.parametrize("settled", [True, False])
async def test_a_location_that_an_update_wrote_is_no_item(ledger: SqliteLedger, path: Path, settled: bool) -> None:
    await ledger.add("lots", page([a_row(1, "a.jpg", lot="7")]))
    await store_all(ledger)
    tasks = await ledger.ready_records(1)
    await ledger.intend_records([a_change(task, '{"photo":"a.jpg"}', '{"photo":"new/a.jpg"}') for task in tasks])
    if settled:
        await ledger.settle_records(each(tasks, Recorded()))
    await ledger.begin_scan("lots")
    assert await ledger.add("lots", page([a_row(1, "new/a.jpg", lot="7"), a_row(2)], skipped=1)) == 1
    assert query(path, "SELECT key FROM items ORDER BY id") == [("a.jpg",), ("2.jpg",)]
    assert query(path, "SELECT skipped FROM scans") == [(2,)]
    assert problems(path) == []


async def test_what_was_intended_comes_first_with_its_first_before_image(ledger: SqliteLedger, path: Path) -> None:
    await ledger.add("lots", page([a_row(1), a_row(2), a_row(3)]))
    await ledger.add("more", page([a_row(1, "x.jpg")]))
    await store_all(ledger)
    third = (await ledger.ready_records(10, ["lots"]))[2]
    await ledger.intend_records([a_change(third, '{"key":"first"}', '{"key":"new"}')])
    await ledger.intend_records([a_change(third, '{"key":"new"}', '{"key":"newer"}')])
    assert [(task.row.primary_key, task.before) for task in await ledger.ready_records(2)] == [
        ("[3]", '{"key":"first"}'),
        ("[1]", None),
    ]
    assert {task.source for task in await ledger.ready_records(100)} == {"lots"}
    assert query(path, "SELECT before_image, after_image FROM records WHERE state = 'intended'") == [
        ('{"key":"first"}', '{"key":"newer"}')
    ]
    await ledger.settle_records(each(await ledger.ready_records(100), Recorded(adopted=True)))
    assert {task.source for task in await ledger.ready_records(100)} == {"more"}


async def test_a_retry_keeps_what_undoing_needs_column_by_column(ledger: SqliteLedger, path: Path) -> None:
    await ledger.add("lots", page([a_row(1)]))
    await store_all(ledger)
    (task,) = await ledger.ready_records(10)
    await ledger.intend_records([a_change(task, '{"bucket":"old","key":"a","note":"x"}', '{"bucket":"new","key":"b"}')])
    # The update was made, nobody was told, and somebody changed the note and the key.
    await ledger.settle_records([(task, Failed(Fault.CONFLICT, "somebody changed it"))])
    await ledger.retry()
    (again,) = await ledger.ready_records(10)
    assert again.before is None  # the row need not be what it was
    await ledger.intend_records(
        [a_change(again, '{"bucket":"new","key":"c","note":"y"}', '{"bucket":"new","key":"b"}')]
    )
    assert query(path, "SELECT before_image FROM records") == [('{"bucket":"old","key":"c","note":"y"}',)]


async def test_outcomes_and_their_tallies(ledger: SqliteLedger, path: Path) -> None:
    run = await ledger.begin_run("migrate", "hash")
    await ledger.add("lots", page([a_row(number) for number in range(1, 5)]))
    await store_all(ledger)
    one, two, three, four = await ledger.ready_records(10)
    await ledger.intend_records([a_change(one), a_change(two)])
    assert await states(ledger) == {("ready", ""): 2, ("intended", ""): 2}
    lost = Failed(Fault.CONFLICT, "the row was changed; postgresql://app:hunter2@db/shop said so")
    await ledger.settle_records([(one, Recorded()), (two, lost), (three, Failed(Fault.INVALID, "too long"))])
    assert await states(ledger) == {
        ("recorded", ""): 1,
        ("failed", "conflict"): 1,
        ("failed", "invalid"): 1,
        ("ready", ""): 1,
    }
    rows = query(path, "SELECT state, attempts, run, settled_at IS NULL, before_image FROM records ORDER BY id")
    assert rows == [
        ("recorded", 1, run, 0, '{"photo":"old"}'),
        ("failed", 1, run, 0, '{"photo":"old"}'),
        ("failed", 1, run, 0, None),
        ("ready", 0, None, 1, None),
    ]
    ((message,),) = query(path, "SELECT message FROM failed_records WHERE fault = 'conflict'")
    assert "hunter2" not in message
    assert [task.id for task in await ledger.ready_records(10)] == [four.id]


async def test_a_record_is_settled_once(ledger: SqliteLedger) -> None:
    await ledger.add("lots", page([a_row(1), a_row(2)]))
    await store_all(ledger)
    one, two = await ledger.ready_records(10)
    await ledger.settle_records([(one, Recorded())])
    with pytest.raises(LedgerError, match="1 rows were not waiting"):
        await ledger.settle_records([(one, Recorded()), (two, Recorded())])
    assert await states(ledger) == {("recorded", ""): 1, ("ready", ""): 1}


async def test_retry_makes_failed_records_ready_again(ledger: SqliteLedger) -> None:
    await ledger.add("lots", page([a_row(1), a_row(2)]))
    await ledger.add("more", page([a_row(3)]))
    await store_all(ledger)
    lots, more = await ledger.ready_records(10, ["lots"]), await ledger.ready_records(10, ["more"])
    await ledger.intend_records([a_change(lots[0])])
    await ledger.settle_records([(lots[0], failed(Fault.CONFLICT)), (lots[1], failed(Fault.INVALID))])
    await ledger.settle_records(each(more, failed(Fault.CONFLICT)))
    assert await ledger.ready_records(10) == []
    assert await ledger.retry([Fault.CONFLICT], ["lots"]) == (0, 1, 0)
    (task,) = await ledger.ready_records(10)
    assert (task.row.primary_key, task.before) == ("[1]", None)
    assert await ledger.retry() == (0, 2, 0)
    assert await states(ledger) == {("ready", ""): 3}


async def test_a_failed_row_that_a_scan_sees_anew_is_retried_as_it_is_now(ledger: SqliteLedger) -> None:
    await ledger.add("lots", page([a_row(1, lot="7")]))
    await store_all(ledger)
    await ledger.settle_records(each(await ledger.ready_records(1), failed(Fault.CONFLICT)))
    await ledger.begin_scan("lots")
    await ledger.add("lots", page([a_row(1, lot="8")]))
    assert await states(ledger) == {("failed", "conflict"): 1}
    await ledger.retry()
    assert [task.row.seen for task in await ledger.ready_records(1)] == ['{"photo":"1.jpg","lot":"8"}']


async def test_records_wait_through_a_kill(path: Path) -> None:
    with SqliteLedger.open(path, name="job") as ledger:
        await ledger.add("lots", page([a_row(1)]))
    with SqliteLedger.open(path, name="job") as ledger:
        await store_all(ledger)
        assert [tally.state for tally in await ledger.record_tallies()] == [RecordState.READY]


async def test_what_stands_under_its_key_is_skipped_in_place(ledger: SqliteLedger, path: Path) -> None:
    stands = Item("s3://bucket/a.jpg", "a.jpg", 4, "etag", here="a.jpg")
    moves = Item("s3://bucket/b.jpg", "c.jpg", 5, "etag", here="b.jpg")
    assert await ledger.add("bucket", page([stands, moves])) == 2
    assert [task.key for task in await ledger.claim(10)] == ["c.jpg"]
    assert query(path, "SELECT key, state, fault FROM items ORDER BY key") == [
        ("a.jpg", "skipped", "in-place"),
        ("c.jpg", "intended", None),
    ]
    await ledger.begin_scan("bucket")
    assert await ledger.add("bucket", page([stands, moves])) == 0
    with LedgerView.open(path) as view:
        assert [(item.key, item.skip, item.size) for item in view.settled()] == [("a.jpg", "in-place", 4)]


async def test_a_row_of_an_object_in_place_is_ready_when_the_object_was_seen(ledger: SqliteLedger) -> None:
    await ledger.add("lots", page([a_row(1, "a.jpg", here="a.jpg"), a_row(2, "b.jpg")]))
    assert await ledger.ready_records(10) == []
    (task,) = [task for task in await ledger.claim(10) if task.key == "a.jpg"]
    await ledger.settle([settlement(task, Skipped(Skip.IN_PLACE, size=4))])
    assert [task.row.primary_key for task in await ledger.ready_records(10)] == ["[1]"]


async def test_what_would_replace_an_object_in_place_collides_with_it(ledger: SqliteLedger, path: Path) -> None:
    stands = Item("s3://bucket/a.jpg", "a.jpg", 4, "etag", here="a.jpg")
    await ledger.add("bucket", page([Item("s3://bucket/x.jpg", "a.jpg", 5, here="x.jpg"), stands]))
    assert await ledger.claim(10) == []
    with LedgerView.open(path) as view:
        assert [(found.second, found.first) for found in view.collisions(5)] == [("s3://bucket/x.jpg", stands.location)]


async def test_what_the_ledger_put_somewhere_is_no_item(ledger: SqliteLedger, path: Path) -> None:
    sources = [Item(f"s3://bucket/{name}", f"new/{name}", 4, here=name) for name in ("a", "b", "c", "d")]
    await ledger.add("bucket", page(sources))
    tasks = {task.key: task for task in await ledger.claim(10)}
    outcomes: dict[str, Outcome] = {
        "new/a": stored(),
        "new/b": failed(Fault.TRANSIENT, again=True),
        "new/c": failed(Fault.CONFLICT),
    }
    await ledger.settle([settlement(tasks[key], outcome) for key, outcome in outcomes.items()])
    # a was stored, b may have been, d is under way; only what stands in the way of c is somebody else's.
    found = [Item(f"s3://bucket/new/{name}", f"new/new/{name}", 4, here=f"new/{name}") for name in "abcd"]
    assert await ledger.add("bucket", page(found)) == 1
    assert query(path, "SELECT location FROM items WHERE key LIKE 'new/new/%'") == [("s3://bucket/new/c",)]
    assert query(path, "SELECT skipped FROM scans") == [(3,)]


async def test_what_is_to_be_stored_once_more_is_no_item_either(ledger: SqliteLedger, path: Path) -> None:
    before, after = (Item("s3://bucket/a", "new/a", 4, fingerprint, here="a") for fingerprint in ("1", "2"))
    await ledger.add("bucket", page([before]))
    await settle_all(ledger, await ledger.claim(1), stored())
    await ledger.begin_scan("bucket")
    await ledger.add("bucket", page([after]))
    assert (await ledger.plan_changed()).items == 1
    assert await ledger.add("bucket", page([Item("s3://bucket/new/a", "new/new/a", 4, here="new/a")])) == 0
    assert query(path, "SELECT key, state FROM items") == [("new/a", "planned")]
