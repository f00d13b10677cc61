"""What stands around every attempt: retry by fault, pace and memory. How many at once: see gate.py.

Nothing in here knows what is moved; sleep and clock are handed in.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from migrator.core.errors import ObjectError, Transient, Truncated
from migrator.core.errors import Throttled as ThrottledError
from migrator.core.model import Failed, Fault, Outcome, Task
from migrator.core.ports import Clock, EventKind, Observer

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")

LONGEST_BACKOFF = 30.0
"""Seconds; the exponential backoff does not grow beyond it."""
LONGEST_THROTTLE = 3600.0
"""Seconds that one item may be told to slow down before it counts as failed."""


@dataclass(slots=True)
class Tries:
    """How often one item may still be tried, by the fault of its last attempt."""

    policy: "RetryPolicy"
    started: float
    spent: dict[Fault, int] = field(default_factory=dict)

    def spend(self, outcome: Failed) -> None:
        """Counts one failed attempt."""
        self.spent[outcome.fault] = self.spent.get(outcome.fault, 0) + 1

    def over(self, outcome: Failed) -> bool:
        """Whether this failure is the item's last word."""
        if outcome.fault is Fault.THROTTLED:
            return self.policy.clock.monotonic() - self.started > LONGEST_THROTTLE
        allowed = 1 if outcome.fault is Fault.CHANGED else self.policy.retries
        return self.spent.get(outcome.fault, 0) > allowed


class RetryPolicy(Struct, frozen=True):
    """Which failures are tried again, how often, and after how long: exponential with full jitter, or Retry-After."""

    retries: int
    clock: Clock
    observer: Observer
    first_backoff: float = 0.5

    async def run(
        self,
        attempt: Callable[[], Awaitable[tuple[Outcome, bool]]],
        task: Task,
        sleep: Callable[[float], Awaitable[None]],
    ) -> tuple[Outcome, int]:
        """Calls `attempt` -> (outcome, counts) until it settles; returns the last outcome and how often it tried.

        `sleep` is how a whole object waits for its next try.
        """
        outcome, counts = await attempt()
        if not _retryable(outcome):
            return outcome, 1
        # Nearly every item is settled by now: the machinery below is loaded and built for the few that are not.
        from tenacity import AsyncRetrying, retry_if_result

        tries = Tries(self, self.clock.monotonic())
        first: tuple[Outcome, bool] | None = (outcome, counts)
        attempts = 0

        async def next_attempt() -> Outcome:
            nonlocal first, attempts
            attempts += 1
            got, count = first or await attempt()
            first = None
            if count and isinstance(got, Failed):
                tries.spend(got)
            return got

        def over(state: "RetryCallState") -> bool:
            failed = _result(state)
            return isinstance(failed, Failed) and tries.over(failed)

        retrying = AsyncRetrying(
            retry=retry_if_result(_retryable),
            stop=over,
            wait=self._wait,
            sleep=sleep,
            before_sleep=lambda state: self._tell(state, task),
            retry_error_callback=_result,
        )
        return await retrying(next_attempt), attempts

    async def call(self, request: Callable[[], Awaitable[T]], slow_down: Callable[[ThrottledError], None]) -> T:
        """One request of a larger attempt (a part), tried again by itself. Raises its last ObjectError."""
        started = self.clock.monotonic()
        first: ObjectError | None = None
        try:
            return await request()
        except (Transient, ThrottledError) as error:
            first = error  # as in `run`: what follows is built for the few that fail
        from tenacity import AsyncRetrying, retry_if_exception

        def note(state: "RetryCallState") -> None:
            error = state.outcome.exception() if state.outcome else None
            if isinstance(error, ThrottledError):
                slow_down(error)

        def over(state: "RetryCallState") -> bool:
            error = state.outcome.exception() if state.outcome else None
            if isinstance(error, ThrottledError):
                return self.clock.monotonic() - started > LONGEST_THROTTLE
            return state.attempt_number > self.retries

        async def once() -> T:  # tenacity awaits coroutine functions only, not whatever returns an awaitable
            nonlocal first
            if first is not None:
                failed_first, first = first, None
                raise failed_first
            return await request()

        return await AsyncRetrying(
            retry=retry_if_exception(lambda e: isinstance(e, Transient | ThrottledError)),
            stop=over,
            wait=self._wait,
            sleep=self.clock.sleep,
            before_sleep=note,
            reraise=True,
        )(once)

    def _wait(self, state: "RetryCallState") -> float:
        asked = None
        if state.outcome and state.outcome.failed:
            asked = getattr(state.outcome.exception(), "retry_after", None)
        elif isinstance(failed := _result(state), Failed):
            asked = failed.retry_after
        jitter = full_jitter(state.attempt_number, self.first_backoff, LONGEST_BACKOFF)
        return jitter if asked is None else min(asked, LONGEST_THROTTLE) + jitter

    def _tell(self, state: "RetryCallState", task: Task) -> None:
        failed = _result(state)
        if isinstance(failed, Failed):
            self.observer.event(
                EventKind.RETRY,
                failed.message,
                key=task.key,
                location=task.location,
                fault=failed.fault.value,
                attempt=state.attempt_number,
            )


def full_jitter(failures: int, first: float, longest: float) -> float:
    """Seconds to wait after so many failures: anything up to a bound that doubles with each of them.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return random.uniform(0, min(longest, first * 2.0 ** min(failures - 1, 30)))


def _result(state: "RetryCallState") -> Outcome:
    outcome: Outcome = state.outcome.result() if state.outcome else None  # type: ignore[assignment]
    return outcome


def _retryable(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and outcome.retryable


def failed(error: ObjectError) -> Failed:
    """The outcome that an error is. Fatal is no outcome: it stops the run and must not come here."""
    again_helps = error.fault in (Fault.TRANSIENT, Fault.THROTTLED, Fault.CHANGED) or isinstance(error, Truncated)
    return Failed(
        fault=error.fault,
        message=str(error),
        side=error.side,
        retry_after=error.retry_after,
        again=error.ambiguous,
        retryable=again_helps,
        silent=error.silent,
    )


@dataclass(slots=True)
class Memory:
    """The bytes that may be held at once. First come, first served; a larger wish than all of it gets all of it."""

    limit: int
    held: int = 0
    _waiting: deque[tuple[int, asyncio.Future[None]]] = field(default_factory=deque)

    async def take(self, size: int) -> int:
        """Waits until `size` bytes are free and returns how many were taken, to be given back."""
        size = min(size, self.limit)
        if not self._waiting and self.held + size <= self.limit:
            self.held += size
            return size
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size)
            raise
        return size

    def give(self, size: int) -> None:
        """Gives bytes back."""
        self.held -= size
        while self._waiting:
            wanted, turn = self._waiting[0]
            if turn.done():
                self._waiting.popleft()
            elif self.held + wanted <= self.limit:
                self._waiting.popleft()
                self.held += wanted
                turn.set_result(None)
            else:
                return


@dataclass(slots=True)
class Pace:
    """A bound on something a second (requests, bytes). May be overdrawn by one spender, who then waits it off."""

    per_second: float
    clock: Clock
    _free_at: float = 0.0

    async def spend(self, amount: float) -> None:
        """Books `amount` and sleeps until the rate has caught up. 0 a second: no bound."""
        if not self.per_second:
            return
        now = self.clock.monotonic()
        start = max(self._free_at, now)
        self._free_at = start + amount / self.per_second
        if start > now:
            await self.clock.sleep(start - now)
