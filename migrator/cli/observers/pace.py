"""A line now and then of a command that looks at one thing after the other: how many, how fast, how long still."""

import time
from collections.abc import Callable

from migrator.cli.output import complain
from migrator.reports import words

EVERY = 10.0
"""Seconds between two lines."""


class Pace:
    """Lines on stderr about things called `noun`. `now` tells seconds."""

    def __init__(self, noun: str, now: Callable[[], float] = time.monotonic) -> None:
        self._noun = noun
        self._now = now
        self._began = self._said = now()

    def seen(self, done: int, before: int = 0, expected: int = 0) -> None:
        """So many are done, `before` of them by an earlier run, of about so many; 0: nobody knows."""
        now = self._now()
        if now - self._said < EVERY:
            return
        self._said = now
        speed = (done - before) / (now - self._began)
        counted = words.count(done, self._noun)
        if expected:
            counted = f"{words.count(done)} of {words.count(expected, self._noun)}"
        left = f", about {words.duration((expected - done) / speed)} left" if speed and expected > done else ""
        pace = f"{words.rate(speed)} {self._noun}s/s{left}"
        complain([f"{words.clock(now - self._began)} {counted} looked at, {pace}"])
