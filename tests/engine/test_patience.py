"""Places, pace and tries around the requests of verify, rollback, cleanup and orphans."""

import signal

import pytest

from migrator.core.errors import Interrupted, Throttled, Transient
from migrator.core.model import Side
from migrator.engine.gate import Gate
from migrator.engine.guard import Pace, RetryPolicy
from migrator.engine.patience import Patience
from migrator.engine.slow_start import SlowStart
from migrator.engine.stopping import Stop

from .world import FakeClock, Recorder


def patience(clock: FakeClock, *, per_second: float = 0, concurrency: int = 4) -> Patience:
    recorder = Recorder()
    gate, retry = (
        Gate(SlowStart(concurrency, clock, first=concurrency), clock, recorder),
        RetryPolicy(3, clock, recorder),
    )
    return Patience(gate, retry, Pace(per_second, clock), Stop())


class Server:
    """Refuses as often as it was told to, then answers."""

    def __init__(self, *refusals: Exception) -> None:
        self.refusals = list(refusals)
        self.asked = 0

    async def answer(self) -> int:
        self.asked += 1
        if self.refusals:
            raise self.refusals.pop(0)
        return self.asked


async def test_throttling_narrows_the_gate_and_answers_widen_it_again() -> None:
    patient = patience(FakeClock())
    server = Server(Throttled("SlowDown", side=Side.DESTINATION))
    assert await patient.attempt(server.answer) == 2
    assert int(patient.gate.limit) == 2
    for _ in range(20):
        await patient.attempt(server.answer)
    assert int(patient.gate.limit) == 4
    assert patient.gate.active == 0


async def test_the_last_error_is_raised_and_no_place_is_lost() -> None:
    patient = patience(FakeClock())
    server = Server(*[Transient(f"reset {number}", side=Side.DESTINATION) for number in range(9)])
    with pytest.raises(Transient, match="reset 3"):
        await patient.call(server.answer)
    assert (server.asked, patient.gate.active) == (4, 0)


async def test_a_call_keeps_the_pace_at_each_try() -> None:
    clock = FakeClock()
    patient = patience(clock, per_second=0.01)
    await patient.call(Server(Transient("reset", side=Side.DESTINATION)).answer)
    await patient.call(Server().answer)
    assert clock.now >= 1200  # it began at 1000: three requests, at one in a hundred seconds


async def test_after_a_signal_it_says_how_to_go_on() -> None:
    patient = patience(FakeClock())
    patient.go_on()
    patient.stop.signal_number = signal.SIGINT
    with pytest.raises(Interrupted) as ended:
        patient.go_on("the same command looks again")
    assert ended.value.hint == "the same command looks again"
