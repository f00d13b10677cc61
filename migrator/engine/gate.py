"""How many attempts go on at once: as many as are worth having and as the destination bears, none while it is down.

Nothing in here knows what is moved; the clock is handed in.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from migrator.core.model import Failed, Fault, Outcome, Side, Skipped, Stored
from migrator.core.ports import Clock, EventKind
from migrator.engine.slow_start import SlowStart

BREAKER_FAILURES = 5
"""Failures of the destination in a row, without a success between them, that open the breaker."""
BREAKER_PAUSE = 60.0
"""Seconds between two probes of a destination that does not answer."""
BREAKER_PROBES = 30
"""Probes in vain after which the run stops instead of waiting on."""
SETTLED_CUT = 1.0
"""Seconds in which further throttling belongs to the cut that was already made."""


class Watcher(Protocol):
    """Who is told; an Observer, or what stands before one."""

    def event(self, kind: EventKind, message: str, **details: object) -> None: ...

    def concurrency(self, limit: int) -> None: ...


class Unreachable(Exception):
    """The destination did not answer BREAKER_PROBES probes: the run should stop, nothing failed."""


@dataclass(slots=True)
class Gate:
    """Lets attempts in: as many as are worth having (`start`) and as the destination bears (AIMD), none while it asks
    for a pause or is down.

    Throttling halves the gate (at most once in SETTLED_CUT seconds), then a success widens it by one place a round.
    BREAKER_FAILURES failures of the destination in a row close it for BREAKER_PAUSE seconds, after which one attempt
    goes through as a probe. `unsure` is set whenever that happens: few objects that always fail look just like a
    destination that is down, so the caller asks with a canary and says `mend` or `confirm`.
    """

    start: SlowStart
    clock: Clock
    observer: Watcher
    limit: float = field(init=False)
    active: int = 0
    quiet_until: float = 0.0
    failures: int = 0
    broken: bool = False
    probing: bool = False
    probes: int = 0
    unsure: bool = False
    _last_cut: float = -SETTLED_CUT
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    _widened: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.limit = float(self.start.width)

    async def room_for(self, place: int) -> None:
        """Waits until so many at once are worth having that place `place`, from 0 on, is one of them."""
        while place >= self.start.width:
            await self._widened.wait()

    async def enter(self) -> None:
        """Waits for a place. Raises Unreachable when the destination has been down for too long."""
        while True:
            if self.probes >= BREAKER_PROBES:
                raise Unreachable
            wait = self.quiet_until - self.clock.monotonic()
            if wait > 0:
                await self.clock.sleep(wait)
            elif self.active < int(self.limit) and not (self.broken and self.probing):
                self.active += 1
                self.probing = self.broken
                return
            else:
                await self._turn()

    @property
    def free(self) -> bool:
        """Whether `enter` would not wait."""
        return self.active < int(self.limit) and not self.broken and self.quiet_until <= self.clock.monotonic()

    @property
    def wide(self) -> bool:
        """Whether it is as wide again as it can be."""
        return self.limit >= self.start.maximum

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._wake(1)
            raise

    def _wake(self, count: int) -> None:
        while self._waiting and count > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                count -= 1

    def leave(self, outcome: Outcome | None) -> bool:
        """Gives the place back. False: the failure is the breaker's affair and does not count against the item."""
        self.active -= 1
        counts = True
        if isinstance(outcome, Stored):
            self._succeeded(outcome.size)
        elif isinstance(outcome, Skipped):
            self._succeeded(0)
        elif isinstance(outcome, Failed):
            counts = self._failed(outcome)
            if not outcome.retryable:
                self._done(0)
        elif self.broken:
            self.probing = False
        self._wake(max(1, int(self.limit) - self.active))
        return counts

    def leave_well(self) -> None:
        """Gives the place back after a request that was answered: wider again, step by step."""
        self.active -= 1
        self._succeeded(0)
        self._wake(max(1, int(self.limit) - self.active))

    def _succeeded(self, size: int) -> None:
        self.failures = 0
        if self.broken:
            self.mend()
            self.observer.event(EventKind.RESUMED, "the destination answers again")
        if self.limit < self.start.width:
            self._be(min(self.start.width, self.limit + 1 / self.limit))
        else:
            self._done(size)

    def _done(self, size: int) -> None:
        if self.limit >= self.start.width and self.start.done(size):
            self._be(self.start.width)
            self._widened.set()
            self._widened.clear()

    def _be(self, limit: float) -> None:
        before, self.limit = int(self.limit), limit
        if int(limit) != before:
            self.observer.concurrency(int(limit))

    def _failed(self, outcome: Failed) -> bool:
        if outcome.fault is Fault.THROTTLED and outcome.side is Side.DESTINATION:
            self.slow_down(outcome.retry_after, outcome.message)
            if self.broken:
                self.broken = self.probing = False
            return True
        if outcome.fault is not Fault.TRANSIENT or outcome.side is not Side.DESTINATION:
            if self.broken:
                self.probing = False
            return True
        self.failures += 1
        if self.broken:
            if self.probing:
                self.probing = False
                self.unsure = True
                self.probes += 1
                self.quiet_until = self.clock.monotonic() + BREAKER_PAUSE
            return False
        if self.failures < BREAKER_FAILURES:
            return True
        self.broken = self.unsure = True
        self.quiet_until = self.clock.monotonic() + BREAKER_PAUSE
        return False

    def mend(self) -> None:
        """The destination answers after all: only these objects failed."""
        self.broken = self.probing = False
        self.failures = self.probes = 0
        self.quiet_until = 0.0
        self._wake(int(self.limit) - self.active)

    def confirm(self, reason: str) -> None:
        """The destination is down indeed: everybody waits for the next probe."""
        if self.probes == 0:
            self.observer.event(
                EventKind.PAUSED,
                f"the destination does not answer: one try every {BREAKER_PAUSE:.0f} s from now on",
                reason=reason,
            )

    def slow_down(self, retry_after: float | None, reason: str) -> None:
        """Halves the gate and keeps it shut as long as the server asked."""
        now = self.clock.monotonic()
        if retry_after:
            self.quiet_until = max(self.quiet_until, now + min(retry_after, BREAKER_PAUSE))
        if now - self._last_cut < SETTLED_CUT:
            return
        self._last_cut = now
        self.start.throttled()
        before = int(self.limit)
        self._be(max(1.0, self.limit / 2))
        if int(self.limit) != before:
            self.observer.event(EventKind.SLOWER, f"throttled: {int(self.limit)} at once from now on", reason=reason)
