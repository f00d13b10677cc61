"""Where objects come from (hosts, buckets): which of that is down or asks for less, and how its own objects wait for it
while others go on.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from migrator.core.errors import Fatal
from migrator.core.model import Failed, Fault, Outcome, Side, Stored
from migrator.core.ports import Clock, EventKind, Observer
from migrator.engine.gate import BREAKER_PAUSE, BREAKER_PROBES, Gate
from migrator.engine.guard import LONGEST_THROTTLE
from migrator.engine.slow_start import SlowStart

SILENT_FAILURES = 5
"""Attempts in a row without any answer, at two objects or more, after which an origin counts as down."""
MOST_SILENT = 10_000
"""Origins of which it is remembered that they gave no answer: a manifest may name a million that are gone."""
PROBE_EVERY = 10.0
"""Seconds between two tries at an origin that is down."""
PROBES = 30
"""Tries in vain after which its objects fail instead of waiting on."""
LONGEST_SILENCE = BREAKER_PAUSE * BREAKER_PROBES
"""Seconds that are waited where nothing answers any more and something did: as long as for the destination."""
LOOK_EVERY = 2.0
"""Seconds after which an object that waits looks whether the origin has answered somebody else, or the run stops."""

Waiting = Callable[[], AbstractContextManager[None]]
"""Within it an object waits: others go on in its place."""


class GivenUp(Exception):
    """The origin was given up for now: its objects fail with this fault. The text says why."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


@dataclass(slots=True)
class _Silence:
    """An origin that gave no answer lately, at `first` to begin with, and whether at `others`, too.

    `since`: when it was found to be down; `probe_at`: when to try next.
    """

    first: str
    others: bool = False
    failures: int = 0
    since: float | None = None
    probe_at: float = 0.0
    probes: int = 0
    told: bool = False


@dataclass(slots=True)
class _Busy:
    """An origin that has said nothing since then but that it is busy."""

    since: float
    probe_at: float
    told: bool = False


