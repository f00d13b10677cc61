"""The audit log: a line for each change, before the ledger knows of it; whole after a kill or a full disk."""

import asyncio
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from migrator.core.audit import Change, Damage, Deed, Kind, Wanted
from migrator.core.errors import LedgerError, LedgerFull
from migrator.core.model import Fault, Item, Made, Outcome, Skip, Skipped, Unmade
from migrator.core.records import Recorded, Row, RowChange
from migrator.core.undoing import Doing, Scope, Undone, UndoneItem
from migrator.ledger.audit_chain import GENESIS, make
from migrator.ledger.audit_check import check
from migrator.ledger.audit_reading import events
from migrator.ledger.sqlite import SqliteLedger
from migrator.ledger.view import LedgerView
from tests.ledger.chain import chained, said
from tests.ledger.making import failed, items, page, settle_all, settlement, stored
from tests.ledger.test_durability import small_disk

__all__ = ["small_disk"]


@pytest.fixture
def log(path: Path) -> Path:
    return path.with_suffix(".audit.jsonl")


def change(number: int) -> Change:
    return Change(Deed.DELETE, Kind.OBJECT, f"key {number}", "photos", {"size": number})


def changes(path: Path, *numbers: int) -> None:
    """A process that notes these."""
    with SqliteLedger.open(path, name="job") as ledger:
        asyncio.run(ledger.note([change(number) for number in numbers]))


async def test_what_is_stored_has_a_line_and_what_is_not_has_none(path: Path, log: Path) -> None:
    made = Made("small", "webp", "a-small", 5, bytes(32), "etag", None, "image/webp", 1, 1, 80, 1, 0.1)
    unmade = Unmade("small", "jpeg", "", Fault.RENDER, "no")
    outcomes: dict[str, Outcome] = {
        "a": replace(stored(), variants=(made, unmade)),
        "b": replace(stored(), adopted=True, replaced="version:v0", version_id=None),
        "c": replace(stored(), copied=True, sha256=None),
        "d": Skipped(Skip.IDENTICAL, variants=(replace(made, key="d-small", adopted=True),)),
        "e": failed(),
        "f": replace(stored(), original=False, variants=(replace(made, key="f-small"),)),
    }
    with SqliteLedger.open(path, name="job") as ledger:
        await ledger.add("photos", page(items(*outcomes)))
        run = await ledger.begin_run("migrate", "hash")
        await ledger.settle([settlement(task, outcomes[task.key]) for task in await ledger.claim(10)])
    assert said(log) == [
        ("put", "object", "a"),
        ("put", "variant", "a-small"),
        ("adopt", "object", "b"),
        ("copy", "object", "c"),
        ("adopt", "variant", "d-small"),
        ("put", "variant", "f-small"),
    ]
    first, small, adopted, *_ = chained(log)
    assert (first["run"], first["source"]) == (run, "photos")
    digest = stored().sha256
    assert digest
    assert first["details"] == {
        "from": "file:///data/a",
        "size": 10,
        "sha256": digest.hex(),
        "etag": "etag",
        "version_id": "version",
    }
    assert small["details"]["variant"] == "small.webp"
    assert small["details"]["of"] == "a"
    assert adopted["details"]["replaced"] == "version:v0"
    assert oct(log.stat().st_mode)[-3:] == "600"


