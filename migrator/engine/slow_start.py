"""How many at once are worth having: few at first, twice as many for as long as that makes it faster."""

from dataclasses import dataclass, field

from migrator.core.ports import Clock

FIRST = 32
"""At once to begin with: a server nearby is busy with those, and more only take turns."""
WORTH = 1.1
"""Going wider must make it so many times faster; two measurements of the same speed differ by less."""
MEASURED_SECONDS = 0.5
MEASURED_ROUNDS = 2
"""A measurement takes that long at least, and as many objects as go through all places that often."""
REST = 30.0
"""Seconds until it is tried again to go wider."""
OBJECT_COSTS = 100_000
"""Bytes: what a request costs beside its bytes, so that large objects among small ones hardly show as another speed."""


@dataclass(slots=True)
class SlowStart:
    """A width: `first` to begin with, at most `maximum`. Told of every object that is done, it says when to change.

    It measures the speed, goes twice as wide, measures again, and goes back when that was not worth it. Where an answer
    is long in coming the speed doubles too, and the width soon is `maximum`; where a processor or a network has all it
    can do, more at once wait for each other, crowd the server's caches and bring nothing.
    """

    maximum: int
    clock: Clock
    first: int = FIRST
    width: int = field(init=False)
    _narrower: int = field(init=False, default=0)
    _speed: float = field(init=False, default=0.0)
    _objects: int = field(init=False, default=0)
    _bytes: int = field(init=False, default=0)
    _since: float = field(init=False)

    def __post_init__(self) -> None:
        self.width = min(self.first, self.maximum)
        self._measure(0, begun=self.width)  # the first ones wait for connections, and for a scan that is just beginning

    def done(self, size: int) -> bool:
        """Counts an object of `size` bytes, while all places are in use; True when `width` has changed."""
        if self.width == self.maximum and not self._narrower:
            return False
        now = self.clock.monotonic()
        if now < self._since:
            return False
        self._objects += 1
        if self._objects <= 0:
            self._since = now
            return False
        self._bytes += size
        seconds = now - self._since
        if self._objects < MEASURED_ROUNDS * self.width or seconds < MEASURED_SECONDS:
            return False
        return self._judge((self._bytes + OBJECT_COSTS * self._objects) / seconds)

    def throttled(self) -> None:
        """The destination bears less for now: what was tried last is taken back, and nothing more for a while."""
        self._go_back()

    def _judge(self, speed: float) -> bool:
        if self._narrower and speed < WORTH * self._speed:
            self._go_back()
            return True
        if self.width == self.maximum:
            self._narrower = 0
            return False
        self._narrower, self._speed = self.width, speed
        self.width = min(self.maximum, 2 * self.width)
        self._measure(0, begun=self._narrower)
        return True

    def _go_back(self) -> None:
        self.width = self._narrower or self.width
        self._narrower = 0
        self._measure(REST)

    def _measure(self, pause: float, *, begun: int = 0) -> None:
        """Anew after `pause` seconds, without the first `begun` objects: they began under other conditions."""
        self._since = self.clock.monotonic() + pause
        self._objects, self._bytes = -begun, 0
