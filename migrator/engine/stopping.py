"""How a run ends before it is done: signals, a time limit, a second thought. One event that everything waits on."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator

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

    def request(self, reason: str, *, limit: bool = False) -> None:
        """Asks everything to wind down. The first reason stands."""
        if not self.event.is_set():
            self.reason = reason
            self.limit = limit
            self.event.set()

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
        """First signal: drain. Second: leave now, as a kill would; the ledger bears it."""
        loop = asyncio.get_running_loop()
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
