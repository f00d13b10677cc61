"""Origins that do not answer: nobody else waits for them, and they are asked again by and by."""

from collections.abc import Awaitable, Callable

import pytest

from migrator.core.model import Failed, Fault, Outcome, Side, Skip, Skipped, Stored
from migrator.core.ports import EventKind
from migrator.engine.origins import LOOK_EVERY, PROBE_EVERY, PROBES, SILENT_FAILURES, NoAnswer, Origins, origin_of

from .world import FakeClock, Recorder

DEAD, WELL = "https://dead.example:8443/a.jpg?***", "https://well.example/a.jpg"
SILENT = Failed(Fault.TRANSIENT, "no connection within 10 s", retryable=True, silent=True)
STORED = Stored(8, b"\0" * 32, "image/jpeg", "etag", None)


class World:
    """Origins, the clock they go by and what they said."""

    def __init__(self) -> None:
        self.clock, self.recorder = FakeClock(), Recorder()
        self.origins = Origins(self.clock, self.recorder)

    async def attempt(self, location: str, outcome: Outcome) -> float:
        """One attempt; returns how long it had to wait before it was made."""
        began = self.clock.now
        await self.origins.admit(location, self.clock.sleep)
        waited = self.clock.now - began
        self.origins.told(location, outcome)
        return waited

    async def break_down(self) -> None:
        for _ in range(SILENT_FAILURES):
            assert await self.attempt(DEAD, SILENT) == 0

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
        for _ in range(SILENT_FAILURES - 1):
            assert await world.attempt(DEAD, SILENT) == 0
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
        with pytest.raises(NoAnswer, match=r"https://dead\.example:8443 has not answered for 5 minutes"):
            await world.attempt(DEAD, SILENT)
    assert [kind for kind, _ in world.said] == [EventKind.PAUSED, EventKind.NOTE]
    world.clock.now += PROBE_EVERY
    assert await world.attempt(DEAD, STORED) == 0
    assert await world.attempt(DEAD, STORED) == 0


async def test_only_one_is_let_through_at_a_time() -> None:
    world = World()
    await world.break_down()
    world.clock.now += PROBE_EVERY
    slept: list[float] = []

    def noting(then: type[Exception]) -> Callable[[float], Awaitable[None]]:
        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            raise then

        return sleep

    await world.origins.admit(DEAD, noting(AssertionError))
    for _ in range(3):
        with pytest.raises(InterruptedError):
            await world.origins.admit(DEAD, noting(InterruptedError))
    assert slept == [LOOK_EVERY] * 3


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
