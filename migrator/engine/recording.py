"""Rows of objects that have arrived: inspect -> intend -> apply -> settle, batch by batch, beside the moving.

Objects never wait for a database. One that does not answer is tried again, ever more seldom, while objects move, and a
few times more when nothing else is left to do.
"""

import asyncio
import contextlib
from collections.abc import Sequence

from migrator.core.errors import Fatal, Transient
from migrator.core.ledger_ports import Ledger
from migrator.core.model import Side
from migrator.core.ports import Clock, EventKind, Observer, Records
from migrator.core.records import RecordOutcome, RecordTask, RowChange
from migrator.engine.guard import full_jitter
from migrator.engine.stopping import Stopped

BATCH = 500
"""Rows that one transaction updates."""
LONGEST_PAUSE = 60.0
"""Seconds between two tries of a database that does not answer."""
FIRST_PAUSE = 0.5
"""Seconds; doubled with each try in vain."""


class Recording:
    """Updates the rows of `sources`. `wake` when records may be ready, `finish` when no more will become so."""

    def __init__(
        self,
        ledger: Ledger,
        records: Records,
        sources: Sequence[str],
        observer: Observer,
        clock: Clock,
        stop: asyncio.Event,
        retries: int,
    ) -> None:
        self._ledger = ledger
        self._records = records
        self._observer = observer
        self._clock = clock
        self._stop = stop
        self._retries = retries
        self._news = {name: asyncio.Event() for name in sources}
        self._last = asyncio.Event()

    def wake(self) -> None:
        """Objects were settled, or rows of settled objects found."""
        for news in self._news.values():
            news.set()

    def finish(self) -> None:
        """Nothing is moving any more: `run` ends when all that is ready is done."""
        self._last.set()
        self.wake()

    async def run(self) -> None:
        """Works until `finish` and nothing is ready, or the run stops. Raises Fatal when a database stays away."""
        async with asyncio.TaskGroup() as group:
            for name in self._news:
                group.create_task(self._work(name))

    async def _work(self, source: str) -> None:
        """Each source has a loop of its own: a database that is away holds up its own rows only."""
        failures = last_failures = 0
        while not self._stop.is_set():
            self._news[source].clear()
            last = self._last.is_set()
            batch = await self._ledger.ready_records(BATCH, [source])
            if not batch:
                if last:
                    return
                await self._news[source].wait()
                continue
            try:
                await self._record(batch)
            except Transient as error:
                if not failures:
                    self._observer.event(EventKind.PAUSED, f"rows wait, objects go on: {error.message}", source=source)
                failures += 1
                last_failures += last
                if last_failures > self._retries:
                    raise _away(source, error) from error
                await self._pause(last_failures if last else failures)
            else:
                if failures:
                    self._observer.event(EventKind.RESUMED, "rows are updated again", source=source)
                failures = last_failures = 0

    async def _record(self, batch: Sequence[RecordTask]) -> None:
        found = await self._records.inspect(batch)
        changes = [outcome for outcome in found if isinstance(outcome, RowChange)]
        done: list[tuple[RecordTask, RecordOutcome]] = [
            (task, outcome) for task, outcome in zip(batch, found, strict=True) if not isinstance(outcome, RowChange)
        ]
        if changes:
            await self._ledger.intend_records(changes)
            outcomes = await self._records.apply(changes)
            done += [(change.task, outcome) for change, outcome in zip(changes, outcomes, strict=True)]
        await self._ledger.settle_records(done)
        self._observer.recorded(done)

    async def _pause(self, failures: int) -> None:
        """Ends early when nothing is moving any more, or the run stops."""
        sleeping = asyncio.create_task(_sleep(self._clock, full_jitter(failures, FIRST_PAUSE, LONGEST_PAUSE)))
        finished = asyncio.create_task(self._last.wait())
        waiting: set[asyncio.Task[object]] = {sleeping} if self._last.is_set() else {sleeping, finished}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            finished.cancel()


async def _sleep(clock: Clock, seconds: float) -> object:
    with contextlib.suppress(Stopped):  # the loop sees by itself that the run stops
        await clock.sleep(seconds)
    return None


def _away(source: str, error: Transient) -> Fatal:
    return Fatal(
        f'rows of the source "{source}" are left: {error.message}',
        side=Side.DATABASE,
        hint="every object stands and no row is half updated; run the same command when it answers",
    )
