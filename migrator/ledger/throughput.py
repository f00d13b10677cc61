"""The pace of past runs, added up in SQL to about as many points as a chart can show."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from migrator.core.throughput import RunPace, Stretch
from migrator.ledger.outcomes import PACE_SECONDS

Ask = Callable[[str, tuple[object, ...]], list[tuple[Any, ...]]]
"""Runs a query with its values."""

RUNS = 40
"""Runs that are looked at, the latest ones: a chart of more would be stripes."""
_FOR_EVER = 1 << 62


def throughput(ask: Ask, points: int) -> list[RunPace]:
    """The latest runs that stored something, the oldest first, in about `points` stretches."""
    spans = _spans(ask)
    total = sum(end - begin for _, begin, end, _ in spans)
    step = PACE_SECONDS * max(1, -(-total // (points * PACE_SECONDS)))
    return [
        RunPace(run, begin, end - begin, _stretches(ask, begin, end, until, step)) for run, begin, end, until in spans
    ]


def _spans(ask: Ask) -> list[tuple[int, int, int, int]]:
    """(run, begin, end, until) of each, where `until` is the first step of the pace that belongs to a later run."""
    runs = ask(
        "SELECT id, started_at, finished_at FROM (SELECT id, started_at, finished_at FROM runs"
        " WHERE command = 'migrate' AND (moved_items > 0 OR finished_at IS NULL) ORDER BY id DESC LIMIT ?) ORDER BY id",
        (RUNS,),
    )
    spans = []
    for (run, begin, end), (_, following, _) in pairwise([*runs, (0, _FOR_EVER, None)]):
        until = _floor(following)
        ((last,),) = ask("SELECT max(at) FROM pace WHERE at >= ? AND at < ?", (_floor(begin), until))
        if last is not None:
            # A killed run lasted until its last step at least.
            spans.append((run, begin, max(begin + 1, end or min(last + PACE_SECONDS, following)), until))
    return spans


def _stretches(ask: Ask, begin: int, end: int, until: int, step: int) -> tuple[Stretch, ...]:
    first = _floor(begin)
    rows = ask(
        "SELECT (at - ?) / ?, sum(items), sum(bytes) FROM pace WHERE at >= ? AND at < ? GROUP BY 1",
        (first, step, first, min(until, end + 1)),
    )
    found = []
    for number, items, size in rows:
        at = first + number * step
        # What was stored in the very second in which the run ended belongs to its last second.
        start = min(max(0, at - begin), end - begin - 1)
        found.append(Stretch(start, max(start + 1, min(end, at + step) - begin), items, size))
    return tuple(found)


def _floor(seconds: int) -> int:
    return seconds - seconds % PACE_SECONDS
