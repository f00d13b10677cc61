"""A plan that starts over enters items unchecked; told apart at its end, they are as if each had been looked at."""

import asyncio
import random
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from migrator.core.errors import LedgerError
from migrator.core.model import Item, Page
from migrator.core.records import Row
from migrator.ledger import key_index
from migrator.ledger.seal import Seal
from migrator.ledger.sqlite import SqliteLedger
from tests.ledger.making import finish_left_plan, items, page, planning, query, recount

ITEMS = """SELECT sources.name, items.location, items.key, iif(items.state = 'failed', NULL, items.size),
    iif(items.state = 'failed', NULL, items.fingerprint), items.fields, items.sealed, items.state, items.fault,
    items.message, first.location, items.shared IS NOT NULL
  FROM items JOIN sources ON sources.id = items.source LEFT JOIN items AS first ON first.id = items.collides"""
RECORDS = """SELECT sources.name, primary_key, items.location, items.key, seen, records.fields, records.state
  FROM records JOIN items ON items.id = records.item JOIN sources ON sources.id = records.source"""


def collection(draw: random.Random, pages: int) -> Iterator[tuple[str, Page]]:
    """Pages of three sources in which keys come again: as twins, from elsewhere, signed, with rows, and in place."""
    width = draw.choice([4, 20])
    for number in range(pages):
        source = ("photos", "rows", "bucket")[number % 3]
        found = [_item(draw, source, width) for _ in range(draw.randrange(12))]
        yield source, page(found, cursor=str(number))


def _item(draw: random.Random, source: str, width: int) -> Item:
    place, key = draw.randrange(width), f"{draw.randrange(width)}.jpg"
    if source == "rows":
        row = Row(f"[{draw.randrange(30)}]", f'{{"photo":"{place}"}}', {"album": str(draw.randrange(3))})
        return Item(f"https://old/{place}", key, row=row)
    if source == "bucket":
        here = draw.choice([f"{place}.jpg", key])
        return Item(f"s3://new/{here}", key, 7, f"etag-{here}", here=here)
    signed = f"https://old/{place}?token={draw.randrange(2)}" if draw.random() < 0.3 else None
    location = f"https://old/{place}?***" if signed else f"https://old/{place}"
    return Item(location, key, place, draw.choice([None, "monday", "tuesday"]), {"n": str(place)}, signed)


def found_in(path: Path) -> tuple[list[object], list[object], set[object]]:
    """What a ledger says of a plan, whatever the numbers of its rows are."""
    seal = Seal(path.with_suffix(".key"), used=True)
    of_items = [(*row[:6], seal.url(row[6]), *row[7:]) for row in query(path, ITEMS)]
    return sorted(of_items, key=repr), sorted(query(path, RECORDS), key=repr), set(recount(path))


@pytest.mark.parametrize("seed", range(40))
async def test_it_comes_to_what_a_look_at_each_key_comes_to(tmp_path: Path, seed: int) -> None:
    looked_at, started_over = tmp_path / "looked_at" / "job.db", tmp_path / "started_over" / "job.db"
    with SqliteLedger.open(looked_at, name="job") as ledger:
        for source, each in collection(random.Random(seed), 30):
            await ledger.add(source, each)
        collisions = await ledger.collision_count()
    async with planning(started_over) as ledger:
        for source, each in collection(random.Random(seed), 30):
            await ledger.add(source, each)
        await ledger.finish_plan()
        assert await ledger.collision_count() == collisions > 0
    assert found_in(started_over) == found_in(looked_at)


async def test_keys_are_kept_apart_again_afterwards(path: Path) -> None:
    async with planning(path) as ledger:
        await ledger.add("photos", page(items("a", "b")))
        await ledger.finish_plan()
        assert await ledger.add("photos", page([Item("https://elsewhere/a", "a")])) == 1
        assert await ledger.collision_count() == 1
    again = "INSERT INTO items (source, location, key, state) SELECT source, 'x', key, state FROM items WHERE id = 1"
    with closing(sqlite3.connect(path)) as database, pytest.raises(sqlite3.IntegrityError):
        database.execute(again)


async def test_a_plan_that_nothing_was_moved_of_starts_over(path: Path) -> None:
    async with planning(path) as ledger:
        await ledger.add("photos", page(items("a", "b"), cursor="b"))
        await ledger.finish_scan("photos")
        await ledger.finish_plan()
        await ledger.begin_run("plan", "digest")
        await ledger.start_over(everything=True)
        assert await ledger.tallies() == []
        assert await ledger.cursor("photos") == (None, False), "killed here, it scans again"


async def test_a_plan_of_one_source_leaves_what_others_have_planned(path: Path) -> None:
    async with planning(path) as ledger:
        await ledger.add("photos", page(items("a", "b")))
        await ledger.finish_plan()
        await ledger.start_over(everything=False)
        assert not ledger.plan_unfinished
        assert len(await ledger.claim(10)) == 2


async def test_nothing_is_forgotten_once_anything_else_has_run(ledger: SqliteLedger) -> None:
    await ledger.begin_run("migrate", "digest")
    await ledger.add("photos", page(items("a", "b")))
    await ledger.begin_run("plan", "digest")
    await ledger.start_over(everything=True)
    assert not ledger.plan_unfinished
    assert len(await ledger.claim(10)) == 2


async def test_a_plan_that_was_cancelled_at_its_end_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build, sorting, cancelled = key_index.build, threading.Event(), threading.Event()

    def wait_and_build(connection: sqlite3.Connection) -> None:
        sorting.set()
        assert cancelled.wait(10)
        build(connection)

    async with planning(path) as ledger:
        await ledger.add("photos", page(items(*"abc")))
        await ledger.add("more photos", page(items(*"bcd")))
        monkeypatch.setattr(key_index, "build", wait_and_build)
        monkeypatch.setattr(key_index, "_OPCODES", 1)
        ending = asyncio.create_task(ledger.finish_plan())
        await asyncio.to_thread(sorting.wait, 10)
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        cancelled.set()
        assert ledger.plan_unfinished
    monkeypatch.undo()
    assert await finish_left_plan(path) == 4


async def test_an_error_at_its_end_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async with planning(path) as ledger:
        await ledger.add("photos", page(items("a")))
        monkeypatch.setattr(key_index, "build", fail)
        with pytest.raises(LedgerError, match="disk I/O error"):
            await ledger.finish_plan()
        monkeypatch.undo()
        await ledger.finish_plan()
        assert len(await ledger.claim(10)) == 1
