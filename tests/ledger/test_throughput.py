"""What a report is told of pace and tries: run by run, in as many points as a chart can show."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from migrator.core.model import Fault
from migrator.ledger.sqlite import SqliteLedger
from migrator.ledger.throughput import RUNS
from migrator.ledger.view import LedgerView
from tests.ledger.making import failed, items, page, settlement, stored

START = 1_700_000_000


def write(path: Path, runs: list[tuple[int, int | None]], pace: list[tuple[int, int]]) -> None:
    """Runs (begin, end) and objects (second, how many of 10 bytes) of a ledger at rest; seconds after START."""
    with closing(sqlite3.connect(path)) as ledger:
        ledger.execute("DELETE FROM runs")
        ledger.executemany(
            "INSERT INTO runs (command, config_hash, started_at, finished_at, moved_items)"
            " VALUES ('migrate', '', ?, ?, ?)",
            [(START + begin, end and START + end, None if end is None else 1) for begin, end in runs],
        )
        ledger.executemany(
            "INSERT INTO pace (at, items, bytes) VALUES (?, ?, ?)",
            [(START + at, count, 10 * count) for at, count in pace],
        )
        ledger.commit()


@pytest.fixture
def at_rest(path: Path) -> Path:
    """An empty ledger that nobody holds."""
    SqliteLedger.open(path, name="job").close()
    return path


def test_each_run_has_its_own_pace_and_a_killed_one_ends_with_it(at_rest: Path) -> None:
    write(at_rest, [(3, 25), (100, None), (200, 205)], [(0, 7), (10, 20), (20, 5), (100, 1), (110, 2), (200, 5)])
    with LedgerView.open(at_rest) as view:
        first, killed, last = view.throughput(600)
    assert [(each.begin, each.end, each.items) for each in first.stretches] == [(0, 7, 7), (7, 17, 20), (17, 22, 5)]
    assert (killed.seconds, killed.items, killed.bytes) == (20, 3, 30)
    assert [(each.begin, each.end, each.items) for each in last.stretches] == [(0, 5, 5)]


def test_what_is_stored_in_the_second_in_which_a_run_ends_takes_time_too(at_rest: Path) -> None:
    write(at_rest, [(3, 20)], [(10, 4), (20, 6)])
    with LedgerView.open(at_rest) as view:
        (pace,) = view.throughput(600)
    assert [(each.begin, each.end, each.items) for each in pace.stretches] == [(7, 17, 4), (16, 17, 6)]


def test_what_two_runs_share_counts_once(at_rest: Path) -> None:
    write(at_rest, [(0, 12), (14, 40)], [(0, 4), (10, 6), (20, 1)])
    with LedgerView.open(at_rest) as view:
        paces = view.throughput(600)
    assert [(pace.run, pace.items) for pace in paces] == [(1, 4), (2, 7)]


def test_days_are_drawn_with_a_few_points(at_rest: Path) -> None:
    days = 3 * 24 * 3600
    write(at_rest, [(0, days)], [(at, 100) for at in range(0, days, 10)])
    with LedgerView.open(at_rest) as view:
        (pace,) = view.throughput(600)
        assert view.throughput(10)[0].items == pace.items == days * 10
    assert 500 < len(pace.stretches) <= 601
    assert {round(each.items / (each.end - each.begin), 1) for each in pace.stretches} == {10.0}


def test_only_the_latest_of_very_many_runs_are_shown(at_rest: Path) -> None:
    runs = [(100 * number, 100 * number + 50) for number in range(RUNS + 10)]
    write(at_rest, list(runs), [(begin, 1) for begin, _ in runs])
    with LedgerView.open(at_rest) as view:
        assert [pace.run for pace in view.throughput(600)] == list(range(11, RUNS + 11))


async def test_tries_after_the_first_belong_to_the_run_that_made_them(ledger: SqliteLedger, path: Path) -> None:
    await ledger.add("photos", page(items("a", "b", "c", "d")))
    await ledger.begin_run("migrate", "hash")
    first, second, *others = await ledger.claim(4)
    await ledger.settle([settlement(first, stored(), 3), settlement(second, failed(Fault.TRANSIENT), 6)])
    await ledger.begin_run("migrate", "hash")
    await ledger.settle([settlement(others[0], stored(), 2), settlement(others[1], stored(), 0)])
    with LedgerView.open(path) as view:
        assert [run.retries for run in view.runs()] == [7, 1]
