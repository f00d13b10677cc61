"""How a run ends before it is done: signals, a time limit, a second thought. One event that everything waits on."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from migrator.core.errors import Interrupted, MigratorError

T = TypeVar("T")

DRAIN = 8.0
"""Seconds that objects on the way may take to arrive once a run is told to stop; a row of the fault table says 10."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """The run is stopping: a wait (backoff, pause, pace) ended early.

    `sent`: an attempt before that wait may have reached the destination.
    """

    def __init__(self, sent: bool = False) -> None:
        super().__init__()
        self.sent = sent


class Stop:
    """The wish to stop, with its reason; also the run's clock, because every wait must end with it."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.reason = ""
        self.signal_number = 0
        self.limit = False
        self._heeded = False
        self._work: asyncio.Task[object] | None = None

    def request(self, reason: str, *, limit: bool = False) -> None:
        """Asks everything to wind down. The first reason stands."""
        if not self.event.is_set():
            self.reason = reason
            self.limit = limit
            self.event.set()

    def heed(self) -> None:
        """From now on what runs looks at `event` itself, and ends in its own way; until then a signal cancels it."""
        self._heeded = True

    async def until_done(self, task: "asyncio.Task[T]", seconds: float) -> None:
        """Waits for `task`, and no longer than so many seconds once the run is told to stop. Raises nothing of it."""
        stopped = asyncio.create_task(self.event.wait())
        try:
            await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((task,), timeout=seconds)
        finally:
            stopped.cancel()

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleeps. Raises Stopped at once when the run stops meanwhile."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.event.wait(), seconds)
        if self.event.is_set():
            raise Stopped

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """First signal: drain. Second: leave now, as a kill would; the ledger bears it.

        What is only getting ready has nothing to drain, and is cancelled: it ends with Interrupted.
        """
        loop = asyncio.get_running_loop()
        self._work = asyncio.current_task()
        # nohup sets SIGHUP to be ignored: the operator wants the run to outlive the terminal.
        wanted = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        for number in wanted:
            loop.add_signal_handler(number, self._signalled, number)
        try:
            yield
        finally:
            for number in wanted:
                loop.remove_signal_handler(number)

    def _signalled(self, number: signal.Signals) -> None:
        if self.signal_number:
            os._exit(128 + number)
        self.signal_number = number
        self.request("interrupted (Ctrl+C)" if number == signal.SIGINT else f"told to stop ({number.name})")
        if not self._heeded and self._work:
            self._work.cancel()


async def interruptible(work: Callable[[Stop], Awaitable[T]], hint: str) -> T:
    """What `work` comes to under a Stop that signals reach. Raises Interrupted when one comes while it gets ready."""
    stop = Stop()
    with stop.on_signals():
        try:
            return await work(stop)
        except (MigratorError, asyncio.CancelledError):
            if not stop.signal_number:
                raise
            # Whatever went wrong while getting ready, the operator had had enough of it.
            raise Interrupted(stop.signal_number, stop.reason, hint) from None
