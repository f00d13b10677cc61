"""The geometry of charts, in per cent and in units of a view box; templates draw it. Nothing here is markup."""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from migrator.core.throughput import RunPace, Stretch

WIDTH = 1000
HEIGHT = 100
"""The view box of an area: stretched to whatever room there is."""
APART = 6.0
"""Per cent of the width that the label of a mark needs."""
_THINNEST = 0.4
"""Per cent of the width that can be seen at all."""


class Mark(Struct, frozen=True):
    """Where a run begins, in per cent of the width; `label` is empty where another one stands too near."""

    at: float
    label: str


class Area(Struct, frozen=True):
    """A rate over time: the SVG path of its area, the rate at the top of the chart, its highest and its mean."""

    path: str
    top: float
    peak: float
    mean: float


class Piece(Struct, frozen=True):
    """A part of a bar, in per cent of the width."""

    at: float
    width: float
    kind: str
    title: str


def area(runs: Sequence[RunPace], amount: Callable[[Stretch], int]) -> Area:
    """What `amount` counts, a second, over the running time of all runs, one behind the other."""
    total = sum(run.seconds for run in runs)
    rates = [amount(each) / (each.end - each.begin) for run in runs for each in run.stretches]
    peak = max(rates, default=0.0)
    top = _round_up(peak)
    steps: list[str] = []
    offset = 0
    for run in runs:
        for each in run.stretches:
            rate = amount(each) / (each.end - each.begin)
            left, right = (_number((offset + at) * WIDTH / total) for at in (each.begin, each.end))
            steps.append(f"M{left} {HEIGHT}V{_number(HEIGHT - rate * HEIGHT / top)}H{right}V{HEIGHT}Z")
        offset += run.seconds
    mean = sum(amount(each) for run in runs for each in run.stretches) / total if total else 0.0
    return Area("".join(steps), top, peak, mean)


def marks(runs: Sequence[RunPace]) -> list[Mark]:
    """Where each run begins."""
    total = sum(run.seconds for run in runs)
    found: list[Mark] = []
    offset, free = 0, 0.0
    for run in runs:
        at = offset * 100 / total
        label = f"run {run.run}" if at >= free and at <= 100 - APART else ""
        free = at + APART if label else free
        found.append(Mark(round(at, 2), label))
        offset += run.seconds
    return found


def bar(parts: Iterable[tuple[str, int, str]], whole: int) -> list[Piece]:
    """(kind, number, title) of each part, side by side; `whole` fills the width. What is not 0 can be seen."""
    pieces: list[Piece] = []
    at = 0.0
    for kind, number, title in parts:
        if number:
            width = max(_THINNEST, number * 100 / whole) if whole else 0.0
            pieces.append(Piece(round(min(at, 100 - _THINNEST), 2), round(width, 2), kind, title))
            at += width
    return pieces


def timeline(spans: Iterable[tuple[int, int, str, str]]) -> list[Piece]:
    """(begin, end, kind, title) of each, in seconds, where they lie between the first and the last."""
    known = list(spans)
    first, last = min(span[0] for span in known), max(span[1] for span in known)
    length = max(1, last - first)
    return [
        Piece(
            round(min(100 - _THINNEST, (begin - first) * 100 / length), 2),
            round(max(_THINNEST, (end - begin) * 100 / length), 2),
            kind,
            title,
        )
        for begin, end, kind, title in known
    ]


def _round_up(number: float) -> float:
    """A round number that is at least this, and not twice it."""
    if number <= 0:
        return 1.0
    power = 1.0
    while power * 10 <= number:
        power *= 10
    while power > number:
        power /= 10
    return next(step * power for step in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * power >= number)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
