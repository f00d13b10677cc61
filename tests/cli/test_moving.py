"""plan, migrate, retry and copy, from the config file to the bucket."""

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Project

Serve = Callable[[dict[str, bytes]], str]


def lines(text: str) -> list[dict[str, Any]]:
    """JSON lines as values."""
    return [json.loads(line) for line in text.splitlines()]


def test_migrate_moves_everything_and_says_so(project: Project) -> None:
    project.files(a="first", b="second")
    ended = project.run("migrate")
    assert (ended.status, ended.err) == (0, "finding out what the destination honours\n")
    assert ended.out.startswith("Moved 2 objects, 11 B in ")
    assert "ledger  checkpoints/trial.db" in ended.out
    assert project.objects() == {"a.txt": b"first", "b.txt": b"second"}


def test_migrate_again_moves_nothing(project: Project) -> None:
    project.files(a="first")
    project.run("migrate")
    ended = project.run("migrate")
    assert ended.status == 0
    assert ended.out.startswith("Moved nothing in ")


def test_failures_are_told_with_an_example_and_what_to_do(project: Project, site: Serve) -> None:
    base = site({"/a.jpg": b"a"})
    project.lots([f"{base}/a.jpg", f"{base}/gone.jpg", "not a url"])
    ended = project.run("migrate")
    assert ended.status == 1
    assert "gone 1: the source has no such object" in ended.out
    assert f"such as     {base}/gone.jpg" in ended.out
    assert "Problems in the sources: 1" in ended.out
    assert "urls.txt" in ended.out
    assert "migrator report --format csv" in ended.out
    assert project.objects() == {"a.jpg": b"a"}


def test_a_dry_run_touches_neither_ledger_nor_bucket(project: Project) -> None:
    project.files(a="first", b="second")
    before = sorted(project.folder.rglob("*"))
    ended = project.run("migrate", "--dry-run")
    assert ended.status == 0
    assert "about 2: 2 PUT" in ended.out
    assert "dry run: ledger and bucket are as they were" in ended.out
    assert sorted(project.folder.rglob("*")) == before
    assert project.objects() == {}


def test_a_limit_stops_the_run_and_the_same_command_goes_on(project: Project) -> None:
    project.files(a="1", b="2", c="3")
    ended = project.run("migrate", "--limit", "1")
    assert ended.status == 5
    assert "Stopped: --limit of 1 reached" in ended.out
    assert "the same command again goes on where this stopped (2 objects to move)" in ended.out
    assert len(project.objects()) == 1
    assert project.run("migrate").status == 0
    assert len(project.objects()) == 3


def test_ctrl_c_settles_and_the_same_command_goes_on(project: Project) -> None:
    project.files(**{f"f{number:03}": str(number) for number in range(400)})
    running = project.start("migrate", "--json", "--concurrency", "2")
    assert running.stdout
    for line in running.stdout:
        if json.loads(line)["event"] == "page":
            break
    running.send_signal(signal.SIGINT)
    rest, errors = running.communicate(timeout=60)
    summary = lines(rest)[-1]
    assert (running.returncode, errors) == (130, "")
    assert (summary["event"], summary["exit_status"], summary["stopped"]) == ("summary", 130, "interrupted (Ctrl+C)")
    assert summary["states"]["stored"]["items"] < 400
    assert project.run("migrate", "-q").status == 0
    assert len(project.objects()) == 400


def test_json_lines_tell_the_whole_run(project: Project, site: Serve) -> None:
    base = site({"/a.jpg": b"a"})
    project.lots([f"{base}/a.jpg", f"{base}/gone.jpg?token=canary-secret", "ftp://host/x"])
    ended = project.run("migrate", "--json")
    events = lines(ended.out)
    names = [event["event"] for event in events]
    assert {"page", "problem", "scanned", "started", "failed"} <= set(names)
    assert names[-1] == "summary"
    (failed,) = [event for event in events if event["event"] == "failed"]
    assert (failed["fault"], failed["location"]) == ("gone", f"{base}/gone.jpg?***")
    assert events[-1]["failed"] == {"gone": 1}
    assert events[-1]["moved_items"] == 1
    assert "canary-secret" not in ended.out + ended.err


def test_verbose_names_each_failure(project: Project, site: Serve) -> None:
    base = site({})
    project.lots([f"{base}/gone.jpg", "ftp://host/x"])
    ended = project.run("migrate", "-v")
    assert f"failed (gone) {base}/gone.jpg" in ended.err
    assert "problem (invalid)" in ended.err or "problem (forbidden)" in ended.err


