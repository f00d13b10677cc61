"""How many at once: wider while that is faster, against servers that answer at speeds of their own."""

import asyncio
from collections.abc import Callable

import pytest

from migrator.core.model import Skip, Skipped
from migrator.engine.gate import Gate
from migrator.engine.slow_start import FIRST, REST, SlowStart

from .world import FakeClock, Recorder

SIZE = 100_000


def far_away(width: int) -> float:
    """Objects a second of a server that answers after 50 ms, however many ask."""
    return width / 0.05


def busy(width: int) -> float:
    """Objects a second of a server whose processors 32 at once keep busy; with more its caches suffer."""
    return 1200.0 if width <= 32 else 1100.0


def run_for(start: SlowStart, clock: FakeClock, seconds: float, speed: Callable[[int], float]) -> list[int]:
    """The widths that there were, in the order in which they came."""
    widths = [start.width]
    end = clock.now + seconds
    while clock.now < end:
        clock.now += 1 / speed(start.width)
        if start.done(SIZE):
            widths.append(start.width)
    return widths


def test_goes_as_wide_as_allowed_where_answers_are_long_in_coming() -> None:
    clock = FakeClock()
    start = SlowStart(400, clock)
    assert run_for(start, clock, 5, far_away) == [32, 64, 128, 256, 400]
    assert run_for(start, clock, 600, far_away) == [400]


def test_goes_back_where_more_at_once_bring_nothing_and_tries_again_after_a_rest() -> None:
    clock = FakeClock()
    start = SlowStart(256, clock)
    assert run_for(start, clock, 5, busy) == [32, 64, 32]
    assert run_for(start, clock, REST + 5, busy) == [32, 64, 32]


def test_finds_out_that_the_server_has_become_faster() -> None:
    clock = FakeClock()
    start = SlowStart(64, clock)
    run_for(start, clock, 5, busy)
    assert run_for(start, clock, REST + 5, far_away) == [32, 64]


@pytest.mark.parametrize("seconds_each", [2.0, 0.0001])
def test_seldom_and_very_quick_objects_are_measured_long_enough(seconds_each: float) -> None:
    clock = FakeClock()
    start = SlowStart(64, clock)
    widths = run_for(start, clock, max(5.0, 500 * seconds_each / FIRST), lambda width: width / seconds_each)
    assert widths == [32, 64]


def test_large_objects_among_small_ones_do_not_pass_for_a_slower_server() -> None:
    """One processor that takes as long for 100 KB as for a request: neither kind makes 64 look worth having."""
    clock = FakeClock()
    start = SlowStart(64, clock)
    widths = [start.width]
    for number in range(20_000):
        size = 1_000_000 if number % 1000 < 500 else 1000
        clock.now += (size + 100_000) / 200e6
        if start.done(size):
            widths.append(start.width)
    assert set(widths[1::2]) <= {64}
    assert set(widths[2::2]) <= {32}
    assert len(widths) < 10


def test_never_more_than_the_maximum_however_small() -> None:
    clock = FakeClock()
    assert run_for(SlowStart(3, clock), clock, 60, far_away) == [3]


def test_throttling_takes_back_what_was_tried_last() -> None:
    clock = FakeClock()
    start = SlowStart(64, clock)
    while start.width == FIRST:
        clock.now += 0.001
        start.done(SIZE)
    start.throttled()
    assert start.width == FIRST
    assert run_for(start, clock, REST - 1, far_away) == [FIRST]


async def test_lanes_beyond_the_width_take_no_work_until_it_grows() -> None:
    clock, recorder = FakeClock(), Recorder()
    gate = Gate(SlowStart(64, clock), clock, recorder)
    await gate.room_for(FIRST - 1)
    beyond = asyncio.create_task(gate.room_for(FIRST))
    while not recorder.limits:
        await asyncio.sleep(0)
        assert not beyond.done()
        clock.now += 0.001
        await gate.enter()
        gate.leave(Skipped(Skip.IDENTICAL))
    await asyncio.wait_for(beyond, 5)
    assert recorder.limits == [64]
