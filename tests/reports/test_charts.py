"""The geometry of charts: what is drawn is what was counted, and nothing falls out of the picture."""

import itertools
import re

import pytest

from migrator.core.throughput import RunPace, Stretch
from migrator.reports import charts

RUNS = [
    RunPace(1, 0, 20, (Stretch(0, 10, 50, 500), Stretch(10, 20, 100, 1000))),
    RunPace(2, 1000, 20, (Stretch(10, 20, 25, 250),)),
]


def test_an_area_shows_each_rate_where_it_was() -> None:
    drawn = charts.area(RUNS, lambda stretch: stretch.items)
    assert (drawn.top, drawn.peak, drawn.mean) == (10.0, 10.0, 175 / 40)
    assert drawn.path == "M0 100V50H250V100ZM250 100V0H500V100ZM750 100V75H1000V100Z"


@pytest.mark.parametrize(
    ("peak", "top"), [(0, 1), (0.03, 0.03), (1, 1), (1.1, 1.2), (51, 60), (99, 100), (1214, 1500), (9_000_001, 10**7)]
)
def test_the_top_of_a_chart_is_round_and_near(peak: float, top: float) -> None:
    run = RunPace(1, 0, 100, (Stretch(0, 100, round(peak * 100), 0),))
    assert charts.area([run], lambda stretch: stretch.items).top == pytest.approx(top)


def test_runs_are_marked_but_for_labels_that_would_cover_each_other() -> None:
    assert [(mark.at, mark.label) for mark in charts.marks(RUNS)] == [(0, "run 1"), (50, "run 2")]
    many = [RunPace(number, 0, 10, ()) for number in range(40)]
    labelled = [mark.at for mark in charts.marks(many) if mark.label]
    assert len(charts.marks(many)) == 40
    assert all(after - before >= charts.APART for before, after in itertools.pairwise(labelled))
    assert labelled[-1] <= 100 - charts.APART


def test_a_bar_shows_the_smallest_part_and_stays_within_its_width() -> None:
    pieces = charts.bar([("stored", 999_999, ""), ("failed", 1, "1 failed"), ("skipped", 0, "")], 1_000_000)
    assert [(piece.kind, piece.width > 0.1) for piece in pieces] == [("stored", True), ("failed", True)]
    assert all(piece.at < 100 for piece in pieces)


def test_a_time_line_shows_short_runs_where_they_were() -> None:
    first, short, last = charts.timeline([(0, 500, "good", ""), (500, 500, "bad", ""), (900, 1000, "good", "")])
    assert (first.at, first.width) == (0, 50)
    assert (short.at, short.width > 0) == (50, True)
    assert last.at + last.width == 100


def test_paths_hold_numbers_only() -> None:
    assert re.fullmatch(r"[MVHZ0-9. ]+", charts.area(RUNS, lambda stretch: stretch.bytes).path)
