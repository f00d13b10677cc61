"""What a scan brings in: identity, collisions, scans that come again, problems, cursors, signed URLs."""

from pathlib import Path

import pytest

from migrator.core.errors import LedgerError
from migrator.core.model import Fault, Item, Problem, State
from migrator.ledger.seen import FailedItem
from migrator.ledger.sqlite import SqliteLedger
from migrator.ledger.view import LedgerView
from tests.ledger.making import failed, items, page, query, settle_all, settlement, stored


async def states(ledger: SqliteLedger) -> dict[tuple[State, str], tuple[int, int]]:
    return {(tally.state, tally.reason): (tally.items, tally.bytes) for tally in await ledger.tallies()}


def collisions(path: Path) -> list[FailedItem]:
    """Items that are not moved because another one has their key."""
    with LedgerView.open(path) as view:
        return [item for item in view.failures() if item.fault is Fault.CONFLICT]


async def test_new_items_are_planned_and_counted(ledger: SqliteLedger) -> None:
    assert await ledger.add("photos", page(items("a", "b"), cursor="b")) == 2
    assert await ledger.cursor("photos") == ("b", False)
    assert await states(ledger) == {(State.PLANNED, ""): (2, 20)}


async def test_an_item_that_is_listed_twice_is_one_item(ledger: SqliteLedger) -> None:
    assert await ledger.add("photos", page(items("a", "b", "a"))) == 2
    assert await ledger.add("photos", page(items("b", "c"))) == 1
    assert await ledger.add("again", page(items("a", "c"))) == 0
    assert await states(ledger) == {(State.PLANNED, ""): (3, 30)}


async def test_one_location_may_go_to_two_keys(ledger: SqliteLedger) -> None:
    both = [Item("file:///data/a", "x/a"), Item("file:///data/a", "y/a")]
    assert await ledger.add("photos", page(both)) == 2
    assert {task.key for task in await ledger.claim(10)} == {"x/a", "y/a"}


@pytest.mark.parametrize("together", [True, False])
async def test_the_later_of_two_locations_for_a_key_fails_and_names_both(
    ledger: SqliteLedger, path: Path, together: bool
) -> None:
    first, second = Item("https://a/1.jpg", "1.jpg", 5), Item("https://b/1.jpg", "1.jpg", 7)
    if together:
        assert await ledger.add("lots", page([first, second])) == 2
    else:
        assert await ledger.add("lots", page([first])) == 1
        assert await ledger.add("more lots", page([second])) == 1
    (found,) = collisions(path)
    assert (found.location, found.key) == (second.location, "1.jpg")
    assert (found.fault, found.size) == (Fault.CONFLICT, 7)
    assert "https://a/1.jpg" in found.message
    assert "https://b/1.jpg" in found.message
    assert [task.location for task in await ledger.claim(10)] == ["https://a/1.jpg"]
    assert await states(ledger) == {(State.INTENDED, ""): (1, 5), (State.FAILED, "conflict"): (1, 7)}


async def test_a_collision_is_counted_once_and_not_retried(ledger: SqliteLedger, path: Path) -> None:
    pair = [Item("https://a/1.jpg", "1.jpg"), Item("https://b/1.jpg", "1.jpg")]
    await ledger.add("lots", page(pair))
    await ledger.begin_scan("lots")
    await ledger.add("lots", page(pair))
    assert await ledger.add("lots", page(reversed(pair))) == 0
    assert await ledger.retry() == (0, 0, 0)
    assert len(collisions(path)) == 1
    with LedgerView.open(path) as view:
        assert view.collision_count() == 1


async def test_a_second_scan_brings_new_sizes_for_what_is_not_stored(ledger: SqliteLedger) -> None:
    await ledger.add("photos", page(items("failed", "stored")))
    tasks = {task.key: task for task in await ledger.claim(2)}
    await ledger.settle([settlement(tasks["failed"], failed()), settlement(tasks["stored"], stored(10))])
    await ledger.add("photos", page(items("planned")))
    again = [
        Item(f"file:///data/{name}", name, size, "mtime-2")
        for name, size in (("planned", 11), ("failed", 12), ("stored", 13))
    ]
    assert await ledger.add("photos", page(again)) == 0
    assert await states(ledger) == {
        (State.PLANNED, ""): (1, 11),
        (State.FAILED, "gone"): (1, 12),
        (State.STORED, ""): (1, 10),
    }
    (task,) = await ledger.claim(1)
    assert (task.size, task.fingerprint) == (11, "mtime-2")


