"""Variants in the ledger: settled, counted, looked for, asked for again, and what rows wait for."""

from pathlib import Path

import pytest

from migrator.core.model import Fault, Item, Lacking, Made, Skip, Skipped, Stored, Task, Unmade, VariantOutcome
from migrator.core.records import RecordState, Row
from migrator.core.variants import VariantMeans
from migrator.ledger.sqlite import SqliteLedger
from migrator.ledger.view import LedgerView
from tests.ledger.making import DIGEST, failed, items, page, query, settlement, stored

FULL, THUMB = ("full", "webp"), ("thumb", "jpeg")
WANTED = {"photos": (FULL, THUMB)}


def made(name: tuple[str, str], item: str, *, quality: int | None = 80, size: int = 7) -> Made:
    """A variant that stands."""
    key = f"{item}/{name[0]}.{name[1]}"
    return Made(*name, key, size, DIGEST, "etag", None, f"image/{name[1]}", 10, 8, quality, 2, 0.25)


def unmade(name: tuple[str, str], item: str, fault: Fault = Fault.RENDER) -> Unmade:
    """One that does not."""
    return Unmade(*name, f"{item}/{name[0]}", fault, "it is damaged")


def with_variants(*outcomes: VariantOutcome) -> Stored:
    return Stored(10, DIGEST, "image/jpeg", "etag", None, variants=outcomes)


def recount(path: Path) -> set[tuple[object, ...]]:
    """The tallies of variants as the rows themselves tell them."""
    return set(
        query(
            path,
            "SELECT sources.name, variants.name, format, variants.state, coalesce(variants.fault, ''), count(*),"
            " coalesce(sum(variants.size), 0) FROM variants JOIN items ON items.id = variants.item"
            " JOIN sources ON sources.id = items.source GROUP BY 1, 2, 3, 4, 5",
        )
    )


def tallied(path: Path) -> set[tuple[object, ...]]:
    return set(query(path, "SELECT source, name, format, state, reason, variants, bytes FROM variant_progress"))


async def lacking(ledger: SqliteLedger, *, planned_only: bool) -> dict[str, Lacking]:
    """All of it, by key, page by page."""
    found: dict[str, Lacking] = {}
    after: int | None = 0
    while after is not None:
        some, after = await ledger.lacking(WANTED, after, 2, planned_only=planned_only)
        found |= {job.task.key: job for job in some}
    return found


@pytest.fixture
async def tasks(ledger: SqliteLedger) -> dict[str, Task]:
    """Six claimed items by key."""
    await ledger.add("photos", page(items("a", "b", "c", "d", "e", "f")))
    return {task.key: task for task in await ledger.claim(10)}


async def test_variants_are_counted_with_their_items_and_asked_for_again(
    ledger: SqliteLedger, path: Path, tasks: dict[str, Task]
) -> None:
    await ledger.settle(
        [
            settlement(tasks["a"], with_variants(made(FULL, "a"), made(THUMB, "a"))),
            settlement(tasks["b"], with_variants(made(FULL, "b"), unmade(THUMB, "b"))),
            settlement(tasks["c"], Skipped(Skip.IDENTICAL, variants=(unmade(FULL, "c", Fault.CONFLICT),))),
        ]
    )
    assert tallied(path) == recount(path)
    assert {tally.reason: tally.variants for tally in await ledger.variant_tallies() if tally.state == "failed"} == {
        "render": 1,
        "conflict": 1,
    }
    assert await lacking(ledger, planned_only=True) == {}
    assert (await ledger.retry(None, None, {"photos": (FULL,), "others": (THUMB,)})).variants == 1, "only the full one"
    assert (await ledger.retry(["render"], None, WANTED)).variants == 1
    found = await lacking(ledger, planned_only=True)
    assert found.keys() == {"b", "c"}
    job = found["b"]
    assert (job.task.key, job.wanted, job.sha256, job.size, job.original) == ("b", (THUMB,), DIGEST, 10, True)
    await ledger.settle_variants([(job, [made(THUMB, "b")]), (found["c"], [made(FULL, "c"), made(THUMB, "c")])])
    assert tallied(path) == recount(path)
    assert await lacking(ledger, planned_only=True) == {}
    assert await ledger.retry(["render"], None, WANTED) == (0, 0, 0)


async def test_what_was_never_asked_for_is_looked_for_only_when_asked(
    ledger: SqliteLedger, tasks: dict[str, Task]
) -> None:
    text = Stored(10, DIGEST, "text/plain", "etag", None)
    await ledger.settle(
        [
            settlement(tasks["a"], with_variants(made(FULL, "a"))),
            settlement(tasks["b"], stored()),
            settlement(tasks["c"], Skipped(Skip.IN_PLACE)),
            settlement(tasks["d"], text),
            settlement(tasks["e"], failed()),
            settlement(tasks["f"], Skipped(Skip.EXISTS)),
        ]
    )
    found = await lacking(ledger, planned_only=False)
    assert {key: job.wanted for key, job in found.items()} == {"a": (THUMB,), "b": (FULL, THUMB), "c": (FULL, THUMB)}
    assert (await lacking(ledger, planned_only=True)).keys() == {"c"}, "nobody else looks at what is in its place"
    await ledger.settle_variants([(found["b"], []), (found["c"], [])])
    assert (await lacking(ledger, planned_only=False)).keys() == {"a"}, "they are no images"


