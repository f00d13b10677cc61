"""Medians, the ratio to the better peer, and whether the targets are met."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.contestants import BARE
from benchmarks.measuring import Usage

OURS = "migrator"
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """What one case has to reach; None: no target.

    speed   at least this times the better peer's objects (or bytes) per second
    cpu     at most this times the better peer's CPU
    memory  at most this many bytes at the peak
    """

    speed: float
    cpu: float | None
    memory: int | None


TARGETS = {
    "a": Target(speed=1.2, cpu=0.75, memory=150 * MIB),
    "b": Target(speed=1.2, cpu=0.8, memory=150 * MIB),
    "c": Target(speed=1.0, cpu=None, memory=None),
    "d": Target(speed=1.2, cpu=None, memory=None),
    "e": Target(speed=1.2, cpu=None, memory=None),
}
REQUESTS_PER_OBJECT = 1.0


@dataclass(frozen=True, slots=True)
class Requests:
    """What one tool sent in the counted pass: for the objects themselves, and around them (listing, probe, bucket)."""

    objects: int
    object_requests: int
    other_requests: int
    by_operation: dict[str, int]

    @property
    def per_object(self) -> float:
        """Requests for one object."""
        return self.object_requests / self.objects


@dataclass(frozen=True, slots=True)
class Score:
    """One tool in one case: medians over its runs."""

    tool: str
    objects_per_second: float
    megabytes_per_second: float
    cpu_ms_per_object: float
    server_ms_per_object: float
    peak_rss: int
    """Bytes; the largest of all runs."""
    noise: float
    """The largest of all runs."""
    runs: int
    requests: Requests | None


@dataclass(frozen=True, slots=True)
class Check:
    """One target and what was reached."""

    name: str
    reached: float
    wanted: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Result:
    """One case: medians, targets, and every single run by tool."""

    scores: list[Score]
    checks: list[Check]
    runs: dict[str, list[Usage]]


def score(tool: str, usages: Sequence[Usage], objects: int, total_bytes: int, requests: Requests | None) -> Score:
    """Medians of `usages`; memory and noise at their worst."""
    return Score(
        tool,
        objects_per_second=statistics.median(objects / usage.seconds for usage in usages),
        megabytes_per_second=statistics.median(total_bytes / usage.seconds / 1e6 for usage in usages),
        cpu_ms_per_object=statistics.median(1000 * usage.cpu / objects for usage in usages),
        server_ms_per_object=statistics.median(1000 * usage.serving / objects for usage in usages),
        peak_rss=max(usage.peak_rss for usage in usages),
        noise=max(usage.noise for usage in usages),
        runs=len(usages),
        requests=requests,
    )


def checks(case: str, scores: Sequence[Score]) -> list[Check]:
    """The targets of `case`; each figure is set against the peer that is better in it. Empty without us or a peer."""
    ours = next((score for score in scores if score.tool == OURS), None)
    peers = [score for score in scores if score.tool not in (OURS, BARE)]
    if not ours or not peers:
        return []
    target = TARGETS[case]
    speed = ours.objects_per_second / max(peer.objects_per_second for peer in peers)
    found = [Check("speed / better peer", speed, f">= {target.speed:.2f}", speed >= target.speed)]
    if target.cpu is not None:
        cpu = ours.cpu_ms_per_object / min(peer.cpu_ms_per_object for peer in peers)
        found.append(Check("CPU / better peer", cpu, f"<= {target.cpu:.2f}", cpu <= target.cpu))
    if target.memory is not None:
        found.append(
            Check("peak MiB", ours.peak_rss / MIB, f"<= {target.memory // MIB}", ours.peak_rss <= target.memory)
        )
    if ours.requests and case in ("a", "b"):
        each = ours.requests.per_object
        found.append(Check("requests / object", each, f"<= {REQUESTS_PER_OBJECT:.1f}", each <= REQUESTS_PER_OBJECT))
    return found


def table(title: str, scores: Sequence[Score], found: Sequence[Check]) -> str:
    """The scores and checks of one case as Markdown."""
    lines = [
        f"### {title}",
        "",
        "| tool | objects/s | MB/s | CPU ms/object | server ms/object | peak MiB | requests/object | others | noise |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for each in scores:
        requests = each.requests
        per_object, others = (f"{requests.per_object:.2f}", str(requests.other_requests)) if requests else ("-", "-")
        lines.append(
            f"| {each.tool} | {each.objects_per_second:,.2f} | {each.megabytes_per_second:,.1f} "
            f"| {each.cpu_ms_per_object:,.3f} | {each.server_ms_per_object:,.3f} "
            f"| {each.peak_rss / MIB:,.0f} | {per_object} | {others} | {each.noise:.0%} |"
        )
    lines.append("")
    lines += [
        f"{'PASS' if check.passed else 'FAIL'}  {check.name}: {check.reached:.2f} (target {check.wanted})"
        for check in found
    ]
    return "\n".join(lines) + "\n"
