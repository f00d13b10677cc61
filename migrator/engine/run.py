"""A whole run: claim -> worker -> settle beside the scans, until drained or stopped."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Iterator, Sequence

from msgspec import Struct

from migrator.core.audit import Change
from migrator.core.errors import Fatal, Interrupted, LimitReached, MigratorError, ObjectError, first_leaf
from migrator.core.ledger_ports import Ledger
from migrator.core.model import Settlement, Side, State, Stored, Summary, Tally, Task, VariantTally
from migrator.core.objects import CopyMode
from migrator.core.ports import EventKind, Observer, Source, Store
from migrator.core.records import RecordState, RecordTally
from migrator.engine.gate import BREAKER_PAUSE, BREAKER_PROBES, Unreachable
from migrator.engine.later_variants import LaterVariants
from migrator.engine.recording import Recording
from migrator.engine.scan import scan
from migrator.engine.stopping import DRAIN, Stop, Stopped
from migrator.engine.worker import Worker

SETTLE_EVERY = 0.2
"""Seconds after which finished items are written, however few."""
SETTLE_MANY = 500
"""Finished items that are written at once, however soon."""
RECORDS_END = 1.5
"""Seconds that a transaction under way may take once the run stops; the next run sees what became of it."""
SCAN_ENDS = 1.0
"""Seconds that a page under way may take once the run stops; its thread is left behind then."""
MOST_CLAIMED = 4_000
"""Items that are claimed at once, at most, where a disk takes so long for it that the lanes run dry meanwhile."""
MOST_WAITING = 5_000
"""Objects that may wait for their next try while others go on in their places."""
_WAITING = (RecordState.READY, RecordState.INTENDED)


class RunOptions(Struct, frozen=True):
    """What the operator asked of this run only."""

    limit: int | None = None
    sources: tuple[str, ...] = ()
    max_duration: float | None = None
    retry_failed: bool = False
    rescan: bool = False
    only_variants: bool = False
    copy_mode: CopyMode = CopyMode.AUTO


class Result(Struct, frozen=True):
    """How a run ended: what it did, the error that stopped it (if any) and the exit status."""

    summary: Summary
    error: MigratorError | None
    exit_status: int

    @property
    def stopped(self) -> str:
        """Why the run ended before everything was done; empty when it did not."""
        return str(self.error) if self.error else ""


class Run:
    """One run over one ledger. `execute` may be called once."""

    def __init__(
        self,
        ledger: Ledger,
        sources: Sequence[Source],
        worker: Worker,
        store: Store,
        observer: Observer,
        stop: Stop,
        options: RunOptions,
        concurrency: int,
        recording: Recording | None = None,
        later: LaterVariants | None = None,
    ) -> None:
        self._ledger = ledger
        self._sources = sources
        self._worker = worker
        self._store = store
        self._observer = observer
        self._stop = stop
        self._options = options
        self._concurrency = concurrency
        self._recording = recording
        self._later = later
        self._only = [source.name for source in sources] if options.sources else None
        self._queue: asyncio.Queue[Task] = asyncio.Queue(maxsize=concurrency)
        self._unstarted: list[Task] = []
        self._news = asyncio.Event()
        self._scanned = False
        self._listing_destination = {source.name for source in sources if source.lists_destination}
        self._finished: list[Settlement] = []
        self._many = asyncio.Event()
        self._nothing_comes = False
        self._claimed = self._moved = self._bytes = 0
        self._lanes: set[asyncio.Task[None]] = set()
        self._waiting = self._resting = 0

    async def execute(self, run: int) -> Result:
        """Scans and moves until nothing is left, a limit is reached, a signal comes or an error stops it."""
        self._stop.heed()
        started = self._stop.monotonic()
        error: MigratorError | None = None
        self._observer.started(int(self._worker.gate.limit))
        with self._time_limit():
            try:
                await self._move_everything()
            except* MigratorError as errors:
                first = first_leaf(errors)
                assert isinstance(first, MigratorError)
                error = first
            except* Unreachable:
                error = _unreachable()
            try:
                await self._settle()
                await self._give_back()
            except MigratorError as last:
                error = error or last
        return await self._result(run, started, error)

    async def _move_everything(self) -> None:
        await self._abort_stale_uploads()
        async with asyncio.TaskGroup() as group:
            scans = group.create_task(self._scan_all())
            feeder = group.create_task(self._feed())
            for place in range(self._concurrency):
                self._open_lane(group, place)
            settler = group.create_task(self._settle_regularly())
            recorder = group.create_task(self._recording.run()) if self._recording else None
            await self._drained_or_stopped(feeder)
            moving = (feeder, *self._lanes)
            for task in moving:
                task.cancel()
            await asyncio.wait(moving)
            await self._give_back()
            # Not cancelled: observers would never hear of the batch that it is writing.
            self._nothing_comes = True
            self._many.set()
            await settler
            if self._later:
                await self._make_later_variants(self._later, scans)
            if recorder:
                await self._finish_records(recorder)
            if self._limit_reached():
                self._stop.request(f"--limit of {self._options.limit} reached", limit=True)
            await asyncio.wait((scans,), timeout=SCAN_ENDS if self._stop.event.is_set() else None)
            scans.cancel()

    async def _give_back(self) -> None:
        """What was claimed and never begun is planned again; the next run need not ask for it."""
        while not self._queue.empty():
            self._unstarted.append(self._queue.get_nowait())
        unstarted, self._unstarted = self._unstarted, []
        await self._ledger.release([task for task in unstarted if not task.again])

    async def _drained_or_stopped(self, feeder: asyncio.Task[None]) -> None:
        async def drain() -> None:
            await feeder
            await self._queue.join()

        drained = asyncio.create_task(drain())
        stopped = asyncio.create_task(self._stop.event.wait())
        try:
            await asyncio.wait((drained, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not drained.done():
                self._observer.event(EventKind.STOPPING, f"{self._stop.reason}: finishing what is on the way")
                self._news.set()  # nobody waits for the scan any longer
                await asyncio.wait((drained,), timeout=DRAIN)
        finally:
            drained.cancel()
            stopped.cancel()

    async def _make_later_variants(self, later: LaterVariants, scans: asyncio.Task[None]) -> None:
        """Variants of what stood before this run, once everything that this run moves has its own."""
        await self._settle()
        if self._options.only_variants and not self._stop.event.is_set():
            await asyncio.wait((scans,))  # it brings what their keys are made of
        if not self._stop.event.is_set() and not self._limit_reached():
            await later.run(self._concurrency, self._stop, planned_only=not self._options.only_variants)
        if self._recording:
            self._recording.wake()

    async def _finish_records(self, recorder: asyncio.Task[None]) -> None:
        """Rows of the last objects; when the run stops, those of the batch that is being written."""
        assert self._recording
        await self._settle()
        self._recording.finish()
        await self._stop.until_done(recorder, RECORDS_END)
        recorder.cancel()

    async def _abort_stale_uploads(self) -> None:
        for key, upload_id in await self._ledger.stale_uploads():
            with contextlib.suppress(ObjectError):  # tried again by the next run
                await self._store.abort(key, upload_id)
                await self._ledger.note([Change.aborted(key, upload_id, "")])
                await self._ledger.forget_upload(key, upload_id)

    async def _scan_all(self) -> None:
        for source in self._sources:
            if await scan(source, self._ledger, self._observer, self._stop.event, self._found):
                self._listing_destination.discard(source.name)
                self._news.set()
        self._scanned = True
        self._news.set()

    def _found(self) -> None:
        """A page is in the ledger. A row of an object that stands already waits for nothing else."""
        self._news.set()
        if self._recording:
            self._recording.wake()

    async def _feed(self) -> None:
        """Keeps the queue full until nothing is left to claim."""
        if self._options.only_variants:
            return
        # A listing of the destination must not show what this run puts there: it would be taken for more to move.
        while self._listing_destination and not self._stop.event.is_set():
            self._news.clear()
            await self._news.wait()
        async for batch in self._batches():
            for place, task in enumerate(batch):
                if self._stop.event.is_set():
                    self._unstarted += batch[place:]
                    return
                try:
                    await self._queue.put(task)
                except asyncio.CancelledError:
                    self._unstarted += batch[place:]
                    raise

    async def _batches(self) -> AsyncIterator[list[Task]]:
        size = max(64, min(1000, 4 * self._concurrency))
        starved = looked_back = False
        while not self._stop.event.is_set() and not self._limit_reached():
            self._news.clear()
            scanned = self._scanned
            claim = self._ledger.claim if looked_back else self._ledger.leftovers
            limit = self._options.limit
            size = min(MOST_CLAIMED, 2 * size) if starved else size
            batch = await claim(size if limit is None else min(size, limit - self._claimed), self._only)
            if batch:
                starved = self._claimed > 0 and self._queue.empty()
                yield batch
                self._claimed += len(batch)
            elif not looked_back:
                looked_back = True
            elif scanned:
                return
            else:
                await self._news.wait()

    def _limit_reached(self) -> bool:
        return self._options.limit is not None and self._claimed >= self._options.limit

    def _open_lane(self, group: asyncio.TaskGroup, place: int | None) -> None:
        work = self._lane(group, place)
        try:
            lane = group.create_task(work)
        except RuntimeError:  # the run is just ending: nobody is needed any more
            work.close()
            return
        self._lanes.add(lane)
        lane.add_done_callback(self._lanes.discard)

    @contextlib.contextmanager
    def _standing_in(self, group: asyncio.TaskGroup) -> Iterator[None]:
        """While an object waits for its next try, others go on in its place. The gate bounds what goes on at once."""
        self._waiting += 1
        if self._waiting <= MOST_WAITING and self._too_many_lanes < 0:
            self._open_lane(group, None)
        try:
            yield
        finally:
            self._waiting -= 1

    @property
    def _too_many_lanes(self) -> int:
        """Lanes that neither wait nor rest beyond what is worth having at once; below 0: so many are missing."""
        return len(self._lanes) - self._waiting - self._resting - self._worker.gate.start.width

    async def _lane(self, group: asyncio.TaskGroup, place: int | None) -> None:
        """One object after the other; `place` is the lane's own, and None for a stand-in, which goes when it can."""
        waiting = functools.partial(self._standing_in, group)
        while place is not None or self._too_many_lanes <= 0:
            if place is not None:
                self._resting += 1
                await self._worker.gate.room_for(place)
                self._resting -= 1
            task = await self._queue.get()
            if self._stop.event.is_set():
                self._unstarted.append(task)
            else:
                try:
                    self._finish(await self._worker.work(task, waiting))
                except Stopped as stopped:
                    if not stopped.sent:
                        self._unstarted.append(task)  # else its intent stands: the next run looks before it sends
            self._queue.task_done()

    def _finish(self, settlement: Settlement) -> None:
        self._finished.append(settlement)
        if isinstance(settlement.outcome, Stored):
            self._moved += 1
            self._bytes += settlement.outcome.size
        if len(self._finished) >= SETTLE_MANY:
            self._many.set()

    async def _settle_regularly(self) -> None:
        while not self._nothing_comes:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._many.wait(), SETTLE_EVERY)
            self._many.clear()
            await self._settle()

    async def _settle(self) -> None:
        batch = self._finished
        if not batch:
            return
        self._finished = []
        await self._ledger.settle(batch)
        self._observer.settled(batch)
        if self._recording:
            self._recording.wake()

    @contextlib.contextmanager
    def _time_limit(self) -> Iterator[None]:
        seconds = self._options.max_duration
        if seconds is None:
            yield
            return
        reason = f"--max-duration of {seconds:g} s reached"
        timer = asyncio.get_running_loop().call_later(seconds, lambda: self._stop.request(reason, limit=True))
        try:
            yield
        finally:
            timer.cancel()

    async def _result(self, run: int, started: float, error: MigratorError | None) -> Result:
        tallies: tuple[Tally, ...] = ()
        records: tuple[RecordTally, ...] = ()
        variants: tuple[VariantTally, ...] = ()
        problems, complete = 0, False
        with contextlib.suppress(MigratorError):
            tallies = tuple(await self._ledger.tallies())
            records = tuple(await self._ledger.record_tallies())
            variants = tuple(await self._ledger.variant_tallies())
            problems = await self._ledger.problem_count()
            complete = all([(await self._ledger.cursor(source.name))[1] for source in self._sources])
        seconds = self._stop.monotonic() - started
        requests = dict(self._store.requests)
        moved = (self._moved, self._bytes)
        summary = Summary(run, tallies, problems, complete, seconds, *moved, requests, records, variants)
        unfinished = not complete or summary.items(State.PLANNED) + summary.items(State.INTENDED) > 0
        unfinished = unfinished or any(t.records for t in records if t.state in _WAITING)
        error = error or self._stop_error(unfinished)
        status = self._status(summary, error)
        with contextlib.suppress(MigratorError):
            await self._ledger.finish_run(run, status, requests, moved)
        return Result(summary, error, status)

    def _status(self, summary: Summary, error: MigratorError | None) -> int:
        if error is None:
            rows = any(tally.records for tally in summary.records if tally.state is RecordState.FAILED)
            failed = [tally for tally in summary.variants if tally.state == State.FAILED and tally.variants]
            variants = self._later is not None and any(map(self._later.wants, failed))
            return 1 if summary.items(State.FAILED) or summary.problems or rows or variants else 0
        return 128 + error.signal_number if isinstance(error, Interrupted) else error.exit_status

    def _stop_error(self, unfinished: bool) -> MigratorError | None:
        again = "run the same command again to go on"
        if self._stop.signal_number:
            return Interrupted(self._stop.signal_number, self._stop.reason, again)
        if self._stop.limit and unfinished:
            return LimitReached(self._stop.reason, again)
        return None


def _unreachable() -> Fatal:
    minutes = BREAKER_PAUSE * BREAKER_PROBES / 60
    return Fatal(
        f"the destination has not answered for {minutes:.0f} minutes",
        side=Side.DESTINATION,
        hint="nothing is lost; run the same command when it is back",
    )