async def test_rows_wait_for_the_variants_that_they_name(ledger: SqliteLedger, path: Path) -> None:
    rows = [
        Item(f"file:///{name}", name, 10, row=Row(f"[{number}]", "{}")) for number, name in enumerate(("a", "b", "c"))
    ]
    await ledger.add("photos", page(rows))
    await ledger.require_variants({"photos": (THUMB,)})
    tasks = {task.key: task for task in await ledger.claim(10)}
    await ledger.settle(
        [
            settlement(tasks["a"], with_variants(made(THUMB, "a"), unmade(FULL, "a"))),
            settlement(tasks["b"], with_variants(unmade(THUMB, "b"), made(FULL, "b"))),
            settlement(tasks["c"], failed()),
        ]
    )
    (ready,) = await ledger.ready_records(10)
    assert (ready.values["key"], ready.variants) == ("a", {THUMB: "a/thumb.jpeg"})
    with LedgerView.open(path) as view:
        assert view.waiting_rows() == 1, "b: its object stands; c waits for its object"
    await ledger.retry(["render"], None, WANTED)
    job = (await lacking(ledger, planned_only=True))["b"]
    await ledger.settle_variants([(job, [made(THUMB, "b")])])
    assert {record.values["key"] for record in await ledger.ready_records(10)} == {"a", "b"}
    with LedgerView.open(path) as view:
        assert view.waiting_rows() == 0
        assert {tally.state: tally.records for tally in view.record_tallies()} == {
            RecordState.READY: 2,
            RecordState.PLANNED: 1,
        }


async def test_reports_are_told_of_failures_qualities_and_what_lacks(
    ledger: SqliteLedger, path: Path, tasks: dict[str, Task]
) -> None:
    await ledger.settle(
        [
            settlement(tasks["a"], with_variants(made(FULL, "a", quality=70), made(THUMB, "a", quality=None))),
            settlement(tasks["b"], with_variants(made(FULL, "b", quality=80), unmade(THUMB, "b"))),
            settlement(tasks["c"], with_variants(unmade(THUMB, "c", Fault.CONFLICT))),
            settlement(tasks["d"], stored()),
            settlement(tasks["e"], Skipped(Skip.IN_PLACE)),
        ]
    )
    with LedgerView.open(path) as view:
        assert view.variant_means() == {FULL: VariantMeans(75.0, 10.0), THUMB: VariantMeans(None, 10.0)}
        assert [(each.original, each.fault) for each in view.failed_variants()] == [("c", "conflict"), ("b", "render")]
        (example,) = view.failed_variants(1, Fault.RENDER)
        assert (example.source, example.name, example.format, example.key) == ("photos", "thumb", "jpeg", "b/thumb")
        assert (example.location, example.message) == ("file:///data/b", "it is damaged")
        assert view.lacking_variants("photos", (FULL, THUMB), in_place=False) == (2, 3), "c lacks one, d both"
        assert view.lacking_variants("photos", (FULL, THUMB), in_place=True) == (1, 2)
        assert view.lacking_variants("photos", (FULL,), in_place=False) == (2, 2)


async def test_qualities_of_very_many_are_those_of_some(ledger: SqliteLedger, path: Path) -> None:
    names = [f"{number:04d}" for number in range(3000)]
    await ledger.add("photos", page(items(*names)))
    claimed = await ledger.claim(3000)
    await ledger.settle(
        [
            settlement(task, with_variants(made(FULL, task.key, quality=60), made(THUMB, task.key, quality=90)))
            for task in claimed
        ]
    )
    with LedgerView.open(path) as view:
        assert view.variant_means() == {FULL: VariantMeans(60.0, 10.0), THUMB: VariantMeans(90.0, 10.0)}


async def test_a_sample_is_spread_over_what_is_planned(ledger: SqliteLedger, path: Path) -> None:
    names = [f"{number:03d}" for number in range(100)]
    await ledger.add("photos", page(items(*names)))
    await ledger.add("others", page([Item("https://x/?X=***", "x", signed="https://x/?X=secret")]))
    await ledger.claim(50, ["photos"])
    with LedgerView.open(path) as view:
        assert [task.key for task in view.sample("photos", 5)] == ["050", "060", "070", "080", "090"]
        assert [task.key for task in view.sample("photos", 90)] == names[50:]
        (task,) = view.sample("others", 5)
        assert task.url == "https://x/?X=secret"
        assert view.sample("nothing", 5) == []