class Origins:
    """Lets attempts at an origin that is down through one by one, and as many as it bears at one that throttles.

    An object that waits takes up no place meanwhile: with a tenth of all URLs on a host that is gone, most places
    would soon be taken by those, each for a minute. At most `concurrency` attempts go to one origin at once.
    """

    def __init__(self, concurrency: int, clock: Clock, observer: Observer) -> None:
        self._concurrency = concurrency
        self._clock = clock
        self._observer = observer
        self._heard_at: float | None = None
        self._silent: dict[str, _Silence] = {}
        self._throttling: dict[str, Gate] = {}
        self._busy: dict[str, _Busy] = {}

    async def admit(self, location: str, waiting: Waiting) -> Gate | None:
        """Waits until the origin of `location` may be asked. Raises GivenUp once it was, Stopped, and Fatal where
        nothing has answered for LONGEST_SILENCE: what is down is the network, and no object is to blame.

        What it returns is handed back with the outcome.
        """
        if not self._silent and not self._throttling:
            return None
        name = origin_of(location)
        while not self._may_try(name):
            with waiting():
                await self._clock.sleep(LOOK_EVERY)
        gate = self._throttling.get(name)
        if gate is not None and not gate.free:
            with waiting():
                await self._enter(gate)
        elif gate is not None:
            await gate.enter()
        return gate

    def told(self, location: str, outcome: Outcome | None, gate: Gate | None = None) -> None:
        """What an attempt came to; `gate` is what it was admitted with, and None for `outcome`: nobody knows."""
        failed = outcome if isinstance(outcome, Failed) and outcome.side is Side.SOURCE else None
        answered = isinstance(outcome, Stored) or (failed is not None and not failed.silent)
        throttled = failed is not None and failed.fault is Fault.THROTTLED
        if answered:
            self._heard_at = self._clock.monotonic()
        if gate is not None:
            gate.leave_well() if answered and not throttled else gate.leave(None)
        if failed is None and not self._silent and not self._throttling:
            return
        name = origin_of(location)
        if failed and failed.silent:
            self._unheard(name, location, failed.message)
        elif answered:
            self._heard(name)
        if failed and throttled:
            self._throttled(name, failed)
        elif answered:
            self._busy.pop(name, None)
            if gate is not None and gate.wide:
                self._throttling.pop(name, None)

    async def _enter(self, gate: Gate) -> None:
        while True:
            await self._clock.sleep(0)  # raises Stopped
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    return await gate.enter()
            except TimeoutError:
                continue

    def _throttled(self, name: str, failed: Failed) -> None:
        if name not in self._throttling:
            start = SlowStart(self._concurrency, self._clock, first=self._concurrency)
            self._throttling[name] = Gate(start, self._clock, _Named(self._observer, name))
        self._throttling[name].slow_down(failed.retry_after, failed.message)
        now = self._clock.monotonic()
        self._busy.setdefault(name, _Busy(now, now + LONGEST_THROTTLE))

    def _may_try(self, name: str) -> bool:
        now = self._clock.monotonic()
        busy = self._busy.get(name)
        if busy is not None and now - busy.since > LONGEST_THROTTLE:
            if now < busy.probe_at:
                text = f"{name} has said nothing but that it is busy for an hour"
                busy.told = self._give_up(text, told=busy.told)
                raise GivenUp(Fault.THROTTLED, text)
            busy.probe_at = now + PROBE_EVERY
        silence = self._silent.get(name)
        if silence is None or silence.since is None:
            return True
        if now >= silence.probe_at:
            silence.probe_at = now + PROBE_EVERY
            silence.probes += 1
            return True
        if silence.probes >= PROBES:
            text = f"{name} has not answered for {(now - silence.since) / 60:.0f} minutes"
            if self._heard_at is not None and self._heard_at < silence.since:
                if now - silence.since < LONGEST_SILENCE:
                    return False
                hint = "nothing is lost; run the same command when the network is back"
                raise Fatal(f"{text}, and nothing else has", hint=hint)
            silence.told = self._give_up(text, told=silence.told)
            raise GivenUp(Fault.TRANSIENT, text)
        return False

    def _unheard(self, name: str, location: str, reason: str) -> None:
        silence = self._silent.get(name)
        if silence is None:
            silence = self._silent[name] = _Silence(location)
            if len(self._silent) > MOST_SILENT:
                del self._silent[next((name for name, one in self._silent.items() if one.since is None), name)]
        silence.failures += 1
        silence.others |= location != silence.first
        if silence.since is None and silence.others and silence.failures >= SILENT_FAILURES:
            silence.since = self._clock.monotonic()
            silence.probe_at = silence.since + PROBE_EVERY
            text = f"{name} does not answer: its objects wait, others go on; one try every {PROBE_EVERY:.0f} s"
            self._observer.event(EventKind.PAUSED, text, reason=reason)

    def _heard(self, name: str) -> None:
        silence = self._silent.pop(name, None)
        if silence is not None and silence.since is not None:
            self._observer.event(EventKind.RESUMED, f"{name} answers again")

    def _give_up(self, text: str, *, told: bool) -> bool:
        if not told:
            self._observer.event(EventKind.NOTE, f"{text}: its objects fail from now on, until it does better")
        return True


class _Named:
    """An observer of one origin's gate: says of whom it speaks, and leaves the run's own figures alone."""

    def __init__(self, observer: Observer, name: str) -> None:
        self._observer = observer
        self._name = name

    def event(self, kind: EventKind, message: str, **details: object) -> None:
        """See the port."""
        self._observer.event(kind, f"{self._name} {message}", **details)

    def concurrency(self, limit: int) -> None:
        """How many the origin bears is not how many go on at once."""


def origin_of(location: str) -> str:
    """`scheme://host:port` of a URL, `s3://bucket` of an object in a bucket. Not by urlsplit: every object is asked."""
    scheme, _, rest = location.partition("://")
    netloc = rest.partition("/")[0].partition("?")[0].partition("#")[0]
    return f"{scheme.lower()}://{netloc}"
