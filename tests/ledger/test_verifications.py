"""What the ledger knows of verifications: what is left to look at, counts, differences, ledgers of an older schema."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from migrator.core.errors import LedgerError
from migrator.core.model import Item
from migrator.core.verification import Expected, Match, Proof, Verification
from migrator.ledger.schema import MIGRATIONS
from migrator.ledger.sqlite import SqliteLedger
from migrator.ledger.view import LedgerView
from tests.ledger.making import items, page, query, settle_all, stored

STEP = "0004-verifications"


async def expected(ledger: SqliteLedger, number: int, limit: int = 1000) -> list[Expected]:
    found: list[Expected] = []
    after: int | None = 0
    while after is not None:
        some, after = await ledger.verifying.unverified(number, after, limit, None, unseal=False)
        found += some
    return found


async def fill(ledger: SqliteLedger, *names: str) -> None:
    await ledger.add("files", page(items(*names)))
    await settle_all(ledger, await ledger.claim(len(names)), stored())


async def test_windows_show_each_object_once_whatever_their_size(ledger: SqliteLedger) -> None:
    await fill(ledger, *(f"{number:02}" for number in range(25)))
    number, done = await ledger.verifying.begin_verification("all", 1)
    assert done == 0
    for limit in (1, 7, 25, 1000):
        assert [each.key for each in await expected(ledger, number, limit)] == [f"{n:02}" for n in range(25)]


async def test_what_was_looked_at_is_left_out_and_unknown_comes_again(ledger: SqliteLedger) -> None:
    await fill(ledger, "a", "b", "c")
    number, _ = await ledger.verifying.begin_verification("all", 1)
    a, b, _ = await expected(ledger, number)
    results = [Verification(a, Match.MATCH, Proof.CHECKSUM, ""), Verification(b, Match.UNKNOWN, None, "503")]
    await ledger.verifying.keep_verifications(number, results)
    assert [each.key for each in await expected(ledger, number)] == ["c"]
    assert await ledger.verifying.begin_verification("all", 1) == (number, 1)
    assert [each.key for each in await expected(ledger, number)] == ["b", "c"]
    (seen,) = await ledger.verifying.verifications()
    assert (seen.results[Match.UNKNOWN], seen.proofs[Proof.CHECKSUM], seen.looked_at) == (0, 1, 1)


async def test_another_question_or_a_finished_one_begins_anew(ledger: SqliteLedger) -> None:
    await fill(ledger, "a")
    first, _ = await ledger.verifying.begin_verification("all", 1)
    assert (await ledger.verifying.begin_verification("all", 1))[0] == first
    other, _ = await ledger.verifying.begin_verification("read back", 1)
    assert other == first + 1
    await ledger.verifying.finish_verification(other)
    assert (await ledger.verifying.begin_verification("read back", 1))[0] == other + 1


async def test_differences_are_of_the_last_verification_only_and_masked(ledger: SqliteLedger, path: Path) -> None:
    await fill(ledger, *(f"{number:04}" for number in range(2500)))
    first, _ = await ledger.verifying.begin_verification("all", 1)
    every = await expected(ledger, first)
    told = "GET https://x/y?X-Amz-Signature=canary: 403"
    await ledger.verifying.keep_verifications(
        first, [Verification(each, Match.DIFFER, Proof.READ, told) for each in every]
    )
    await ledger.verifying.begin_extras(first, "", [""])
    await ledger.verifying.keep_extras(first, ["0001", "0001x", "_migrator/x"], "_migrator/")
    await ledger.verifying.finish_verification(first)
    with LedgerView.open(path) as view:
        found = list(view.differences())
        assert [each.key for each in found] == [*(each.key for each in every), "0001x"]
        assert (found[0].result, found[-1].result) == ("differ", "extra")
        assert "canary" not in found[0].message
        assert len(list(view.differences(3))) == 3
    second, _ = await ledger.verifying.begin_verification("all", 1)
    await ledger.verifying.keep_verifications(second, [Verification(every[7], Match.MISSING, None, "")])
    with LedgerView.open(path) as view:
        assert [(each.result, each.key) for each in view.differences()] == [("missing", "0007")]
        assert view.verifications()[-1].extra is None
    assert query(path, "SELECT result, key FROM differences") == [("missing", "0007")]


async def test_signed_urls_are_opened_only_where_a_source_is_needed(ledger: SqliteLedger, path: Path) -> None:
    signed = [Item("https://x/a?***", "a", 10, signed="https://x/a?sig=1")]
    await ledger.add("files", page(signed))
    await settle_all(ledger, await ledger.claim(1), stored())
    number, _ = await ledger.verifying.begin_verification("all", 1)
    assert [each.signed for each in await expected(ledger, number)] == [None]
    (with_urls, _) = await ledger.verifying.unverified(number, 0, 10, None, unseal=True)
    assert [each.signed for each in with_urls] == ["https://x/a?sig=1"]


async def test_a_ledger_from_before_verify_is_brought_up_to_date(path: Path) -> None:
    with SqliteLedger.open(path, name="job") as ledger:
        await fill(ledger, "a")
    later = [name for name in MIGRATIONS if name >= STEP]
    with closing(sqlite3.connect(path)) as database:
        for name in later:
            database.execute("DELETE FROM _sqlite_migrations WHERE name = ?", (name,))
        for kind, name in database.execute(
            "SELECT type, name FROM sqlite_master WHERE name IN ('verifications', 'verified', 'extras', 'differences',"
            " 'left_alone', 'records_done', 'cleaned', 'cleaned_items', 'cleaned_tallies')"
        ).fetchall():
            database.execute(f"DROP {kind} {name}")
        database.execute("DROP INDEX items_changed")
        columns = {"runs": "retries", "scans": "listing marks", "sources": "removed"}
        columns |= {"items": "unlisted unsure shared now_size now_fingerprint renewed listed"}
        for table, names in columns.items():
            for name in names.split():
                database.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
        database.commit()
    with pytest.raises(LedgerError, match="not up to date"):
        LedgerView.open(path)
    with SqliteLedger.open(path, name="job") as ledger:
        number, _ = await ledger.verifying.begin_verification("all", 1)
        assert [each.key for each in await expected(ledger, number)] == ["a"]