async def test_a_stored_item_that_changed_is_a_problem_once(ledger: SqliteLedger, path: Path) -> None:
    before, after = (Item("file:///data/a", "a", 10, fingerprint) for fingerprint in ("1", "2"))
    await ledger.add("photos", page([before]))
    await settle_all(ledger, await ledger.claim(1), stored())
    for _ in range(2):
        await ledger.begin_scan("photos")
        await ledger.add("photos", page([before]))
        await ledger.add("photos", page([after, after]))
    await ledger.add("photos", page([after]))
    with LedgerView.open(path) as view:
        ((source, problem),) = view.problems()
        assert view.problem_count() == 1
    assert (source, problem.place, problem.fault) == ("photos", "file:///data/a", Fault.CHANGED)


async def test_problems_are_kept_by_place_and_forgotten_by_the_next_scan(ledger: SqliteLedger, path: Path) -> None:
    bad = Problem("lots/1.json", "images.3.url", Fault.INVALID, "not a URL: https://u:secret@h/x?sig=secret")
    odd = Problem("file \udcff.json", "", Fault.INVALID, "the name is not UTF-8")
    await ledger.add("lots", page(problems=[bad, odd], skipped=3))
    await ledger.add("lots", page(problems=[bad]))
    await ledger.add("other", page(problems=[bad]))
    with LedgerView.open(path) as view:
        found = list(view.problems())
        assert [(source, problem.place) for source, problem in found] == [
            ("lots", "lots/1.json"),
            ("lots", "file \\udcff.json"),
            ("other", "lots/1.json"),
        ]
        assert "secret" not in found[0][1].message
        assert [(scan.source, scan.problems, scan.skipped) for scan in view.scans()] == [
            ("lots", 2, 3),
            ("other", 1, 0),
        ]
        assert len(list(view.problems(limit=1))) == 1
    await ledger.begin_scan("lots")
    assert await ledger.problem_count() == 1


async def test_a_scan_goes_from_its_cursor_to_its_end_and_again_from_the_beginning(ledger: SqliteLedger) -> None:
    assert await ledger.cursor("photos") == (None, False)
    await ledger.add("photos", page(cursor="half"))
    await ledger.finish_scan("photos")
    assert await ledger.cursor("photos") == ("half", True)
    await ledger.begin_scan("photos")
    assert await ledger.cursor("photos") == (None, False)


async def test_a_page_larger_than_a_statement_goes_in_whole(ledger: SqliteLedger) -> None:
    names = [f"{number:05d}" for number in range(1733)]
    assert await ledger.add("photos", page(items(*names[:900]))) == 900
    assert await ledger.add("photos", page(items(*names))) == 833
    assert sorted(task.key for task in await ledger.claim(5000)) == names


def signed(signature: str) -> Item:
    return Item("https://h/a.jpg?***", "a.jpg", signed=f"https://h/a.jpg?X-Amz-Signature={signature}")


async def test_a_signed_url_comes_back_whole_but_stands_nowhere_readable(path: Path) -> None:
    with SqliteLedger.open(path, name="job") as ledger:
        await ledger.add("lots", page([signed("canary-4711")]))
        for file in path.parent.iterdir():
            assert b"canary" not in file.read_bytes(), file
    with SqliteLedger.open(path, name="job") as ledger:
        (task,) = await ledger.claim(1)
    assert task.url.endswith("=canary-4711")
    assert task.location == "https://h/a.jpg?***"
    assert path.with_suffix(".key").stat().st_mode & 0o777 == 0o600
    assert all(b"canary" not in file.read_bytes() for file in path.parent.iterdir())


async def test_two_signed_urls_that_look_alike_collide_but_a_new_signature_does_not(
    ledger: SqliteLedger, path: Path
) -> None:
    await ledger.add("lots", page([signed("one"), signed("one")]))
    assert collisions(path) == []
    await ledger.begin_scan("lots")
    await ledger.add("lots", page([signed("renewed")]))
    assert collisions(path) == []
    await ledger.add("lots", page([signed("other")]))
    assert len(collisions(path)) == 1
    (task,) = await ledger.claim(5)
    assert task.url.endswith("=renewed")


@pytest.mark.parametrize("damage", ["missing", "another", "garbage"])
async def test_without_its_key_file_a_sealed_url_is_refused_and_the_item_stays_planned(path: Path, damage: str) -> None:
    with SqliteLedger.open(path, name="job") as ledger:
        await ledger.add("lots", page([signed("one")]))
    key = path.with_suffix(".key")
    if damage == "missing":
        key.unlink()
    elif damage == "garbage":
        key.write_text("garbage")
    else:
        with SqliteLedger.open(path.with_name("two.db"), name="two") as other:
            await other.add("lots", page([signed("one")]))
        path.with_name("two.key").replace(key)
    with SqliteLedger.open(path, name="job") as ledger:
        with pytest.raises(LedgerError, match=r"job\.key.*restore that file"):
            await ledger.claim(1)
        with pytest.raises(LedgerError, match=r"job\.key"):
            await ledger.add("lots", page([signed("two")]))
    assert query(path, "SELECT state FROM items") == [("planned",)]
    assert key.exists() == (damage != "missing"), "a new key would open nothing"