def test_the_log_holds_the_run_and_no_secret(project: Project, site: Serve) -> None:
    base = site({"/a.jpg": b"a"})
    project.lots([f"{base}/a.jpg", f"{base}/gone.jpg?sig=canary-secret"])
    project.run("migrate", "-q")
    log = project.folder / "checkpoints" / "trial.log"
    assert log.stat().st_mode & 0o777 == 0o600
    events = lines(log.read_text())
    assert [events[0]["event"], events[-1]["event"]] == ["begin", "end"]
    (failed,) = [event for event in events if event["event"] == "failed"]
    assert failed["location"] == f"{base}/gone.jpg?***"
    assert (failed["level"], failed["fault"], failed["attempt"]) == ("error", "gone", 1)
    assert {"time", "ms", "key"} <= failed.keys()
    assert not [event for event in events if event["event"] == "stored"]
    assert "canary-secret" not in log.read_text()


def test_very_verbose_logs_each_item(project: Project) -> None:
    project.files(a="1", b="2")
    project.run("migrate", "-vv", "--log-file", "my.log")
    stored = [event for event in lines(Path("my.log").read_text()) if event["event"] == "stored"]
    assert sorted(event["key"] for event in stored) == ["a.txt", "b.txt"]


@pytest.mark.faults
def test_a_full_disk_under_the_log_is_said_once_and_stops_nothing(project: Project) -> None:
    project.files(a="1", b="2")
    ended = project.run("migrate", "-vv", "--log-file", "/dev/full")
    assert ended.status == 0
    assert ended.err.count("warning: the log /dev/full cannot be written (No space left on device)") == 1
    assert len(project.objects()) == 2


def test_plan_names_problems_and_both_locations_of_a_collision(project: Project) -> None:
    project.lots(["http://one.example/a.jpg", "http://two.example/a.jpg", "nonsense"])
    ended = project.run("plan")
    assert ended.status == 1
    assert "first   http://one.example/a.jpg" in ended.out
    assert "second  http://two.example/a.jpg" in ended.out
    assert "Problems in the sources: 1" in ended.out
    assert "`migrator migrate` moves 1 object" in ended.out
    assert project.objects() == {}


def test_long_lists_are_cut_and_counted(project: Project) -> None:
    twice = [f"http://{host}.example/{number:02}.jpg" for host in ("one", "two") for number in range(23)]
    project.lots([*twice, *["nonsense"] * 24])
    plan, page = project.run("plan").out, project.run("report").out
    for text in (plan, page):
        assert text.count("nonsense") == 20
        assert "and 4 more" in text
        assert "19.jpg" in text.partition("Two locations for one key")[2]
        assert "20.jpg" not in text.partition("Two locations for one key")[2]
        assert "and 3 more" in text


def test_plan_has_a_line_for_each_source_and_one_for_all(project: Project) -> None:
    project.files(a="12345")
    config = (project.folder / "migrator.toml").read_text()
    (project.folder / "urls.txt").write_text("http://one.example/x.jpg\n")
    more = '[[sources]]\nname = "more"\ntype = "manifest"\nfiles = "urls.txt"\nkey = "{name}"\n'
    (project.folder / "migrator.toml").write_text(f"{config}\n{more}")
    table = [line.split() for line in project.run("plan").out.splitlines()[1:4]]
    assert [row[:2] for row in table] == [["photos", "1"], ["more", "1"], ["all", "2"]]
    only = project.run("plan", "--source", "photos")
    assert "requests  about 2: 2 PUT" in only.out


def test_plan_names_keys_that_a_folder_cannot_hold(project: Project) -> None:
    long = "x" * 256
    project.lots([f"http://one.example/{path}" for path in ("good.jpg", "double//slash.jpg", "mark/", f"{long}.jpg")])
    config = (project.folder / "migrator.toml").read_text()
    target = (project.folder / "archive").as_uri()
    config = re.sub(r"\[destination\]\nbucket.*\nendpoint_url.*", f'[destination]\nurl = "{target}"', config)
    (project.folder / "migrator.toml").write_text(config)
    planned = project.run("plan")
    assert planned.status == 1
    assert planned.out.count("a file's path has no // and no / at its end") == 2
    assert "longer than the 255 bytes of a file's name" in planned.out
    assert "1 object" in project.run("status").out


def test_plan_where_the_server_checks_nothing_counts_what_is_read_back(project: Project) -> None:
    project.files(a="1", b="2")
    project.run("test-connection")
    assert "2 GET to read back (the server checks no digest)" in project.run("plan").out


def test_plan_counts_requests_of_large_objects(project: Project) -> None:
    project.files(small="x")
    with (project.folder / "photos" / "large.bin").open("wb") as file:
        file.truncate(20 * 1024 * 1024)
    ended = project.run("plan", "--json")
    summary = lines(ended.out)[-1]
    assert ended.status == 0
    assert {name: summary["estimate"][name] for name in ("puts", "large", "parts")} == {
        "puts": 1,
        "large": 1,
        "parts": 3,
    }
    assert "3 parts of 1 large object and 2 around them" in project.run("plan").out


