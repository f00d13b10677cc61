"""What an operator sees of a verification meanwhile."""

import time

from migrator.cli.observers.several import Silent
from migrator.cli.output import complain
from migrator.core.ports import EventKind
from migrator.reports import words

EVERY = 10.0
"""Seconds between two lines of progress."""


class Verifying(Silent):
    """A line on stderr now and then: how many objects were looked at."""

    def __init__(self) -> None:
        self._seen = 0
        self._said = self._began = time.monotonic()

    def event(self, kind: EventKind, message: str, **details: object) -> None:
        if kind is not EventKind.VERIFIED:
            return
        self._seen += int(str(details["objects"]))
        now = time.monotonic()
        if now - self._said >= EVERY:
            self._said = now
            speed = words.rate(self._seen / (now - self._began))
            complain(
                [f"{words.clock(now - self._began)} {words.count(self._seen, 'object')} verified, {speed} objects/s"]
            )
