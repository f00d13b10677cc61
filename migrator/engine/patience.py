"""What stands around each request of a job that is no transfer: pace, places, and tries until it is answered."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from migrator.core.config import Config
from migrator.core.errors import Interrupted
from migrator.core.ports import Observer
from migrator.engine.guard import Gate, Pace, RetryPolicy
from migrator.engine.stopping import Stop

T = TypeVar("T")

GO_ON = "the same command goes on where it was"


@dataclass(frozen=True, slots=True)
class Patience:
    """Requests, one by one, as often as `transfer.retries` says. Raises the last ObjectError, and Stopped."""

    gate: Gate
    retry: RetryPolicy
    requests: Pace
    stop: Stop

    @classmethod
    def of(cls, config: Config, observer: Observer, stop: Stop) -> "Patience":
        """As `transfer` has it."""
        settings = config.transfer
        return cls(
            Gate(settings.concurrency, stop, observer),
            RetryPolicy(settings.retries, stop, observer),
            Pace(settings.requests_per_second, stop),
            stop,
        )

    async def call(self, request: Callable[[], Awaitable[T]]) -> T:
        """The answer of `request`, which is asked again when it had none."""

        async def once() -> T:
            await self.gate.enter()
            try:
                await self.requests.spend(1)
                answer = await request()
            except BaseException:
                self.gate.leave(None)
                raise
            self.gate.leave_well()
            return answer

        return await self.retry.call(once, lambda error: self.gate.slow_down(error.retry_after, str(error)))

    def go_on(self) -> None:
        """Raises Interrupted once a signal came."""
        if self.stop.signal_number:
            raise Interrupted(self.stop.signal_number, self.stop.reason, GO_ON)
