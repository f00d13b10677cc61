"""Where objects come from (hosts, buckets), and which of that does not answer: its objects wait while others go on."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from migrator.core.model import Failed, Outcome, Side, Stored
from migrator.core.ports import Clock, EventKind, Observer

SILENT_FAILURES = 5
"""Attempts in a row without any answer after which an origin counts as down."""
PROBE_EVERY = 10.0
"""Seconds between two tries at an origin that is down."""
PROBES = 30
"""Tries in vain after which its objects fail instead of waiting on."""
LOOK_EVERY = 2.0
"""Seconds after which an object that waits looks whether the origin has answered somebody else."""

Sleep = Callable[[float], Awaitable[None]]


class NoAnswer(Exception):
    """The origin was given up; the text says since when."""


@dataclass(slots=True)
class _Origin:
    """One that failed lately. `probe_at` is when the next try may be made; `since` when it was found to be down."""

    name: str
    failures: int = 0
    since: float | None = None
    probe_at: float = 0.0
    probes: int = 0
    told: bool = False


class Origins:
    """Lets attempts at an origin that is down through one by one, and gives it up after PROBES of them.

    An object that waits need not take up a place meanwhile: with a tenth of all URLs on a host that is gone, most
    places would soon be taken by those, each for a minute.
    """

    def __init__(self, clock: Clock, observer: Observer) -> None:
        self._clock = clock
        self._observer = observer
        self._troubled: dict[str, _Origin] = {}

    async def admit(self, location: str, sleep: Sleep) -> None:
        """Waits while the origin of `location` is down. Raises NoAnswer once it was given up, and what `sleep` does."""
        if not self._troubled:
            return
        name = origin_of(location)
        while (origin := self._troubled.get(name)) is not None and origin.since is not None:
            now = self._clock.monotonic()
            if now >= origin.probe_at:
                origin.probe_at = now + PROBE_EVERY
                origin.probes += 1
                return
            if origin.probes >= PROBES:
                raise NoAnswer(self._give_up(origin, now - origin.since))
            await sleep(min(LOOK_EVERY, origin.probe_at - now))

    def told(self, location: str, outcome: Outcome) -> None:
        """What an attempt came to."""
        silent = isinstance(outcome, Failed) and outcome.silent and outcome.side is Side.SOURCE
        if not silent and not self._troubled:
            return
        name = origin_of(location)
        if silent:
            assert isinstance(outcome, Failed)
            self._failed(self._troubled.setdefault(name, _Origin(name)), outcome.message)
        elif isinstance(outcome, Stored) or (isinstance(outcome, Failed) and outcome.side is Side.SOURCE):
            self._answered(self._troubled.pop(name, None))

    def _failed(self, origin: _Origin, reason: str) -> None:
        origin.failures += 1
        if origin.since is None and origin.failures >= SILENT_FAILURES:
            origin.since = self._clock.monotonic()
            origin.probe_at = origin.since + PROBE_EVERY
            text = f"{origin.name} does not answer: its objects wait, others go on; one try every {PROBE_EVERY:.0f} s"
            self._observer.event(EventKind.PAUSED, text, reason=reason)

    def _answered(self, origin: _Origin | None) -> None:
        if origin is not None and origin.since is not None:
            self._observer.event(EventKind.RESUMED, f"{origin.name} answers again")

    def _give_up(self, origin: _Origin, seconds: float) -> str:
        text = f"{origin.name} has not answered for {seconds / 60:.0f} minutes"
        if not origin.told:
            origin.told = True
            self._observer.event(EventKind.NOTE, f"{text}: its objects fail from now on, until it does")
        return text


def origin_of(location: str) -> str:
    """`scheme://host:port` of a URL, `s3://bucket` of an object in a bucket."""
    parts = urlsplit(location)
    return f"{parts.scheme}://{parts.netloc}"
