"""What an operator sees of a verification meanwhile."""

import time
from collections.abc import Callable

from migrator.cli.observers.lines import shown
from migrator.cli.observers.several import Silent
from migrator.cli.output import complain
from migrator.core.ports import EventKind
from migrator.reports import words

EVERY = 10.0
"""Seconds between two lines of progress."""

TOLD = (EventKind.SLOWER, EventKind.STOPPING, EventKind.NOTE)


class Verifying(Silent):
    """A line on stderr now and then: how many objects were looked at. `each`: one for each difference, too."""

    def __init__(self, *, each: bool, now: Callable[[], float] = time.monotonic) -> None:
        self._each = each
        self._now = now
        self._began = self._said = now()
        self._first: int | None = None

    def event(self, kind: EventKind, message: str, **details: object) -> None:
        if kind is EventKind.VERIFIED:
            self._progress(int(str(details["objects"])), int(str(details["of"])))
        elif kind is EventKind.DIFFERENT and self._each:
            complain([f"{details['result']} {shown(details['key'])}: {shown(message)}"])
        elif kind in TOLD:
            complain([str(shown(message))])

    def _progress(self, seen: int, expected: int) -> None:
        now = self._now()
        if self._first is None:
            self._first = seen  # what an interrupted verification had done before is nobody's speed
        if now - self._said < EVERY:
            return
        self._said = now
        speed = (seen - self._first) / (now - self._began)
        left = f", about {words.duration((expected - seen) / speed)} left" if speed and expected > seen else ""
        counted = f"{words.count(seen)} of {words.count(expected, 'object')} looked at"
        complain([f"{words.clock(now - self._began)} {counted}, {words.rate(speed)} objects/s{left}"])
