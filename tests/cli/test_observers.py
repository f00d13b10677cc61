"""What is seen while a run goes on: on a terminal, without one, and by machines."""

import io
import json
import os
import pty
import re
import signal
import struct
import termios
import threading
from collections.abc import Callable, Sequence
from fcntl import ioctl
from pathlib import Path

import pytest
from rich.console import Console

from migrator.cli.observers.counts import WINDOW, Counts
from migrator.cli.observers.deeds import Deeds
from migrator.cli.observers.journal import LogObserver
from migrator.cli.observers.lines import JsonLines, Lines, PlainLines, figures
from migrator.cli.observers.several import Counting, Several
from migrator.cli.observers.terminal import RichProgress
from migrator.cli.observers.verifying import Verifying
from migrator.core.model import (
    Failed,
    Fault,
    Item,
    Outcome,
    Page,
    Problem,
    Settlement,
    Skip,
    Skipped,
    State,
    Stored,
    Tally,
    Task,
)
from migrator.core.ports import EventKind, Observer
from tests.cli.conftest import Project


class Clock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def page(number: int, size: int | None = 100, problems: Sequence[Problem] = ()) -> Page:
    """A page with `number` items."""
    items = tuple(Item(f"file:///{each}", f"{each}", size) for each in range(number))
    return Page(items, tuple(problems), "cursor", skipped=2)


def settlement(outcome: Outcome, size: int | None = 100) -> Settlement:
    """An outcome of some task."""
    task = Task(1, "ledger/1", "photos", "https://host/a.jpg?***", "a.jpg", size, None)
    return Settlement(task, outcome, attempts=2, seconds=0.25)


STORED = Stored(100, b"\0" * 32, "image/jpeg", "etag", None)
GONE = Failed(Fault.GONE, "https://host/a.jpg?sig=canary-secret answered 404")


def tell(observer: Observer) -> None:
    """A run of five items, told in full."""
    problem = Problem("lots.json", "line 3", Fault.INVALID, "not a URL: https://u:canary-secret@host/")
    observer.started(64)
    observer.page("photos", page(5, problems=[problem]), 5)
    observer.event(
        EventKind.RETRY, "https://host/b?token=canary-secret: 503", attempt=1, url="https://canary-secret@h/"
    )
    observer.settled([settlement(STORED), settlement(STORED), settlement(Skipped(Skip.IDENTICAL)), settlement(GONE)])
    observer.concurrency(32)
    observer.event(EventKind.SLOWER, "the server asks to slow down: 32 in flight")
    observer.scan_complete("photos")


def test_speed_is_of_the_last_seconds_and_eta_waits_for_the_scan() -> None:
    clock = Clock()
    counts = Counts(now=clock, scanning={"photos"})
    counts.page(page(100), 100)
    clock.seconds += 10
    counts.settled([settlement(STORED)] * 50)
    assert counts.speed() == (5.0, 500.0)
    assert counts.eta() is None
    counts.scan_complete("photos")
    assert counts.eta() == 10.0
    clock.seconds += WINDOW + 1
    assert counts.speed() == (0.0, 0.0)
    assert counts.eta() is None


def test_eta_follows_the_bytes_when_large_objects_are_left() -> None:
    clock = Clock()
    counts = Counts(now=clock, scanning={"photos"})
    counts.page(page(10, size=100), 10)
    counts.page(page(10, size=10_000), 10)
    counts.scan_complete("photos")
    clock.seconds += 10
    counts.settled([settlement(STORED)] * 10)
    assert counts.eta() == 100_000 / 100


def test_a_resumed_run_begins_where_the_ledger_stands() -> None:
    tallies = [
        Tally("photos", State.STORED, "", 60, 6000),
        Tally("photos", State.PLANNED, "", 30, 3000),
        Tally("photos", State.FAILED, "gone", 10, 0),
        Tally("other", State.PLANNED, "", 5, 500),
    ]
    counts = Counts.resuming(tallies, {"photos"}, {"photos"})
    assert (counts.total, counts.before, counts.scanning) == (30, 70, set())
    again = Counts.resuming(tallies, {"photos"}, failed_too=True)
    assert (again.total, again.before, again.scanning) == (40, 60, {"photos"})