async def test_rows_have_a_line_where_an_attempt_of_ours_wrote_them(path: Path, log: Path) -> None:
    rows = [
        Item(f"file:///data/{n}", f"k{n}", 10, row=Row(f"[{n}]", '{"photo":"x"}', {"photo": "x"})) for n in range(4)
    ]
    with SqliteLedger.open(path, name="job") as ledger:
        await ledger.add("photos", page(rows))
        await settle_all(ledger, await ledger.claim(10), stored())
        tasks = await ledger.ready_records(10)
        wrote = '{"photo":"SECRET","size":1}'
        await ledger.intend_records([RowChange(task, '{"photo":"SECRET","size":null}', wrote) for task in tasks[:3]])
        outcomes = (Recorded(), Recorded(adopted=True), failed(), Recorded(adopted=True))
        await ledger.settle_records(list(zip(tasks, outcomes, strict=True)))
        with pytest.raises(LedgerError):
            await ledger.settle_records([(tasks[0], Recorded())])
        undone = await ledger.undoing.rows_to_undo("photos", 0, 10, Scope())
        await ledger.undoing.settle_rows_back([replace(row, changed=row.primary_key == "[0]") for row in undone], [])
    rows_said = [line for line in chained(log) if line["kind"] == "row"]
    assert [(line["deed"], line["name"], line["details"]) for line in rows_said] == [
        ("update", "[0]", {"columns": ["size"]}),
        ("adopt", "[1]", {"columns": ["size"]}),
        ("restore", "[0]", {"columns": ["size"]}),
        ("restore", "[1]", {"columns": ["size"], "found": True}),
    ]
    assert "SECRET" not in log.read_text()


async def test_what_a_rollback_did_and_found_done_has_a_line_and_what_it_left_has_none(path: Path, log: Path) -> None:
    small = Made("small", "webp", "a-small", 5, bytes(32), "e", None, "image/webp", 1, 1, 80, 1, 0.1)
    outcomes: dict[str, Outcome] = {
        "a": replace(stored(), variants=(small,)),
        "b": replace(stored(), replaced="version:v0"),
        "c": replace(stored(), replaced="backup:_migrator/backup/c"),
        "d": replace(stored(), replaced="backup:_migrator/backup/d"),
        "e": stored(),
        "f": stored(),
    }
    doings = dict(
        zip(
            "abcdef",
            (Doing.DELETE, Doing.UNCOVER, Doing.RESTORE, Doing.DISCARD, Doing.NOTHING, Doing.LEAVE),
            strict=True,
        )
    )
    with SqliteLedger.open(path, name="job") as ledger:
        await ledger.add("photos", page(items(*outcomes)))
        await ledger.settle([settlement(task, outcomes[task.key]) for task in await ledger.claim(10)])
        moved = len(said(log))
        done = [
            UndoneItem(
                one,
                Undone(doings[one.task.key], one.task.key, "photos"),
                {
                    part.variant: Undone(Doing.DELETE, part.key, "photos", "variant")
                    for part in one.variants
                    if part.variant
                },
            )
            for one in await ledger.undoing.remains(0, 10, Scope())
        ]
        await ledger.undoing.settle_undone(done, [])
    found = [(line["deed"], line["kind"], line["name"], line["details"]) for line in chained(log)[moved:]]
    ours = {"etag": "etag", "version_id": "version"}
    assert found == [
        ("delete", "variant", "a-small", {"etag": "e"}),
        ("delete", "object", "a", ours),
        ("restore", "object", "b", ours | {"restored": "version:v0"}),
        ("restore", "object", "c", ours | {"restored": "backup:_migrator/backup/c"}),
        ("delete", "backup", "_migrator/backup/d", {"of": "d"}),
        ("delete", "object", "e", ours | {"found": True}),
    ]


async def test_nothing_is_made_before_something_changes(path: Path, log: Path) -> None:
    with SqliteLedger.open(path, name="job") as ledger:
        await ledger.add("photos", page(items("a")))
        await settle_all(ledger, await ledger.claim(1), failed())
        await ledger.note([])
    assert not log.exists()


async def test_work_that_is_undone_leaves_no_line(path: Path, log: Path) -> None:
    with SqliteLedger.open(path, name="job") as ledger:
        await ledger.add("photos", page(items("a", "b")))
        first, second = await ledger.claim(2)
        await settle_all(ledger, [first], stored())
        results = await asyncio.gather(
            ledger.note([change(1)]),
            ledger.settle([settlement(second, stored()), settlement(first, stored())]),
            ledger.settle([settlement(second, stored())]),
            return_exceptions=True,
        )
    assert [type(result) for result in results] == [type(None), LedgerError, type(None)]
    assert [name for _, _, name in said(log)] == ["a", "key 1", "b"]


