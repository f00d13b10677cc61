"""runs, events and the check of the audit log, over a whole circle: setup, migrate, rollback."""

import json
import os
import sqlite3
from collections import Counter
from contextlib import closing
from typing import Any

import pytest

from benchmarks.photographs import photograph_jpeg
from tests.cli.conftest import Project
from tests.ledger.chain import chained, said

SOURCES = """
on_conflict = "overwrite"

[[sources]]
name = "photos"
type = "table"
database_url = "sqlite:///shop.db"
query = "SELECT id, photo FROM images"
primary_key = ["id"]
location = "{photo}"
root = "photos"
key = "lots/{path}"

[sources.update]
table = "images"
set = { moved_to = "{key}", thumb = "{variant.thumb.key}" }
add_columns = { moved_to = "TEXT" }

[[sources]]
name = "films"
type = "directory"
root = "films"
key = "films/{path}"
variants = []

[[variants]]
name = "thumb"
key = "lots/{stem}/thumb.jpg"
width = 40
"""


def write(project: Project) -> None:
    """Two rows whose objects have a thumbnail, an object in parts, one that takes the place of another."""
    for folder in ("photos", "films"):
        (project.folder / folder).mkdir()
    for name in ("a", "b"):
        (project.folder / "photos" / f"{name}.jpg").write_bytes(photograph_jpeg(1, (80, 60)))
    (project.folder / "films" / "long.mov").write_bytes(os.urandom(9 * 1024 * 1024))
    (project.folder / "films" / "short.mov").write_bytes(b"after")
    project.server.client().put_object(Bucket=project.bucket, Key="films/short.mov", Body=b"before")
    with closing(sqlite3.connect(project.folder / "shop.db")) as database, database:
        database.execute("CREATE TABLE images (id INTEGER PRIMARY KEY, photo TEXT, thumb TEXT)")
        database.executemany("INSERT INTO images VALUES (?, ?, 'SECRET')", [(1, "a.jpg"), (2, "b.jpg")])
    project.configure(SOURCES)


MOVED = {
    ("put", "object", "lots/a.jpg"),
    ("put", "object", "lots/b.jpg"),
    ("put", "variant", "lots/a/thumb.jpg"),
    ("put", "variant", "lots/b/thumb.jpg"),
    ("put", "object", "films/long.mov"),
    ("put", "object", "films/short.mov"),
    ("update", "row", "[1]"),
    ("update", "row", "[2]"),
}
UNDONE = {
    ("restore", "row", "[1]"),
    ("restore", "row", "[2]"),
    ("delete", "object", "lots/a.jpg"),
    ("delete", "object", "lots/b.jpg"),
    ("delete", "variant", "lots/a/thumb.jpg"),
    ("delete", "variant", "lots/b/thumb.jpg"),
    ("delete", "object", "films/long.mov"),
    ("restore", "object", "films/short.mov"),
    ("drop", "column", "images.moved_to"),
}


@pytest.fixture
def circle(project: Project) -> Project:
    """Everything was moved and undone."""
    write(project)
    for command in (["setup"], ["migrate", "-q"], ["migrate", "-q"], ["rollback", "--yes", "--drop-columns"]):
        ended = project.run(*command)
        assert ended.status == 0, (command, ended.out, ended.err)
    return project


def lines(project: Project) -> list[dict[str, Any]]:
    return chained(project.folder / "checkpoints" / "trial.audit.jsonl")


def test_every_change_of_a_circle_has_its_line_once(circle: Project) -> None:
    log = circle.folder / "checkpoints" / "trial.audit.jsonl"
    counted = Counter(each for each in said(log) if each[1] != "bucket")
    assert counted == Counter([("create", "column", "images.moved_to"), *MOVED, *UNDONE])
    buckets = [line for line in lines(circle) if line["kind"] == "bucket"]
    assert {(line["deed"], line["name"], line["run"]) for line in buckets} == {("alter", circle.bucket, 0)}
    assert all(line["details"]["what"] and line["details"]["after"] for line in buckets)
    by_name = {(line["deed"], line["name"]): line for line in lines(circle)}
    assert by_name["update", "[1]"]["details"] == {"columns": ["moved_to", "thumb"]}
    assert by_name["update", "[1]"]["run"] == 1
    assert by_name["restore", "[1]"]["run"] == 3
    backup = by_name["put", "films/short.mov"]["details"]["replaced"]
    assert backup.startswith("backup:_migrator/backup/")
    assert by_name["restore", "films/short.mov"]["details"]["restored"] == backup
    assert circle.objects() == {"films/short.mov": b"before"}
    assert "SECRET" not in log.read_text(), "values of rows"


@pytest.fixture
def undone(project: Project) -> Project:
    """Two files that were moved by the first of two runs, and undone by the third."""
    project.files(a="1", b="2")
    for command in (["migrate", "-q"], ["migrate", "-q"], ["rollback", "--yes"]):
        assert project.run(*command).status == 0
    return project


def test_runs_are_listed_with_how_they_ended(undone: Project) -> None:
    head, *rows = undone.run("runs").out.splitlines()
    assert head.split() == ["run", "command", "began", "took", "ended", "objects", "bytes", "requests"]
    assert [row.split()[:2] for row in rows] == [["1", "migrate"], ["2", "migrate"], ["3", "rollback"]]
    assert all("complete" in row for row in rows)
    assert undone.run("runs", "--limit", "1").out.splitlines() == [head, rows[-1]]
    found = json.loads(undone.run("runs", "--json").out)["runs"]
    assert [(run["command"], run["ended"], run["moved_items"]) for run in found] == [
        ("migrate", "complete", 2),
        ("migrate", "complete", 0),
        ("rollback", "complete", 0),
    ]


