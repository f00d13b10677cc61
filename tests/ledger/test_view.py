"""What status and reports read, and what any SQLite tool sees."""

from pathlib import Path

from sqlite_utils import Database

from migrator.core.model import Fault, Item, Skip, Skipped
from migrator.core.objects import Capabilities, Digest
from migrator.ledger.seen import Collision
from migrator.ledger.sqlite import SqliteLedger
from migrator.ledger.view import LedgerView
from tests.ledger.making import failed, items, page, query, settle_all, stored

CAPABILITIES = Capabilities(True, False, Digest.MD5, Digest.READ_BACK, True, False, True)


async def test_a_view_follows_a_run_that_writes(ledger: SqliteLedger, path: Path) -> None:
    with LedgerView.open(path) as view:
        assert (view.tallies(), view.scans(), view.runs(), view.capabilities()) == ([], [], [], None)
        run = await ledger.begin_run("migrate", "hash")
        await ledger.add("photos", page(items("a", "b"), skipped=4))
        await settle_all(ledger, await ledger.claim(1), stored(100))
        assert {tally.state: (tally.items, tally.bytes) for tally in view.tallies()} == {
            "planned": (1, 10),
            "stored": (1, 100),
        }
        (scan,) = view.scans()
        assert (scan.source, scan.complete, scan.skipped, scan.finished_at) == ("photos", False, 4, None)
        assert view.pace().items > 0
        assert view.pace().bytes == view.pace().items * 100 or view.pace().bytes > 0
        (record,) = view.runs()
        assert (record.number, record.command, record.status, record.moved_items) == (run, "migrate", None, 0)
        await ledger.finish_run(run, 0, {"PUT": 1}, (1, 100))
        await ledger.finish_scan("photos")
        (record,) = view.runs()
        assert (record.status, record.requests, record.moved_items, record.moved_bytes) == (0, {"PUT": 1}, 1, 100)
        assert record.finished_at
        assert record.finished_at >= record.started_at
        assert view.scans()[0].complete
        assert view.id == ledger.id


async def test_runs_are_numbered_over_restarts(path: Path) -> None:
    numbers = []
    for _ in range(3):
        with SqliteLedger.open(path, name="job") as ledger:
            numbers.append(await ledger.begin_run("migrate", "hash"))
    assert numbers == [1, 2, 3]


async def test_capabilities_and_words_about_the_migration_are_kept(ledger: SqliteLedger, path: Path) -> None:
    assert await ledger.capabilities() is None
    assert await ledger.get_meta("bucket") is None
    await ledger.keep_capabilities(CAPABILITIES)
    await ledger.set_meta("bucket", "first-choice")
    await ledger.set_meta("bucket", "fallback")
    assert await ledger.capabilities() == CAPABILITIES
    assert await ledger.get_meta("bucket") == "fallback"
    with LedgerView.open(path) as view:
        assert view.capabilities() == CAPABILITIES
        assert (view.meta("bucket"), view.meta("name"), view.meta("nothing")) == ("fallback", "job", None)


async def test_long_lists_come_whole_and_in_order(ledger: SqliteLedger, path: Path) -> None:
    names = [f"{number:05d}" for number in range(2500)]
    await ledger.add("photos", page(items(*names)))
    tasks = await ledger.claim(5000)
    await settle_all(ledger, tasks[:1250], failed(Fault.GONE))
    await settle_all(ledger, tasks[1250:-1], stored())
    await settle_all(ledger, tasks[-1:], Skipped(Skip.EXISTS))
    with LedgerView.open(path) as view:
        assert [item.key for item in view.failures()] == names[:1250]
        assert [item.key for item in view.failures(limit=1100)] == names[:1100]
        assert [item.key for item in view.settled()] == names[1250:]
        assert view.collisions(5) == []
        (example, *_) = view.examples(Fault.GONE, 3)
        assert example
        assert example.key == "00000"
        assert view.examples(Fault.THROTTLED, 3) == []


async def test_it_reads_with_plain_sqlite_tools(ledger: SqliteLedger, path: Path) -> None:
    await ledger.add("photos", page(items("a", "b", "c")))
    tasks = await ledger.claim(2)
    await settle_all(ledger, tasks[:1], stored())
    await settle_all(ledger, tasks[1:], failed(Fault.INVALID, "an HTML page"))
    assert query(path, "SELECT source, key, location, fault, message, attempts FROM failures") == [
        ("photos", "b", "file:///data/b", "invalid", "an HTML page", 1)
    ]
    assert query(path, "SELECT * FROM progress") == [
        ("photos", "failed", "invalid", 1, 10),
        ("photos", "planned", "", 1, 10),
        ("photos", "stored", "", 1, 10),
    ]
    assert [row["state"] for row in Database(path)["items"].rows] == ["stored", "failed", "planned"]


async def test_a_copy_is_a_ledger_of_its_own(ledger: SqliteLedger, path: Path, tmp_path: Path) -> None:
    signed = Item("https://h/a.jpg?***", "a.jpg", 5, signed="https://h/a.jpg?sig=1")
    await ledger.add("lots", page([signed, *items("b")]))
    target = tmp_path / "elsewhere" / "job.db"
    with LedgerView.open(path) as view:
        view.copy_to(target)
    with SqliteLedger.open(target, name="job") as copy:
        assert [task.url for task in await copy.claim(5)] == ["https://h/a.jpg?sig=1", "file:///data/b"]
    assert [tally.state for tally in await ledger.tallies()] == ["planned"]
    assert {file.stat().st_mode & 0o777 for file in target.parent.iterdir()} == {0o600}


async def test_large_items_and_their_parts_are_counted_while_they_wait(ledger: SqliteLedger, path: Path) -> None:
    await ledger.add("films", page([*items("small", size=8), *items("unknown", size=None)]))
    await ledger.add("films", page([*items("nine", size=9), *items("sixteen", size=16), *items("moved", size=99)]))
    await settle_all(ledger, [task for task in await ledger.claim(5) if task.key == "moved"], stored())
    with LedgerView.open(path) as view:
        assert view.large("films", 8, 8) == (2, 4)
        assert view.large("other", 8, 8) == (0, 0)


async def test_keys_that_most_locations_want_come_first(ledger: SqliteLedger, path: Path) -> None:
    wanted = {"twice.jpg": 2, "often.jpg": 5, "thrice.jpg": 3, "once.jpg": 1}
    await ledger.add(
        "lots", page(Item(f"https://h/{n}/{key}", key) for key, many in wanted.items() for n in range(many))
    )
    with LedgerView.open(path) as view:
        often, thrice = view.collisions(2)
        assert often == Collision("often.jpg", "https://h/0/often.jpg", "https://h/1/often.jpg", 4)
        assert (thrice.key, thrice.number) == ("thrice.jpg", 2)
        assert [found.key for found in view.collisions(9)] == ["often.jpg", "thrice.jpg", "twice.jpg"]