def test_one_plain_line_has_all_the_figures() -> None:
    clock = Clock()
    counts = Counts(now=clock, scanning={"photos"})
    clock.seconds += 10
    tell(Counting(counts))
    assert figures(counts) == (
        "0:00:10 4 of 5 objects, 200 B, 0.4 objects/s, 20 B/s, about 2.5 s left, "
        "skipped 1 (identical 1), failed 1 (gone 1), 1 problem, 1 retry"
    )
    counts.scanning.add("more")
    assert "4 of 5 objects known so far (still scanning, 5 listed)" in figures(counts)


def test_a_scan_that_finds_only_what_is_known_is_seen_to_go_on() -> None:
    counts = Counts.resuming([Tally("photos", State.STORED, "", 60, 6000)], {"photos"})
    counts.page(page(3), new=0)
    assert "0 of 0 objects known so far (still scanning, 3 listed), " in figures(counts)
    assert figures(counts).endswith(", 60 done before")


def test_plain_lines_come_by_themselves() -> None:
    written: list[str] = []
    several = threading.Semaphore(0)

    def write(line: str) -> None:
        written.append(line)
        several.release()

    with PlainLines(write, Counts(), interval=0.01) as lines:
        lines.event(EventKind.PAUSED, "https://u:canary-secret@host/ is down: pausing")
        lines.event(EventKind.RETRY, "not worth a line here")
        for _ in range(3):
            assert several.acquire(timeout=30)
    assert written[0] == "https://***@host/ is down: pausing"
    assert all("0 of 0 objects" in line for line in written[1:])


@pytest.mark.parametrize(
    ("make", "kind", "each", "noun"),
    [
        (lambda now: Verifying(each=False, now=now), EventKind.VERIFIED, {"objects": 2_000, "of": 8_000}, "object"),
        (lambda now: _deeds(now), EventKind.UNDONE, {"looked_at": 2_000, "of": 8_000}, "thing"),
    ],
)
def test_what_takes_hours_says_every_ten_seconds_how_far_it_is(
    make: Callable[[Clock], Observer],
    kind: EventKind,
    each: dict[str, int],
    noun: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    observer = make(clock)
    for seconds in range(25):
        observer.event(kind, "", **(each | {"looked_at": 0 if seconds else 2_000}))
        clock.seconds += 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"0:00:10 2,000 of 8,000 {noun}s looked at, ")
    assert second.startswith("0:00:20 2,000 of 8,000")
    observer.event(EventKind.PAUSED, "https://u:canary-secret@host/ is down: pausing 60 s")
    assert capsys.readouterr().err == "https://***@host/ is down: pausing 60 s\n"


def test_a_rollback_says_how_fast_it_is_and_how_long_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    deeds = _deeds(clock)
    clock.seconds += 10
    deeds.event(EventKind.UNDONE, "", looked_at=1_000, of=3_000)
    assert capsys.readouterr().err == "0:00:10 1,000 of 3,000 things looked at, 100 things/s, about 20 s left\n"
    clock.seconds += 10
    deeds.event(EventKind.UNDONE, "", looked_at=500)
    assert capsys.readouterr().err == "0:00:20 1,500 things looked at, 75 things/s\n"


def _deeds(now: Clock) -> Deeds:
    return Deeds(EventKind.UNDONE, "undone", "thing", None, now)


def test_lines_fall_silent_when_nobody_reads() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    lines = Lines(stream)
    lines.write("lost")
    lines.write("lost too")
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_the_live_display_fits_any_width() -> None:
    for width in (30, 60, 120):
        counts = Counts()
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=True, width=width, highlight=False)
        with RichProgress("migrate photos", counts, console) as progress:
            tell(Several([Counting(counts), progress]))
            progress.write("a line above")
            console.print(progress._draw())
        shown = screen.getvalue()
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
        assert "a line above" in plain
        assert all(len(line) <= width for line in plain.replace("\r", "\n").splitlines())
        if width == 120:
            assert "80 %  4 of 5 objects" in plain
            assert "200 B moved" in plain
            assert "failed 1 (gone 1)" in plain
            assert "32 in flight" in plain
        assert shown.endswith("\x1b[?25h") or "\x1b[?25h" in shown, "the cursor is given back"


