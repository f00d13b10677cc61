"""Origins that do not answer: nobody else waits for them, and they are asked again by and by."""

import asyncio
from contextlib import AbstractContextManager, nullcontext

import pytest

from migrator.core.errors import Fatal
from migrator.core.model import Failed, Fault, Outcome, Side, Skip, Skipped, Stored
from migrator.core.ports import EventKind
from migrator.engine.origins import LONGEST_SILENCE, PROBE_EVERY, PROBES, SILENT_FAILURES, GivenUp, Origins, origin_of

from .world import FakeClock, Recorder

DEAD, WELL = "https://dead.example:8443/a.jpg?***", "https://well.example/a.jpg"
SILENT = Failed(Fault.TRANSIENT, "no connection within 10 s", retryable=True, silent=True)
BUSY = Failed(Fault.THROTTLED, "answered 503", retryable=True)
STORED = Stored(8, b"\0" * 32, "image/jpeg", "etag", None)


class World:
    """Origins, the clock they go by and what they said."""

    def __init__(self, concurrency: int = 64) -> None:
        self.clock, self.recorder = FakeClock(), Recorder()
        self.origins = Origins(concurrency, self.clock, self.recorder)

    async def attempt(self, location: str, outcome: Outcome) -> float:
        """One attempt; returns how long it had to wait before it was made."""
        began = self.clock.now
        gate = await self.origins.admit(location, nullcontext)
        waited = self.clock.now - began
        self.origins.told(location, outcome, gate)
        return waited

    async def break_down(self) -> None:
        for number in range(SILENT_FAILURES):
            assert await self.attempt(f"https://dead.example:8443/{number}.jpg", SILENT) == 0

    @property
    def said(self) -> list[tuple[EventKind, str]]:
        return self.recorder.events


async def test_its_objects_wait_and_others_go_on() -> None:
    world = World()
    await world.break_down()
    ((kind, text),) = world.said
    assert kind is EventKind.PAUSED
    assert text.startswith("https://dead.example:8443 does not answer")
    assert await world.attempt(WELL, STORED) == 0
    assert await world.attempt(DEAD, SILENT) == pytest.approx(PROBE_EVERY)
    assert await world.attempt(DEAD, SILENT) == pytest.approx(PROBE_EVERY)


async def test_one_object_that_gets_no_answer_tells_nothing_of_its_origin() -> None:
    world = World()
    for _ in range(4 * SILENT_FAILURES):
        assert await world.attempt(DEAD, SILENT) == 0
    assert not world.said


@pytest.mark.parametrize("answer", [STORED, Failed(Fault.GONE, "404"), Failed(Fault.TRANSIENT, "answered 500")])
async def test_any_answer_opens_it_again(answer: Outcome) -> None:
    world = World()
    await world.break_down()
    await world.attempt(DEAD, answer)
    assert world.said[-1] == (EventKind.RESUMED, "https://dead.example:8443 answers again")
    assert await world.attempt(DEAD, SILENT) == 0


@pytest.mark.parametrize(
    "outcome",
    [
        STORED,
        Failed(Fault.GONE, "404"),
        Failed(Fault.TRANSIENT, "answered 502", retryable=True),
        Failed(Fault.TRANSIENT, "no connection", Side.DESTINATION, retryable=True, silent=True),
    ],
)
async def test_what_answers_now_and_then_is_not_down(outcome: Outcome) -> None:
    world = World()
    for _ in range(5):
        for number in range(SILENT_FAILURES - 1):
            assert await world.attempt(f"https://dead.example:8443/{number}.jpg", SILENT) == 0
        world.origins.told(DEAD, STORED)
        world.origins.told(DEAD, outcome)
    assert not world.said


async def test_what_says_nothing_of_the_origin_does_not_mend_it() -> None:
    world = World()
    await world.break_down()
    world.origins.told(DEAD, Skipped(Skip.IDENTICAL))
    world.origins.told(DEAD, Failed(Fault.CONFLICT, "taken", Side.DESTINATION))
    assert await world.attempt(DEAD, SILENT) > 0


async def test_it_is_given_up_after_a_while_and_still_asked() -> None:
    world = World()
    await world.break_down()
    for _ in range(PROBES):
        await world.attempt(DEAD, SILENT)
    for _ in range(100):
        with pytest.raises(GivenUp, match=r"https://dead\.example:8443 has not answered for 5 minutes"):
            await world.attempt(DEAD, SILENT)
    assert [kind for kind, _ in world.said] == [EventKind.PAUSED, EventKind.NOTE]
    world.clock.now += PROBE_EVERY
    assert await world.attempt(DEAD, STORED) == 0
    assert await world.attempt(DEAD, STORED) == 0


