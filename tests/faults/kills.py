"""SIGKILL at seeded moments, over whole runs, until one of them finishes."""

import os
import random
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

from tests.faults.harness import TIMEOUT, Migration, kill
from tests.faults.proxy import Proxy

CALLS = "write,pwrite64,fsync,fdatasync,sendto,sendmsg"

ANSWERS = f"{CALLS},poll,recvfrom"
"""Also before an answer is read: what was asked has been done, and nobody here knows it yet."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One moment: at system call `call` of a thread, or `wait` seconds after request `request` (0: the start)."""

    call: int = 0
    request: int = 0
    wait: float = 0.0


def fault_seed() -> int:
    """The seed of this test run: FAULT_SEED replays one."""
    return int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(1_000_000))


def fault_kills(default: int) -> int:
    """How many kills: FAULT_KILLS, or `default`."""
    return int(os.environ.get("FAULT_KILLS") or default)


@cache
def strace_missing() -> str | None:
    """Why strace cannot kill here; None when it can."""
    if not shutil.which("strace"):
        return "strace is not installed"
    probe = [*_strace("write", 1), "sh", "-c", "echo alive"]
    tried = subprocess.run(probe, capture_output=True, check=False)
    return None if tried.returncode == -9 else "strace may not trace here (ptrace)"


def _strace(calls: str, number: int) -> list[str]:
    inject = f"inject={calls}:signal=SIGKILL:when={number}"
    # Threads are followed, but not the processes that render: whose death costs a variant only, and ends no run.
    return ["strace", "-f", "-b", "execve", "-qqq", "-o", os.devnull, "-e", f"trace={calls}", "-e", inject]


def failing_writes(path: Path, error: str, number: int) -> list[str]:
    """A prefix under which a command's writes to `path` and its write-ahead log fail from the `number`th on."""
    calls = "write,pwrite64,fsync,fdatasync,ftruncate"
    paths = [part for name in (path, f"{path}-wal") for part in ("-P", str(name))]
    inject = f"inject={calls}:error={error}:when={number}+"
    return ["strace", "-f", "-qqq", "-o", os.devnull, *paths, "-e", f"trace={calls}", "-e", inject]


def draw_kill(draw: random.Random, requests: int) -> Kill:
    """Half of them at a system call (where strace can), half at a time; `requests` is what a whole run takes."""
    # The first calls matter as much as the later ones: each order of magnitude has the same chance. Everything is drawn
    # whatever is used, so that a seed means the same without strace.
    call = int(10 ** draw.uniform(0, 2.7))
    moment = Kill(request=draw.choice((0, draw.randrange(requests))), wait=draw.uniform(0, 0.1))
    return Kill(call=call) if draw.random() < 0.5 and not strace_missing() else moment


def run_killed(
    migration: Migration, proxy: Proxy, draw: random.Random, kills: int, requests: int, calls: str = CALLS
) -> int:
    """Runs and kills until a run finishes; after `kills` kills it is left in peace. Returns the number of kills."""
    for number in count():
        moment = draw_kill(draw, requests) if number < kills else None
        if _run_once(migration, proxy, moment, calls) == 0:
            return number
    raise AssertionError("unreachable")


def _run_once(migration: Migration, proxy: Proxy, moment: Kill | None, calls: str) -> int:
    """The status of one run; -9 when it was killed."""
    if moment is None or moment.call:
        finished = migration.run(before=_strace(calls, moment.call) if moment else ())
        assert finished.status in (0, -9), finished.words
        return finished.status
    before = len(proxy.seen)
    words = migration.folder / "words.txt"
    with words.open("w") as file:
        process = migration.start(stdout=file.fileno(), stderr=file.fileno())
    deadline = time.monotonic() + TIMEOUT
    while process.poll() is None and len(proxy.seen) - before < moment.request:
        assert time.monotonic() < deadline, f"hung before {moment}: {words.read_text()}"
        time.sleep(0.002)
    with suppress(subprocess.TimeoutExpired):
        process.wait(moment.wait if moment.request else moment.wait * 20)
    kill(process)
    assert process.returncode in (0, -9), f"{process.returncode} before {moment}: {words.read_text()}"
    return process.returncode