def test_json_lines_are_objects_without_secrets() -> None:
    clock = Clock()
    counts = Counts(now=clock)
    written: list[str] = []
    observer = Several([Counting(counts), JsonLines(written.append, counts)])
    clock.seconds += 2
    tell(observer)
    events = [json.loads(line) for line in written]
    assert [event["event"] for event in events] == [
        "started",
        "page",
        "problem",
        "note",
        "failed",
        "progress",
        "note",
        "scanned",
    ]
    (progress,) = [event for event in events if event["event"] == "progress"]
    assert (progress["stored"], progress["skipped"], progress["failed"]) == (2, {"identical": 1}, {"gone": 1})
    assert "canary-secret" not in "".join(written)


def test_the_log_is_complete_private_and_without_secrets(tmp_path: Path) -> None:
    log = LogObserver(tmp_path / "logs" / "trial.log", every_item=True, now=lambda: 1_700_000_000.5)
    tell(log)
    log.close()
    text = log.path.read_text()
    events = [json.loads(line) for line in text.splitlines()]
    assert events[0]["time"] == "2023-11-14T22:13:20.500Z"
    assert [event["event"] for event in events if "key" in event] == ["stored", "stored", "skipped", "failed"]
    (retry,) = [event for event in events if event["event"] == "retry"]
    assert (retry["level"], retry["attempt"], retry["message"]) == ("warning", 1, "https://host/b?*** 503")
    (failed,) = [event for event in events if event["event"] == "failed"]
    assert (failed["fault"], failed["attempt"], failed["ms"]) == ("gone", 2, 250.0)
    assert "canary-secret" not in text
    assert log.path.stat().st_mode & 0o777 == 0o600


def _seen_on_a_terminal(project: Project, *arguments: str, term: str = "xterm-256color") -> tuple[int, str]:
    """Runs a command whose stderr is a terminal of 100 columns and returns its status and what that showed."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    os.environ["TERM"] = term
    running = project.start(*arguments, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:
        pass  # how Linux says that the other end was closed
    os.close(ours)
    running.communicate(timeout=60)
    return running.returncode, shown.decode()


def test_a_terminal_sees_a_display_in_place(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "")
    project.files(**{f"f{number}": "x" for number in range(20)})
    status, shown = _seen_on_a_terminal(project, "migrate", "-v")
    assert status == 0
    assert "migrate trial" in shown
    assert "\x1b[?25l" in shown
    assert "\x1b[?25h" in shown


def test_watching_status_redraws_in_place(project: Project) -> None:
    project.files(a="1")
    project.run("plan")
    ours, theirs = pty.openpty()
    watching = project.start("status", "--watch", stdout=theirs)
    os.close(theirs)
    shown = b""
    while shown.count(b"\x1b[H") < 2:
        shown += os.read(ours, 4096)
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=60)
    os.close(ours)
    assert watching.returncode == 130
    assert shown.count(b"trial: not running") == 2
    assert b"\x1b[J" in shown


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_control_codes_where_they_are_not_wanted(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("TERM", "")
    monkeypatch.setenv(name, value)
    project.files(a="1")
    status, shown = _seen_on_a_terminal(project, "migrate", term=value if name == "TERM" else "xterm")
    assert (status, "\x1b" in shown) == (0, False)


@pytest.mark.faults
def test_a_closed_stdout_does_not_stop_a_run(project: Project) -> None:
    project.files(**{f"f{number:02}": "x" for number in range(50)})
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        running = project.start("migrate", "--json", stdout=gone)
        _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (0, "")
    assert len(project.objects()) == 50


@pytest.mark.faults
def test_a_terminal_that_is_closed_ends_a_run_as_a_signal_does(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    project.files(**{f"f{number:03}": "x" for number in range(400)})
    ours, theirs = pty.openpty()
    running = project.start("migrate", "--concurrency", "1", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while b"1 in flight" not in shown:
        shown += os.read(ours, 4096)
    os.close(ours)
    running.send_signal(signal.SIGHUP)
    assert running.wait(timeout=60) == 129
    assert "the last migrate" in project.run("status").out
    assert project.run("migrate", "-q").status == 0
    assert len(project.objects()) == 400


def test_a_run_that_is_told_to_stop_gives_the_cursor_back() -> None:
    counts = Counts()
    screen = io.StringIO()
    with RichProgress("migrate", counts, Console(file=screen, force_terminal=True)) as progress:
        progress.event(EventKind.STOPPING, "SIGINT received: finishing what is on the way")
        assert screen.getvalue().rindex("\x1b[?25h") > screen.getvalue().rindex("\x1b[?25l")
