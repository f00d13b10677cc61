"""Row 30: signals and closed pipes. Whatever ends a run, the next one finishes it."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.ended import Ended
from tests.faults import actions
from tests.faults.checker import Bucket
from tests.faults.harness import Migration, finish
from tests.faults.proxy import Proxy, Rule
from tests.faults.world import small_tree

pytestmark = pytest.mark.faults

OBJECTS = r"/dir[^?]*$"


def signalled(migration: Migration, proxy: Proxy, *numbers: signal.Signals, delay: float = 0.3) -> Ended:
    """A run that gets the signals once the third object has arrived."""
    proxy.rules.append(Rule(actions.delay(delay), method="PUT", target=OBJECTS, times=None))
    process = migration.start()
    proxy.wait("PUT", OBJECTS, number=3)
    for number in numbers:
        os.kill(process.pid, number)
        time.sleep(0.2 if len(numbers) > 1 else 0)  # two signals at the same time are one
    finished = finish(process)
    proxy.rules.clear()
    return finished


def resumes(migration: Migration, contents: dict[str, bytes]) -> None:
    """The next run leaves what an undisturbed one would have left."""
    finished = migration.run()
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, id="SIGTERM"),
        pytest.param(signal.SIGHUP, 129, id="SIGHUP"),
    ],
)
def test_row_30_a_signal_drains_and_says_how_to_go_on(
    folder: Path, bucket: Bucket, proxy: Proxy, number: signal.Signals, status: int
) -> None:
    contents = small_tree(folder, count=150)
    migration = Migration(folder, bucket, endpoint=proxy.url)
    finished = signalled(migration, proxy, number)
    assert finished.status == status, finished.words
    assert "Traceback" not in finished.words
    assert "goes on where this stopped" in finished.words, "it says how to go on"
    states = [state for state, _ in migration.items().values()]
    assert "intended" not in states, "what was on the way has arrived and is settled"
    assert 3 <= states.count("stored") < len(contents)
    arrived = proxy.count("PUT", OBJECTS)
    resumes(migration, contents)
    assert proxy.count("PUT", OBJECTS) == len(contents), f"the {arrived} that had arrived are not sent again"


def test_row_30_a_drain_that_takes_too_long_is_cut(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = small_tree(folder, count=60)
    migration = Migration(folder, bucket, endpoint=proxy.url, transfer={"timeout": "300s"})
    proxy.rules.append(Rule(actions.delay(300), method="PUT", target=OBJECTS, skip=5, times=None))
    process = migration.start()
    proxy.wait("PUT", OBJECTS, number=3)
    os.kill(process.pid, signal.SIGINT)
    started = time.monotonic()
    finished = finish(process)
    assert finished.status == 130, finished.words
    assert time.monotonic() - started < 20, "10 s are promised, and the machine may be busy"
    proxy.rules.clear()
    resumes(migration, contents)


def test_row_30_a_second_signal_stops_at_once(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    contents = small_tree(folder, count=60)
    migration = Migration(folder, bucket, endpoint=proxy.url, transfer={"timeout": "300s"})
    proxy.rules.append(Rule(actions.delay(300), method="PUT", target=OBJECTS, skip=5, times=None))
    finished = signalled(migration, proxy, signal.SIGINT, signal.SIGINT, delay=0)
    assert finished.status == 130, finished.words
    assert "Traceback" not in finished.words
    resumes(migration, contents)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_row_30_a_closed_pipe_loses_nothing(folder: Path, bucket: Bucket, stream: str) -> None:
    contents = small_tree(folder)
    migration = Migration(folder, bucket)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        finished = (
            migration.run("migrate", "--json", stdout=writing)
            if stream == "stdout"
            else migration.run("migrate", "--json", stderr=writing)
        )
    finally:
        os.close(writing)
    assert "Traceback" not in finished.words
    if finished.status != 0:
        resumes(migration, contents)
    assert migration.check(contents) == []


@pytest.mark.parametrize("command", ["migrate", "test-connection"])
def test_row_30_ctrl_c_does_not_wait_for_credentials(folder: Path, bucket: Bucket, command: str) -> None:
    """A program that gives them out may wait for a password, or for a page in a browser, as long as it likes."""
    small_tree(folder, count=3, size=20)
    migration = Migration(folder, bucket)
    for name in ("asked", "answer"):
        os.mkfifo(folder / name)
    asked, answer = (os.open(folder / name, os.O_RDWR) for name in ("asked", "answer"))
    script = folder / "credentials.sh"
    script.write_text(f"#!/bin/sh\necho >{folder}/asked\nread answer <{folder}/answer\n")
    script.chmod(0o700)
    (folder / "aws").write_text(f"[default]\ncredential_process = {script}\n")
    environment = {"AWS_CONFIG_FILE": str(folder / "aws"), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    process = migration.start(command, environment=environment)
    try:
        os.read(asked, 1)
        process.send_signal(signal.SIGINT)
        stopped = process.wait(10)
    finally:
        os.write(answer, b"none\n" * 10)  # whoever still reads it ends
        finish(process)
        os.close(asked)
        os.close(answer)
    assert stopped == 130