def test_a_run_that_was_killed_is_said_to_be(undone: Project) -> None:
    with closing(sqlite3.connect(undone.folder / "checkpoints" / "trial.db")) as database, database:
        database.execute("UPDATE runs SET finished_at = NULL, status = NULL WHERE id = 2")
    assert [run["ended"] for run in json.loads(undone.run("runs", "--json").out)["runs"]] == [
        "complete",
        "killed",
        "complete",
    ]


def test_a_run_at_work_is_said_to_be(project: Project) -> None:
    project.files(a="1")
    project.run("plan", "-q")
    lock = project.folder / "checkpoints" / "trial.lock"
    with closing(sqlite3.connect(project.folder / "checkpoints" / "trial.db")) as database, database:
        database.execute("UPDATE runs SET finished_at = NULL, status = NULL")
    assert "killed" in project.run("runs").out
    # A lock that was taken before the run began is its own; a later one is somebody else's.
    lock.write_text(f"{os.getpid()} {os.uname().nodename} 2001-01-01 00:00:00 UTC\n")
    assert "running" in project.run("runs").out
    lock.write_text(f"{os.getpid()} {os.uname().nodename} 2999-01-01 00:00:00 UTC\n")
    assert "killed" in project.run("runs").out


def test_no_runs_yet(project: Project) -> None:
    project.files(a="1")
    assert project.run("setup").status == 0
    assert project.run("runs").out == "no runs yet\n"


def test_events_tell_what_happened_to_a_key(undone: Project) -> None:
    head, *rows = undone.run("events", "--key", "b.txt").out.splitlines()
    assert head.split() == ["time", "run", "deed", "kind", "source", "name"]
    assert [row.split()[1:6] for row in rows] == [
        ["1", "put", "object", "photos", "b.txt"],
        ["3", "delete", "object", "photos", "b.txt"],
    ]
    assert "(from file://" in rows[0]
    assert undone.run("events", "--key", "b.txt", "--limit", "1").out.splitlines() == [head, rows[-1]]
    assert undone.run("events", "--run", "1", "--deed", "put", "--key", "*.txt", "--since", "1h").out.count("\n") == 3


def test_events_as_json_lines_have_everything(undone: Project) -> None:
    found = [json.loads(line) for line in undone.run("events", "--json").out.splitlines()]
    assert found == lines(undone)


def test_events_that_there_are_not(undone: Project) -> None:
    ended = undone.run("events", "--source", "nobody")
    assert (ended.status, ended.out, ended.err) == (0, "", "nothing in the audit log is like that\n")
    assert undone.run("events", "--deed", "nothing").status == 2
    assert "--since soon" in undone.run("events", "--since", "soon").err


def test_events_without_a_log(project: Project) -> None:
    project.files(a="1")
    ended = project.run("events")
    assert (ended.status, "there is no audit log at checkpoints/trial.audit.jsonl" in ended.err) == (4, True)


def test_a_name_cannot_move_the_cursor(project: Project) -> None:
    project.files(a="1")
    (project.folder / "photos" / "\x1b[2Jb.txt").write_text("2")
    assert project.run("migrate", "-q").status == 0
    assert "\x1b" not in project.run("events").out
    assert r"\x1b[2Jb.txt" in project.run("events").out


def test_the_check_says_that_it_is_whole_and_where_it_is_not(undone: Project) -> None:
    log = undone.folder / "checkpoints" / "trial.audit.jsonl"
    number, last = len(lines(undone)), lines(undone)[-1]
    ended = undone.run("report", "--check-audit")
    assert ended.status == 0
    assert f"{number} lines, unbroken, " in ended.out
    assert "head agrees with the ledger" in ended.out
    assert last["hash"] in ended.out
    log.write_bytes(log.read_bytes().replace(b'"a.txt"', b'"A.txt"', 1))
    ended = undone.run("report", "--check-audit")
    edited = next(line["number"] for line in map(json.loads, log.open()) if "A.txt" in line["name"])
    assert ended.status == 4
    assert f"broken at line {edited} (edited): line {edited} is not as it was written" in ended.out
    tree = json.loads(undone.run("report", "--check-audit", "--json").out)
    assert (tree["unbroken"], tree["broken"]["line"], tree["broken"]["damage"]) == (False, edited, "edited")
    assert tree["lines"] == edited - 1
    assert undone.run("report", "--check-audit", "--format", "md").status == 2


def test_a_run_ends_with_the_line_to_keep_elsewhere(project: Project) -> None:
    project.files(a="1", b="2")
    last = project.run("migrate", "-q").out.splitlines()[-1]
    head = lines(project)[-1]
    assert last.split() == ["audit", "line", "2,", head["hash"]]
    summary = json.loads(project.run("migrate", "--json").out.splitlines()[-1])
    assert summary["audit"] == {"line": 2, "hash": head["hash"]}
    assert project.run("rollback", "--yes").out.splitlines()[-1].split()[:3] == ["audit", "line", "4,"]


def test_a_report_as_json_by_either_name(project: Project) -> None:
    project.files(a="1")
    project.run("migrate", "-q")
    assert json.loads(project.run("report", "--json").out)["migration"] == "trial"
    assert project.run("report", "--json", "--format", "csv").status == 2