def test_retry_puts_failed_items_back(project: Project, site: Serve) -> None:
    pages = {"/a.jpg": b"a"}
    base = site(pages)
    project.lots([f"{base}/a.jpg", f"{base}/late.jpg"])
    project.run("migrate")
    assert "nothing changed" in project.run("retry", "--fault", "transient").out
    assert "1 item planned again; `migrator migrate` tries them" in project.run("retry", "--fault", "gone").out
    pages["/late.jpg"] = b"late"
    assert project.run("migrate").status == 0
    assert project.objects() == {"a.jpg": b"a", "late.jpg": b"late"}


def test_retry_for_machines_and_of_an_unknown_fault(project: Project) -> None:
    project.files(a="1")
    project.run("migrate")
    assert json.loads(project.run("retry", "--json").out) == {"planned": 0, "records": 0, "variants": 0}
    ended = project.run("retry", "--fault", "bad-luck")
    assert (ended.status, "faults are gone, forbidden" in ended.err) == (2, True)


def test_a_damaged_ledger_ends_with_4(project: Project) -> None:
    project.files(a="1")
    (project.folder / "checkpoints").mkdir()
    (project.folder / "checkpoints" / "trial.db").write_text("no ledger " * 1000)
    ended = project.run("migrate")
    assert ended.status == 4
    assert ended.err.startswith("error: checkpoints/trial.db")
    assert "what to do: " in ended.err


def test_what_nobody_foresaw_in_a_run_is_in_its_log(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.files(a="1")
    monkeypatch.setattr("migrator.wiring.migrate", lambda *_: 1 / 0)
    ended = project.run("migrate")
    assert ended.status == 1
    assert ended.err.startswith("error: unforeseen, ZeroDivisionError")
    assert "a full traceback is in checkpoints/trial.log" in ended.err
    unforeseen = [event for event in lines(Path("checkpoints/trial.log").read_text()) if event["event"] == "unforeseen"]
    assert "Traceback" in unforeseen[0]["traceback"]


def test_copy_knows_commands_apart(project: Project) -> None:
    project.files(a="1")
    target = project.folder / "my archive"
    target.mkdir()
    to = ["copy", (project.folder / "photos").as_uri(), target.as_uri()]
    assert project.run(*to).status == 0
    assert project.run(*to, "--key", "again/{name}").status == 0
    assert sorted(path.name for path in target.rglob("*.txt")) == ["a.txt", "a.txt"]
    assert len(list(project.folder.glob("checkpoints/copy-*.db"))) == 2


def test_copy_needs_no_config_and_resumes(project: Project) -> None:
    project.files(a="1", b="2")
    to = ["copy", "photos", f"s3://{project.bucket}/old", "--endpoint-url", project.server.endpoint]
    assert project.run(*to, "--limit", "1").status == 5
    ended = project.run(*to)
    assert ended.status == 0
    assert ended.out.startswith("Moved 1 object, 1 B in ")
    assert project.objects() == {"old/a.txt": b"1", "old/b.txt": b"2"}
    (config_file,) = project.folder.glob("checkpoints/copy-*.toml")
    status = project.run("status", "-c", str(config_file))
    assert "done    100 %, 2 of 2 objects" in status.out


def test_what_a_report_lists_as_failed_can_be_copied(project: Project, site: Serve) -> None:
    pages: dict[str, bytes] = {}
    base = site(pages)
    project.lots([f"{base}/x/late.jpg"], key="kept/{name}")
    assert project.run("migrate").status == 1
    assert project.run("report", "--format", "csv", "-o", "failed.csv").status == 0
    pages["/x/late.jpg"] = b"late"
    to = ["--endpoint-url", project.server.endpoint, "--allow-private", "--key", "{key}"]
    ended = project.run("copy", "failed.csv", f"s3://{project.bucket}", *to)
    assert ended.status == 0, ended
    assert project.objects() == {"kept/late.jpg": b"late"}


def test_copy_to_a_folder_and_its_dry_run(project: Project) -> None:
    project.files(a="1")
    target = project.folder / "archive"
    assert "moves 1 object" in project.run("copy", "photos", target.as_uri(), "--dry-run").out
    assert not target.exists()
    target.mkdir()
    assert project.run("copy", "photos", target.as_uri()).status == 0
    assert (target / "a.txt").read_text() == "1"


@pytest.mark.parametrize(
    ("source", "destination", "said"),
    [
        ("s3:///x", "s3://b/", "names no bucket"),
        ("photos", "b/prefix", "no destination"),
        ("photos", "file://photos", "no destination"),
        ("photos/a.txt.zip", "s3://b/", "no directory and no manifest"),
        ("absent.csv", "s3://b/", "does not exist"),
    ],
)
def test_copy_refuses_what_it_cannot_copy(project: Project, source: str, destination: str, said: str) -> None:
    project.files(a="1")
    ended = project.run("copy", source, destination)
    assert (ended.status, said in ended.err) == (2, True), ended.err
    assert not (project.folder / "checkpoints").exists()
