"""The gate, the breaker, memory and pace, with a clock that does not wait."""

import asyncio

import pytest

from migrator.core.model import Failed, Fault, Outcome, Side, Skip, Skipped
from migrator.core.ports import EventKind
from migrator.engine.gate import BREAKER_FAILURES, BREAKER_PAUSE, BREAKER_PROBES, Gate, Unreachable
from migrator.engine.guard import Memory, Pace
from migrator.engine.slow_start import SlowStart

from .world import FakeClock, Recorder

DOWN = Failed(Fault.TRANSIENT, "connection refused", Side.DESTINATION, retryable=True)
SLOW = Failed(Fault.THROTTLED, "SlowDown", Side.DESTINATION, retryable=True)
FINE = Skipped(Skip.IDENTICAL)


def a_gate(maximum: int = 64) -> tuple[Gate, FakeClock, Recorder]:
    clock, recorder = FakeClock(), Recorder()
    return Gate(SlowStart(maximum, clock, first=maximum), clock, recorder), clock, recorder


async def through(gate: Gate, outcome: Outcome) -> bool:
    await gate.enter()
    return gate.leave(outcome)


async def test_throttling_halves_once_a_second_and_success_widens_again() -> None:
    gate, clock, recorder = a_gate()
    await through(gate, SLOW)
    await through(gate, SLOW)
    assert int(gate.limit) == 32
    clock.now += 2
    await through(gate, SLOW)
    assert int(gate.limit) == 16
    for _ in range(3000):
        await through(gate, FINE)
    assert int(gate.limit) == 64
    assert recorder.limits[0] == 32
    assert recorder.limits[-1] == 64


async def test_retry_after_keeps_everybody_out() -> None:
    gate, clock, _ = a_gate()
    await through(gate, Failed(Fault.THROTTLED, "", Side.DESTINATION, retry_after=12))
    await gate.enter()
    assert sum(clock.slept) == pytest.approx(12)


async def test_never_more_than_the_limit_at_once() -> None:
    gate, _, _ = a_gate(3)
    inside = most = 0

    async def one() -> None:
        nonlocal inside, most
        await gate.enter()
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1
        gate.leave(FINE)

    await asyncio.gather(*(one() for _ in range(50)))
    assert most == 3
    assert gate.active == 0


async def test_the_breaker_opens_probes_and_closes() -> None:
    gate, clock, recorder = a_gate()
    counted = [await through(gate, DOWN) for _ in range(BREAKER_FAILURES)]
    assert counted == [True, True, True, True, False]
    assert gate.unsure
    gate.confirm("connection refused")
    assert [kind for kind, _ in recorder.events] == [EventKind.PAUSED]
    assert not await through(gate, DOWN)
    assert sum(clock.slept) == pytest.approx(BREAKER_PAUSE)
    await through(gate, FINE)
    assert [kind for kind, _ in recorder.events] == [EventKind.PAUSED, EventKind.RESUMED]
    assert gate.failures == 0


async def test_only_one_probe_goes_through_a_broken_gate() -> None:
    gate, _, _ = a_gate()
    for _ in range(BREAKER_FAILURES):
        await through(gate, DOWN)
    await gate.enter()
    second = asyncio.create_task(gate.enter())
    await asyncio.sleep(0)
    assert not second.done()
    gate.leave(FINE)
    await second


async def test_a_failing_source_does_not_open_the_breaker() -> None:
    gate, _, _ = a_gate()
    for _ in range(50):
        assert await through(gate, Failed(Fault.TRANSIENT, "", Side.SOURCE))
    assert gate.failures == 0


async def test_a_destination_that_stays_away_stops_the_run() -> None:
    gate, _, _ = a_gate()
    with pytest.raises(Unreachable):
        for _ in range(BREAKER_FAILURES + BREAKER_PROBES + 1):
            await through(gate, DOWN)


async def test_a_place_is_not_lost_with_a_cancelled_waiter() -> None:
    gate, _, _ = a_gate(1)
    await gate.enter()
    first, second = asyncio.create_task(gate.enter()), asyncio.create_task(gate.enter())
    await asyncio.sleep(0)
    gate.leave(FINE)
    first.cancel()
    await asyncio.wait_for(second, 5)
    assert gate.active == 1


async def test_memory_is_first_come_first_served_and_bounded() -> None:
    memory = Memory(100)
    assert await memory.take(60) == 60
    large = asyncio.create_task(memory.take(1000))
    await asyncio.sleep(0)
    small = asyncio.create_task(memory.take(10))
    await asyncio.sleep(0)
    assert not large.done()
    assert not small.done(), "nobody overtakes"
    memory.give(60)
    assert await large == 100
    memory.give(100)
    assert await small == 10
    memory.give(10)
    assert memory.held == 0


async def test_memory_is_not_lost_with_a_cancelled_waiter() -> None:
    memory = Memory(10)
    await memory.take(10)
    waiting = asyncio.create_task(memory.take(10))
    await asyncio.sleep(0)
    memory.give(10)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert memory.held == 0


async def test_pace_spreads_spending_over_time() -> None:
    clock = FakeClock()
    pace = Pace(10, clock)
    for _ in range(31):
        await pace.spend(1)
    assert sum(clock.slept) == pytest.approx(3.0)
    await Pace(0, clock).spend(10**12)
    assert sum(clock.slept) == pytest.approx(3.0)
