"""status and report, and that both read the ledger alone."""

import csv
import io
import json
from collections.abc import Callable

import pytest

from tests.cli.conftest import Project

Serve = Callable[[dict[str, bytes]], str]


@pytest.fixture
def moved(project: Project, site: Serve) -> tuple[Project, str]:
    """A migration with one stored, two failed and one unreadable entry; its server's base URL."""
    base = site({"/a.jpg": b"stored"})
    project.lots([f"{base}/a.jpg", f"{base}/gone.jpg", f"{base}/signed.jpg?sig=canary-secret", "ftp://host/x"])
    assert project.run("migrate").status == 1
    return project, base


def test_status_before_anything_was_done(project: Project) -> None:
    project.files(a="1")
    ended = project.run("status")
    assert ended.status == 4
    assert ended.err.startswith("error: There is no ledger at checkpoints/trial.db")


def test_status_after_a_plan_and_after_a_run(project: Project) -> None:
    project.files(a="1", b="2")
    project.run("plan")
    planned = project.run("status")
    assert planned.status == 0
    assert planned.out.startswith("trial: not running; the last plan (")
    assert "planned  2  2 B" in planned.out
    assert "next    `migrator migrate` goes on" in planned.out
    project.run("migrate")
    done = project.run("status")
    assert "the last migrate (" in done.out
    assert "was complete" in done.out
    assert "done    100 %, 2 of 2 objects" in done.out


def test_what_failed_or_was_rolled_back_is_not_done(project: Project) -> None:
    project.lots([f"http://{host}.example/a.jpg" for host in ("one", "two", "three")], key="{name}")
    project.run("plan")
    assert "done    0 %, 0 of 3 objects" in project.run("status").out
    project.files(a="1", b="2")
    project.run("migrate")
    project.run("rollback", "--yes")
    assert "done    0 %, 0 of " in project.run("status").out


def test_status_says_who_holds_the_ledger(project: Project, site: Serve) -> None:
    project.files(**{f"f{number:03}": "x" for number in range(300)})
    running = project.start("migrate", "--json", "--concurrency", "1")
    assert running.stdout
    for line in running.stdout:
        if json.loads(line)["event"] == "page":
            break
    ended = project.run("status")
    machine = json.loads(project.run("status", "--json").out)
    refused = project.run("migrate")
    running.terminate()
    running.communicate(timeout=60)
    assert f"trial: running (process {running.pid} on " in ended.out
    assert f"process {running.pid} " in machine["running"]
    assert (refused.status, f"process {running.pid} " in refused.err) == (4, True)
    assert running.returncode == 143


def test_status_for_machines(moved: tuple[Project, str]) -> None:
    project, base = moved
    said = json.loads(project.run("status", "--json").out)
    assert said["migration"] == "trial"
    assert said["running"] is None
    assert said["states"]["stored"] == {"items": 1, "bytes": 6}
    assert said["failed"] == {"gone": 2}
    assert said["problems"] == 1
    assert base not in json.dumps(said), "brief: items are looked at by reports only"


def test_a_report_on_stdout_is_markdown(moved: tuple[Project, str]) -> None:
    project, base = moved
    page = project.run("report").out
    assert page.startswith("# Migration trial\n")
    assert "**Finished with gaps:** 2 objects failed, 1 problem in the sources." in page
    assert "| stored | 1 | 6 B |" in page
    assert "### gone: 2 objects" in page
    assert f"`{base}/gone.jpg`" in page
    assert "## What the destination honours" in page
    assert "| PUT | " in page
    assert "canary-secret" not in page


def test_a_finished_migration_says_so(project: Project) -> None:
    project.files(a="1")
    project.run("plan")
    assert "**Not finished:** 1 object is still to be moved." in project.run("report").out
    project.run("migrate")
    page = project.run("report").out
    assert "**Complete:** every object that the sources list stands in the destination." in page
    assert "Failed objects" not in page


def test_reports_of_all_formats_in_a_folder(moved: tuple[Project, str]) -> None:
    project, base = moved
    ended = project.run("report", "-o", "out/reports")
    folder = project.folder / "out" / "reports"
    assert ended.out.splitlines() == [
        f"wrote out/reports/{name}" for name in ("report.md", "report.html", "report.json", "failed.csv")
    ]
    told = json.loads((folder / "report.json").read_text())
    assert [item["location"] for item in told["failures"]] == [f"{base}/gone.jpg", f"{base}/signed.jpg?***"]
    assert told["runs"][0]["exit_status"] == 1
    rows = list(csv.DictReader(io.StringIO((folder / "failed.csv").read_text())))
    assert [(row["url"], row["key"], row["fault"]) for row in rows] == [
        (f"{base}/gone.jpg", "gone.jpg", "gone"),
        (f"{base}/signed.jpg?***", "signed.jpg", "gone"),
    ]
    assert [bool(row["note"]) for row in rows] == [False, True]
    for file in folder.iterdir():
        assert "canary-secret" not in file.read_text()


def test_one_format_by_name_or_by_suffix(moved: tuple[Project, str]) -> None:
    project, _ = moved
    assert project.run("report", "--format", "csv").out.startswith("url,key,source,fault,")
    assert project.run("report", "-o", "told.json").status == 0
    assert json.loads((project.folder / "told.json").read_text())["migration"] == "trial"
    assert project.run("report", "--format", "xls").status == 2


def test_a_report_that_cannot_be_written(moved: tuple[Project, str]) -> None:
    project, _ = moved
    ended = project.run("report", "-o", "urls.txt/report.md")
    assert ended.status == 1
    assert ended.err.startswith("error: urls.txt/report.md cannot be written")


def test_markdown_takes_nothing_from_outside_as_markup(project: Project) -> None:
    project.lots(["http://one.example/`a`.jpg", "http://two.example/`a`.jpg", "<script>alert(1)</script> | x"])
    project.run("plan")
    page = project.run("report").out
    assert "<script>alert" not in page.replace("`<script>alert(1)</script> | x`", "")
    assert "keeps it" in page
