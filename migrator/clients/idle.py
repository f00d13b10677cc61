"""Connections that wait for the next request: not too many at once, whatever they lead to."""

from typing import Protocol

LEAST = 128
"""As many may be kept as there are transfers at once, and at least so many."""


class Closable(Protocol):
    """A connection."""

    def close(self) -> None:
        """Idempotent."""
        ...


class Idle:
    """Those of many hosts (or buckets): a manifest may name more of them than files may be open."""

    def __init__(self, concurrency: int) -> None:
        self._most = max(LEAST, concurrency)
        self._lines: dict[Closable, None] = {}

    def keep(self, line: Closable) -> None:
        """Closes the oldest when there are too many; its owner sees that when it looks at it."""
        self._lines[line] = None
        if len(self._lines) > self._most:
            oldest = next(iter(self._lines))
            del self._lines[oldest]
            oldest.close()

    def forget(self, line: Closable) -> None:
        """It is in use again, or gone."""
        self._lines.pop(line, None)
