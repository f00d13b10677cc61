"""One command in a fresh process -> what it cost: wall time, CPU and memory of its process tree, noise around it."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_BUSY_FIELDS = (0, 1, 2, 5, 6, 7)
"""user, nice, system, irq, softirq and steal in the first line of /proc/stat (proc(5))."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one run cost.

    seconds   wall time from the start of the process to its end
    cpu       user and system seconds of the process and of every descendant that it waited for
    peak_rss  bytes of the largest process in that tree
    serving   seconds of CPU that the servers spent meanwhile
    noise     share (0 to 1) of the machine's CPU that neither the command nor the servers used meanwhile
    """

    seconds: float
    cpu: float
    peak_rss: int
    serving: float
    noise: float


class RunFailed(Exception):
    """The measured command did not do what it was asked; its output follows."""


def measure(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path, servers: Iterable[int] = ()
) -> Usage:
    """Runs `command` and waits for it; its output goes to `log`. `servers` are pids whose CPU is no noise.

    Raises RunFailed when the exit status is not 0. Linux carries the caller's own peak memory over into the child's, so
    whoever calls this stays small.
    """
    servers = tuple(servers)
    busy, served = _machine_busy(), _cpu_of(servers)
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        _, status, resources = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = resources.ru_utime + resources.ru_stime
    serving = _cpu_of(servers) - served
    others = _machine_busy() - busy - serving - cpu
    if process.returncode:
        tail = log.read_text(errors="replace")[-2000:]
        raise RunFailed(f"exit status {process.returncode} of {' '.join(command)}\n{tail}")
    noise = max(0.0, others / (seconds * (os.cpu_count() or 1)))
    return Usage(seconds, cpu, resources.ru_maxrss * 1024, serving, noise)


def wait_for_quiet(seconds: float, *, share: float = 0.1) -> None:
    """Returns once less than `share` of the machine was busy for half a second, or after `seconds` at the latest."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        started, busy = time.monotonic(), _machine_busy()
        time.sleep(0.5)
        if (_machine_busy() - busy) / (time.monotonic() - started) < share * (os.cpu_count() or 1):
            return


def descendants(pid: int) -> list[int]:
    """`pid` and all processes below it that still run."""
    found = [pid]
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                found += descendants(int(child))
    return found


def _machine_busy() -> float:
    fields = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    return sum(int(fields[i]) for i in _BUSY_FIELDS) / _TICKS


def _cpu_of(pids: Iterable[int]) -> float:
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / _TICKS
