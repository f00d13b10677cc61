"""What people see of rows: status, reports and the end of a run, from a ledger that a table has filled."""

import asyncio
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from migrator.core.model import Failed, Fault, Item, Page, Settlement, Stored
from migrator.core.records import Recorded, Row, RowChange
from migrator.ledger.sqlite import SqliteLedger
from tests.cli.conftest import Project

SOURCE = """
[[sources]]
name = "images"
type = "table"
database_url = "sqlite:///shop.db"
query = "SELECT image_id, part, photo FROM images"
primary_key = ["image_id", "part"]
location = "https://old.example/{photo}"
key = "{path}"

[sources.update]
table = "images"
set = { bucket = "{destination.bucket}", moved_to = "{key}" }
"""
CONFLICT = Failed(Fault.CONFLICT, "row image_id=2, part=a of images: somebody changed photo since the scan")
TOO_LONG = Failed(Fault.INVALID, "the column moved_to holds 10 characters at most")


async def _fill(path: Path, rows: int, outcomes: Sequence[Recorded | Failed]) -> None:
    items = [
        Item(f"https://old.example/{n}.jpg", f"{n}.jpg", 10, row=Row(f'[{n},"a"]', f'{{"photo":"{n}.jpg"}}'))
        for n in range(1, rows + 1)
    ]
    with SqliteLedger.open(path, name="trial") as ledger:
        await ledger.add("images", Page(tuple(items), (), "end"))
        await ledger.finish_scan("images")
        run = await ledger.begin_run("migrate", "hash")
        tasks = await ledger.claim(len(outcomes))
        stored = Stored(10, bytes(32), "image/jpeg", "etag", None)
        await ledger.settle([Settlement(task, stored, 1, 0.1) for task in tasks])
        ready = await ledger.ready_records(100)
        await ledger.intend_records([RowChange(task, "{}", "{}") for task in ready])
        await ledger.settle_records(list(zip(ready, outcomes, strict=True)))
        await ledger.finish_run(run, 1, {"PUT": len(tasks)}, (len(tasks), 10 * len(tasks)))


@pytest.fixture
def failing(project: Project) -> Project:
    """Four rows: one updated, two failed, one whose object is still to come."""
    project.configure(SOURCE)
    asyncio.run(_fill(project.folder / "checkpoints" / "trial.db", 4, [Recorded(), CONFLICT, TOO_LONG]))
    return project


def test_status_counts_rows_beside_objects(failing: Project) -> None:
    said = failing.run("status").out
    assert "  rows planned   1\n" in said
    assert "  rows recorded  1\n" in said
    assert "  rows failed    2        conflict 1, invalid 1\n" in said
    assert "rows    1 of 4 rows updated" in said
    found = json.loads(failing.run("status", "--json").out)
    assert found["records"] == {"planned": 1, "ready": 0, "intended": 0, "recorded": 1, "failed": 2, "rolled-back": 0}
    assert found["failed_records"] == {"conflict": 1, "invalid": 1}
    assert found["sources"][0]["records"]["recorded"] == 1


def test_a_migration_without_rows_says_nothing_of_them(project: Project) -> None:
    project.files(a="1")
    assert "row" not in project.run("migrate").out
    assert "row" not in project.run("status").out
    project.run("report", "-o", "report/")
    assert "ows" not in (project.folder / "report" / "report.md").read_text()
    assert not (project.folder / "report" / "failed_rows.csv").exists()


def test_the_report_names_rows_by_table_and_key_and_says_what_to_do(failing: Project) -> None:
    page = failing.run("report").out
    assert "## Rows that were not updated" in page
    assert "- row image\\_id=2, part=a of images: somebody changed photo since the scan (object `2.jpg`)" in page
    assert "- row image\\_id=3, part=a of images: the column moved\\_to holds 10 characters at most" in page
    assert "`migrator migrate --rescan --retry-failed` takes them as they are now" in page
    assert "| images | `images` | 1 | 2 | 0 | 1 |" in page


def test_the_page_names_them_too(failing: Project) -> None:
    page = failing.run("report", "--format", "html").out
    assert 'id="rows"' in page
    assert "<li>row image_id=2, part=a of images: somebody changed photo since the scan<br>" in page
    assert "<code>migrator migrate --rescan --retry-failed</code> takes them as they are now" in page
    assert page.index("conflict: 1 row not updated") < page.index("invalid: 1 row not updated")


def test_failed_rows_are_a_file_of_their_own(failing: Project) -> None:
    failing.run("report", "-o", "report/")
    folder = failing.folder / "report"
    rows = list(csv.DictReader(io.StringIO((folder / "failed_rows.csv").read_text())))
    assert [(row["table"], row["primary_key"], row["columns"], row["fault"], row["key"]) for row in rows] == [
        ("images", '[2,"a"]', "bucket moved_to", "conflict", "2.jpg"),
        ("images", '[3,"a"]', "bucket moved_to", "invalid", "3.jpg"),
    ]
    assert (folder / "failed.csv").read_text().count("\n") == 1
    assert failing.run("report", "--format", "rows").out == (folder / "failed_rows.csv").read_text()
    found = json.loads((folder / "report.json").read_text())
    assert [(row["table"], row["columns"], row["message"]) for row in found["failed_rows"]] == [
        ("images", ["bucket", "moved_to"], CONFLICT.message),
        ("images", ["bucket", "moved_to"], TOO_LONG.message),
    ]
    assert "migrator retry --fault invalid" in found["failed_rows"][1]["what_to_do"]


def test_a_source_that_is_no_longer_configured_still_names_its_rows(failing: Project) -> None:
    failing.files(a="1")
    assert 'row \\[3,"a"\\] of images: the column' in failing.run("report").out


def test_report_is_complete_only_when_every_row_is(project: Project) -> None:
    project.configure(SOURCE)
    asyncio.run(_fill(project.folder / "checkpoints" / "trial.db", 2, [Recorded(), Recorded(adopted=True)]))
    assert "and every row that refers to one says so" in project.run("report").out
