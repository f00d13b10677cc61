"""What stands around each request of a job that is no transfer: pace, places, and tries until it is answered."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec import Struct

from migrator.core.config import Config
from migrator.core.errors import Interrupted
from migrator.core.ports import Observer
from migrator.engine.gate import Gate
from migrator.engine.guard import Pace, RetryPolicy
from migrator.engine.slow_start import SlowStart
from migrator.engine.stopping import Stop

T = TypeVar("T")

GO_ON = "the same command goes on where it was"


class Patience(Struct, frozen=True):
    """Places, pace and tries, as `transfer` has them, for requests one by one or for attempts of several.

    What is awaited raises its last ObjectError, and Stopped.
    """

    gate: Gate
    retry: RetryPolicy
    requests: Pace
    stop: Stop

    @classmethod
    def of(cls, config: Config, observer: Observer, stop: Stop) -> "Patience":
        """As `transfer` has it."""
        settings = config.transfer
        return cls(
            Gate(SlowStart(settings.concurrency, stop, first=settings.concurrency), stop, observer),
            RetryPolicy(settings.retries, stop, observer),
            Pace(settings.requests_per_second, stop),
            stop,
        )

    async def call(self, request: Callable[[], Awaitable[T]]) -> T:
        """The answer of one request, at the pace that was asked for; asked again when it had none."""

        async def paced() -> T:
            await self.requests.spend(1)
            return await request()

        return await self.attempt(paced)

    async def attempt(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` comes to, each try in a place of its own; it keeps the pace itself."""

        async def placed() -> T:
            await self.gate.enter()
            try:
                answer = await work()
            except BaseException:
                self.gate.leave(None)
                raise
            self.gate.leave_well()
            return answer

        return await self.again(placed)

    async def again(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` comes to, tried as often as `transfer.retries` says; where throttled, all slow down."""
        return await self.retry.call(work, lambda error: self.gate.slow_down(error.retry_after, str(error)))

    def go_on(self, hint: str = GO_ON) -> None:
        """Raises Interrupted once a signal came; `hint` says how to go on."""
        if self.stop.signal_number:
            raise Interrupted(self.stop.signal_number, self.stop.reason, hint)