async def test_where_nothing_answers_any_more_the_network_is_waited_for() -> None:
    """Else all objects of a host would fail because a line was down for six minutes."""
    world = World()
    await world.attempt(WELL, STORED)
    world.clock.now += 1
    await world.break_down()
    began = world.clock.now
    with pytest.raises(Fatal, match="has not answered for 30 minutes, and nothing else has"):
        for _ in range(1000):
            await world.attempt(DEAD, SILENT)
    assert world.clock.now - began == pytest.approx(LONGEST_SILENCE, abs=PROBE_EVERY)
    assert [kind for kind, _ in world.said] == [EventKind.PAUSED]


async def test_where_others_answer_it_alone_is_down() -> None:
    world = World()
    await world.break_down()
    world.clock.now += 1
    await world.attempt(WELL, STORED)
    with pytest.raises(GivenUp):
        for _ in range(PROBES + 1):
            await world.attempt(DEAD, SILENT)


async def test_only_one_is_let_through_at_a_time() -> None:
    world = World()
    await world.break_down()
    world.clock.now += PROBE_EVERY
    await world.origins.admit(DEAD, _must_not_wait)
    for _ in range(3):
        with pytest.raises(InterruptedError):
            await world.origins.admit(DEAD, _must_not_wait)


def _must_not_wait() -> AbstractContextManager[None]:
    raise InterruptedError


async def test_one_that_throttles_is_asked_less_and_no_other_is() -> None:
    world = World(concurrency=2)
    await world.attempt(DEAD, BUSY)
    assert world.said == [(EventKind.SLOWER, "https://dead.example:8443 throttled: 1 at once from now on")]
    gate = await world.origins.admit(DEAD, _must_not_wait)
    second = asyncio.create_task(world.origins.admit(DEAD, nullcontext))
    for _ in range(9):
        assert await world.origins.admit(WELL, _must_not_wait) is None
        await asyncio.sleep(0)
    assert not second.done()
    world.origins.told(DEAD, STORED, gate)
    world.origins.told(DEAD, STORED, await second)
    assert await world.origins.admit(DEAD, _must_not_wait) is None, "it bears two again: nothing is left of it"
    assert not world.recorder.limits, "how many go on at once in the whole run is another matter"


async def test_whoever_asks_for_a_pause_has_it() -> None:
    world = World()
    await world.attempt(DEAD, Failed(Fault.THROTTLED, "answered 429", retry_after=30, retryable=True))
    assert await world.attempt(WELL, STORED) == 0
    assert await world.attempt(DEAD, STORED) == pytest.approx(30)


async def test_one_that_always_throttles_says_so_a_few_times_and_is_given_up_after_an_hour() -> None:
    world = World()
    for _ in range(1_800):
        world.clock.now += 2
        await world.attempt(DEAD, BUSY)
    assert [int(text.split()[2]) for _, text in world.said] == [32, 16, 8, 4, 2, 1]
    world.clock.now += 4
    await world.attempt(DEAD, BUSY)
    for _ in range(3):
        with pytest.raises(GivenUp, match="for an hour") as given_up:
            await world.attempt(DEAD, BUSY)
        assert given_up.value.fault is Fault.THROTTLED
    assert world.said[-1][0] is EventKind.NOTE
    assert await world.attempt(WELL, STORED) == 0
    world.clock.now += PROBE_EVERY
    await world.attempt(DEAD, STORED)
    await world.attempt(DEAD, STORED)


async def test_a_million_hosts_that_are_gone_are_not_all_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrator.engine.origins.MOST_SILENT", 10)
    world = World()
    await world.break_down()
    for number in range(100):
        await world.attempt(f"https://gone{number}.example/a.jpg", SILENT)
    assert len(world.origins._silent) == 10
    assert await world.attempt(DEAD, SILENT) > 0, "which are down is not forgotten"


@pytest.mark.parametrize(
    ("location", "origin"),
    [
        ("https://cdn.example/a/b.jpg?***", "https://cdn.example"),
        ("http://cdn.example:8080/a", "http://cdn.example:8080"),
        ("s3://bucket/a#b?c", "s3://bucket"),
        ("file:///data/a.jpg", "file://"),
    ],
)
def test_what_an_origin_is(location: str, origin: str) -> None:
    assert origin_of(location) == origin