async def test_several_processes_one_after_the_other_make_one_chain(path: Path, log: Path) -> None:
    for number in range(3):
        await asyncio.to_thread(changes, path, number, number + 10)
    assert len(chained(log)) == 6
    with LedgerView.open(path) as view:
        head = view.audit_head()
    checked = check(log, head)
    assert (checked.lines, checked.broken, checked.hash) == (6, None, head and head.hash)


def ahead(path: Path) -> None:
    """A log with two lines of which its ledger knows one: a kill came between the two."""
    changes(path, 1)
    shutil.copy(path, path.with_suffix(".kept"))
    changes(path, 2)
    path.with_suffix(".kept").replace(path)


def test_lines_that_the_ledger_never_heard_of_stay(path: Path, log: Path) -> None:
    ahead(path)
    with LedgerView.open(path) as view:
        assert check(log, view.audit_head()).broken is None
    changes(path, 3)
    lines = chained(log)
    assert [line["deed"] for line in lines] == ["delete", "delete", "note", "delete"]
    assert lines[2]["name"].startswith("1 lines before this one were never heard of")


def test_an_unfinished_line_is_cut_off_and_that_is_said(path: Path, log: Path) -> None:
    ahead(path)
    with log.open("ab") as file:
        file.write(b'{"number":3,"ti')
    with LedgerView.open(path) as view:
        checked = check(log, view.audit_head())
    assert (checked.lines, checked.unfinished, checked.broken) == (2, 15, None)
    changes(path, 3)
    lines = chained(log)
    assert [line["deed"] for line in lines] == ["delete", "delete", "note", "note", "delete"]
    assert "an unfinished last line of 15 bytes was cut off" in lines[3]["name"]


def test_a_ledger_that_begins_anew_goes_on_with_the_log_that_is_there(path: Path, log: Path) -> None:
    changes(path, 1, 2)
    path.unlink()
    changes(path, 3)
    assert [line["deed"] for line in chained(log)] == ["delete", "delete", "note", "delete"]


async def test_a_full_disk_is_the_ledgers_own_fault_and_leaves_the_chain_whole(small_disk: Path) -> None:
    path = small_disk / "checkpoints" / "job.db"
    log = path.with_suffix(".audit.jsonl")
    with SqliteLedger.open(path, name="job") as ledger:
        await ledger.add("photos", page(items(*map(str, range(200)))))
        tasks = await ledger.claim(200)
        await settle_all(ledger, tasks[:50], stored())
        ballast = os.open(small_disk / "ballast", os.O_WRONLY | os.O_CREAT)
        try:
            while True:
                os.write(ballast, bytes(4096))
        except OSError:
            os.close(ballast)
        for _ in range(2):
            with pytest.raises(LedgerFull, match=r"audit\.jsonl is full.*make room"):
                await settle_all(ledger, tasks[50:], stored())
        (small_disk / "ballast").unlink()
        await settle_all(ledger, tasks[50:], stored())
    assert len(chained(log)) == 200


Tamper = Callable[[list[bytes]], list[bytes]]

TAMPERED: dict[str, tuple[Damage, int, Tamper]] = {
    "edited": (Damage.EDITED, 3, lambda lines: [*lines[:2], lines[2].replace(b"key 2", b"key X"), *lines[3:]]),
    "no line at all": (Damage.EDITED, 3, lambda lines: [*lines[:2], b"\0" * 9 + b"\n", *lines[2:]]),
    "longer than any": (Damage.EDITED, 3, lambda lines: [*lines[:2], b" " * 3_000_000 + b"\n", *lines[2:]]),
    "removed": (Damage.REMOVED, 3, lambda lines: lines[:2] + lines[4:]),
    "removed at the beginning": (Damage.REMOVED, 1, lambda lines: lines[1:]),
    "repeated": (Damage.INSERTED, 4, lambda lines: [*lines[:3], lines[1], *lines[3:]]),
    "reordered": (Damage.REORDERED, 3, lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]]),
    "cut at the end": (Damage.CUT, 6, lambda lines: lines[:5]),
    "cut within a line": (Damage.CUT, 6, lambda lines: [*lines[:5], lines[5][:20]]),
    "emptied": (Damage.CUT, 1, lambda lines: lines[:0]),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_tampering_is_found_and_the_first_line_named(path: Path, log: Path, what: str) -> None:
    damage, line, tamper = TAMPERED[what]
    changes(path, *range(6))
    log.write_bytes(b"".join(tamper(log.read_bytes().splitlines(keepends=True))))
    with LedgerView.open(path) as view:
        checked = check(log, view.audit_head())
    assert checked.broken
    assert (checked.broken.damage, checked.broken.line) == (damage, line), checked.broken
    assert checked.lines == line - 1
    # It is as broken once there is more behind it.
    changes(path, 7, 8)
    with LedgerView.open(path) as view:
        later = check(log, view.audit_head())
    assert later.broken
    assert later.broken.line == line


