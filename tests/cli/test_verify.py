"""verify: its words, its exit statuses, and what status and report say of it afterwards."""

import csv
import io
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.cli.conftest import Project
from tests.servers.s3 import S3Server

Serve = Callable[[dict[str, bytes]], str]


@pytest.fixture
def moved(project: Project) -> Project:
    """Five objects that stand as they were stored."""
    project.files(**{name: f"photo {name}" for name in "abcde"})
    assert project.run("migrate").status == 0
    return project


def damage(project: Project) -> None:
    """One altered, one cut, one removed, one that nobody put there."""
    client = project.server.client()
    client.put_object(Bucket=project.bucket, Key="a.txt", Body=b"photo A", ContentType="text/plain")
    client.put_object(Bucket=project.bucket, Key="b.txt", Body=b"photo", ContentType="text/plain")
    client.delete_object(Bucket=project.bucket, Key="c.txt")
    client.put_object(Bucket=project.bucket, Key="else.txt", Body=b"1")


def test_all_is_as_it_was_stored(moved: Project) -> None:
    ended = moved.run("verify")
    assert ended.status == 0
    assert ended.out.startswith("Looked at 5 objects in ")
    assert "  5 of 5 objects match\n" in ended.out
    assert "next    `migrator report` says so on one page" in ended.out
    assert "verify  5 of 5 objects match, 20" in moved.run("status").out
    assert "## Verification\n\n5 of 5 objects match: 20" in moved.run("report").out
    assert "differences" not in moved.run("report", "-o", "out").out, "no such file where there are none"


def test_each_difference_is_named_with_what_to_do(moved: Project) -> None:
    damage(moved)
    ended = moved.run("verify")
    assert ended.status == 1
    assert "  2 of 5 objects match\n" in ended.out
    assert "  differ   2: other bytes, or other metadata, than were stored\n" in ended.out
    assert "  missing  1: nothing stands under the key\n" in ended.out
    assert "  extra    1: keys below the prefixes of this migration that are not of it" in ended.out
    assert "  missing  c.txt: nothing stands under the key\n" in ended.out
    assert "next    `migrator report --format differences -o differences.csv` lists all of them" in ended.out
    status = moved.run("status").out
    assert "the last verify (" in status
    assert ") found differences" in status
    assert "verify  2 of 5 objects match (differ 2, extra 1, missing 1), 20" in status


def test_machines_are_told_the_same(moved: Project) -> None:
    damage(moved)
    ended = moved.run("verify", "--json")
    told = json.loads(ended.out)
    assert (ended.status, ended.err) == (1, "")
    assert {name: told[name] for name in ("match", "differ", "missing", "unknown", "extra", "complete")} == {
        "match": 2,
        "differ": 2,
        "missing": 1,
        "unknown": 0,
        "extra": 1,
        "complete": True,
    }
    assert told["exit_status"] == 1
    assert told["run_requests"]["HEAD"] == 5
    seen = json.loads(moved.run("status", "--json").out)["verification"]
    assert (seen["differ"], seen["scope"], seen["stored_since"]) == (2, "every object", False)
    runs = json.loads(moved.run("report", "--format", "json").out)["runs"]
    assert (runs[-1]["command"], runs[-1]["requests"]["HEAD"]) == ("verify", 5)


def test_the_report_lists_them_all(moved: Project) -> None:
    damage(moved)
    moved.run("verify")
    page = moved.run("report").out
    assert "- missing 1: nothing stands under the key. What to do: `migrator retry --verified missing`" in page
    assert "- missing `c.txt`: nothing stands under the key" in page
    rows = list(csv.DictReader(io.StringIO(moved.run("report", "--format", "differences").out)))
    assert [(row["key"], row["result"]) for row in rows] == [
        ("a.txt", "differ"),
        ("b.txt", "differ"),
        ("c.txt", "missing"),
        ("else.txt", "extra"),
    ]
    assert rows[2]["location"].endswith("/photos/c.txt")
    told = json.loads(moved.run("report", "--format", "json").out)
    assert [each["key"] for each in told["differences"]] == ["a.txt", "b.txt", "c.txt", "else.txt"]
    assert "wrote out/differences.csv" in moved.run("report", "-o", "out").out