def forged(number: object) -> bytes:
    """A line with a right hash, and with what no line has."""
    line, _ = make(1, "2026", 1, change(1), GENESIS)
    body = line[: line.rindex(b',"hash"')].replace(b'"number":1', f'"number":{number}'.encode()) + b"}"
    return body[:-1] + f',"hash":"{hashlib.sha256(body).hexdigest()}"}}\n'.encode()


@pytest.mark.parametrize("number", ['"1"', "null", "[1]", "1.0", "true"])
def test_a_line_that_was_forged_badly_is_no_line(path: Path, log: Path, number: str) -> None:
    log.parent.mkdir()
    log.write_bytes(forged("1"))
    assert check(log, None).broken is None
    log.write_bytes(forged(number))
    broken = check(log, None).broken
    assert broken
    assert (broken.damage, broken.line) == (Damage.EDITED, 1)
    assert list(events(log, Wanted())) == []


def test_a_log_that_is_gone_is_tampering(path: Path, log: Path) -> None:
    changes(path, *range(6))
    log.unlink()
    with LedgerView.open(path) as view:
        broken = check(log, view.audit_head()).broken
    assert broken
    assert broken.message.endswith("is gone: the ledger knows 6 lines of it")
    changes(path, 7)
    with LedgerView.open(path) as view:
        broken = check(log, view.audit_head()).broken
    assert broken
    assert broken.message == "lines 1 to 6 are gone: the next one has the number 7"


def test_a_log_that_was_written_anew_is_not_the_one_that_the_ledger_knows(path: Path, log: Path) -> None:
    changes(path, *range(6))
    other = path.with_name("other") / "job.db"
    changes(other, *range(3), 33, *range(4, 6))
    shutil.copy(other.with_suffix(".audit.jsonl"), log)
    with LedgerView.open(path) as view:
        broken = check(log, view.audit_head()).broken
    assert broken
    assert (broken.damage, broken.line) == (Damage.REWRITTEN, 6)
    changes(path, 7)
    with LedgerView.open(path) as view:
        broken = check(log, view.audit_head()).broken
    assert broken
    assert broken.damage is Damage.EDITED, "what follows names another line as the one before it"


def test_events_are_filtered_and_the_newest_come_last(path: Path, log: Path) -> None:
    changes(path, *range(300))

    def names(wanted: Wanted) -> list[str]:
        return [event.name for event in events(log, wanted)]

    assert names(Wanted()) == [f"key {number}" for number in range(300)]
    assert names(Wanted(limit=400)) == names(Wanted())
    assert names(Wanted(limit=2)) == ["key 298", "key 299"]
    assert names(Wanted(key="y 7", limit=2)) == ["key 78", "key 79"]
    assert names(Wanted(key="*7?")) == ["key 70", *(f"key {n}" for n in range(71, 80)), *_seventies()]
    assert names(Wanted(key="*y 7?", source="photos", deed="delete", run=0)) == [f"key {n}" for n in range(70, 80)]
    assert names(Wanted(source="others")) == names(Wanted(run=1)) == names(Wanted(since="3000")) == []
    with log.open("ab") as file:
        file.write(b'{"number":3')
    assert names(Wanted(limit=1)) == ["key 299"]


def _seventies() -> list[str]:
    return [f"key {hundred}7{one}" for hundred in (1, 2) for one in range(10)]