def test_more_than_a_page_of_differences_is_counted(project: Project) -> None:
    project.files(**{f"f{number:03}": "x" for number in range(40)})
    project.run("migrate")
    client = project.server.client()
    for number in range(40):
        client.delete_object(Bucket=project.bucket, Key=f"f{number:03}.txt")
    assert "  and 30 more\n" in project.run("verify", "-q").out
    assert "- and 20 more: `migrator report --format differences`" in project.run("report").out


def test_what_is_stored_afterwards_is_said(moved: Project) -> None:
    moved.run("verify")
    moved.run("migrate")
    assert "something was stored since" not in moved.run("status").out, "nothing was left to move"
    (moved.folder / "photos" / "new.txt").write_text("later")
    moved.run("migrate")
    assert "something was stored since" in moved.run("status").out
    assert "**Something was stored since:** `migrator verify` looks at that too." in moved.run("report").out
    moved.run("verify")
    assert "something was stored since" not in moved.run("status").out


def test_sources_are_read_when_that_is_asked(moved: Project) -> None:
    (moved.folder / "photos" / "a.txt").write_text("photo A")
    (moved.folder / "photos" / "b.txt").touch()
    assert moved.run("verify").status == 0
    ended = moved.run("verify", "--sources", "-v")
    assert ended.status == 1
    assert "differ   a.txt: it is what was stored, but its source has other bytes now" in ended.out
    assert "differ a.txt: it is what was stored" in ended.err
    assert "4 of 5 objects match" in ended.out, "a source that was only touched has the same bytes"


@pytest.mark.parametrize("share", ["0", "0%", "101%", "2", "much", "-1%"])
def test_a_sample_that_is_no_share_is_refused(moved: Project, share: str) -> None:
    ended = moved.run("verify", f"--sample={share}")
    assert ended.status == 2
    assert 'expected a share such as "1%" or 0.01' in ended.err


def test_a_sample_says_that_it_is_one(moved: Project) -> None:
    ended = moved.run("verify", "--sample", "50%")
    assert ended.status == 0
    assert ": 50 % of the objects." in ended.out


def test_before_anything_was_moved(project: Project) -> None:
    project.files(a="1")
    nothing = project.run("verify")
    assert (nothing.status, "There is no ledger" in nothing.err) == (4, True)
    project.run("plan")
    planned = project.run("verify")
    assert planned.status == 3
    assert planned.err.startswith("error: nothing stands in the destination yet")


def test_an_empty_migration_has_nothing_to_look_at(project: Project) -> None:
    project.files()
    assert project.run("migrate").status == 0
    ended = project.run("verify")
    assert ended.status == 0
    assert "there was nothing to look at" in ended.out


def test_a_source_that_there_is_not(moved: Project) -> None:
    assert moved.run("verify", "--source", "videos").status == 3


def test_the_bucket_is_gone(moved: Project) -> None:
    client = moved.server.client()
    for name in "abcde":
        client.delete_object(Bucket=moved.bucket, Key=f"{name}.txt")
    client.delete_bucket(Bucket=moved.bucket)
    ended = moved.run("verify")
    assert ended.status == 3
    assert "does not exist" in ended.err
    with closing(sqlite3.connect("checkpoints/trial.db")) as database:
        assert database.execute("SELECT count(*) FROM verified").fetchone() == (0,), "no object is blamed"


def test_on_rclone_every_object_is_read_back(project: Project, rclone_server: S3Server) -> None:
    other = Project(project.folder, rclone_server, rclone_server.new_bucket())
    other.files(a="photo a", b="photo b")
    assert other.run("migrate").status == 0
    assert other.run("verify").status == 0
    rclone_server.client().put_object(Bucket=other.bucket, Key="a.txt", Body=b"photo A", ContentType="text/plain")
    ended = other.run("verify")
    assert ended.status == 1
    assert "compared 2 by reading every byte" in ended.out
    assert "differ   a.txt: its SHA-256 is " in ended.out


def test_verify_tells_no_secret(project: Project, site: Serve) -> None:
    base = site({"/a.jpg": b"stored"})
    project.lots([f"{base}/a.jpg?sig=canary-secret"])
    project.run("migrate")
    project.server.client().delete_object(Bucket=project.bucket, Key="a.jpg")
    ended = project.run("verify", "--sources", "-vv")
    everything = ended.out + ended.err + project.run("report", "--format", "differences").out
    assert ended.status == 1
    assert "canary-secret" not in everything + (project.folder / "checkpoints" / "trial.log").read_text()
