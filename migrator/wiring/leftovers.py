"""`orphans`: a Config and what the operator asked for -> what nothing explains, and what became of it."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack

from msgspec import Struct

from migrator.clients import loop
from migrator.core.config import Config
from migrator.core.errors import Interrupted, LedgerError, MigratorError, ObjectError
from migrator.core.model import State
from migrator.core.orphans import Orphan, OrphanTally, Owner, Removal
from migrator.core.ports import Observer
from migrator.engine.orphans import PAGE, OrphanOptions, Orphans
from migrator.engine.ownership import Ground
from migrator.engine.stopping import Stop
from migrator.ledger.sqlite import SqliteLedger
from migrator.stores.folder_tree import TEMPORARY
from migrator.wiring.adapters import Destination, chosen_bucket, open_ledger, open_store
from migrator.wiring.moving import check_bucket
from migrator.wiring.proving import locations_here, written_prefixes

EVERYBODYS = tuple(Owner)


class Found(Struct, frozen=True):
    """What a look found, while the ledger is still open. `removable`: (orphans, bytes) that deleting would take.

    gaps  what could not be looked at
    left  items that another run would still attempt: a killed one may have put what is listed
    """

    tallies: Sequence[OrphanTally]
    each: Callable[[], Iterator[Orphan]]
    removable: tuple[int, int]
    gaps: Sequence[str]
    left: int


class Removed(Struct, frozen=True):
    """What deleting came to: (orphans, bytes) that are gone, and those that still stand.

    `versioned`: what was deleted left its last version and a delete marker.
    """

    gone: tuple[int, int]
    kept: int
    examples: Sequence[Removal]
    versioned: bool


class OrphansResult(Struct, frozen=True):
    """`removed` is None where nothing was to be deleted; `error` stopped it."""

    removed: Removed | None
    error: MigratorError | None
    exit_status: int


def orphans(
    config: Config, options: OrphanOptions, observer: Observer, decide: Callable[[Found], bool]
) -> OrphansResult:
    """Looks, lets `decide` see what was found, and removes what the options name where that says so.

    The ledger stays locked from the first look to the last deletion. Raises MigratorError when it cannot even start.
    """
    if not config.ledger_path.exists():
        raise LedgerError(f"There is no ledger at {config.ledger_path}", "without one, nothing can be explained")
    with loop.runner() as runner:
        session = _Session(config, options, observer)
        try:
            runner.run(session.open())
            return session.result(runner, decide)
        finally:
            runner.run(session.close())


class _Session:
    """One look and what follows it, over an open ledger and an open destination."""

    def __init__(self, config: Config, options: OrphanOptions, observer: Observer) -> None:
        self._config = config
        self._options = options
        self._observer = observer
        self._stop = Stop()
        self._closing = AsyncExitStack()

    async def open(self) -> None:
        config = self._config
        self._ledger: SqliteLedger = await self._closing.enter_async_context(open_ledger(config))
        bucket = await chosen_bucket(config, self._ledger)
        self._store: Destination = await self._closing.enter_async_context(open_store(config, bucket))
        await check_bucket(self._store)
        ground = Ground(
            config.destination.prefix,
            self._ledger.id,
            written_prefixes(config),
            locations_here(config, bucket),
            "" if config.destination.folder is None else f"{TEMPORARY}/",
            float(await self._ledger.get_meta("created_at") or 0),
            await self._ledger.get_meta("canary") or "",
        )
        self._engine = Orphans(
            config, ground, self._ledger.orphans, self._store, self._store, self._observer, self._stop, self._options
        )

    async def close(self) -> None:
        await self._closing.aclose()

    def result(self, runner: asyncio.Runner, decide: Callable[[Found], bool]) -> OrphansResult:
        found = runner.run(self._look(runner))
        if not decide(found):
            return OrphansResult(None, None, _status(_standing(found.tallies) + len(found.gaps), None))
        return runner.run(self._remove(found))

    async def _look(self, runner: asyncio.Runner) -> Found:
        with self._stop.on_signals():
            await self._engine.look()
        tallies = await self._ledger.orphans.orphan_tallies()
        chosen = [tally for tally in tallies if tally.owner in self._options.removed]
        left = [tally for tally in await self._ledger.tallies() if tally.state in (State.PLANNED, State.INTENDED)]
        return Found(
            tallies,
            lambda: self._each(runner),
            (sum(tally.count for tally in chosen), sum(tally.bytes for tally in chosen)),
            self._engine.gaps,
            sum(tally.items for tally in left),
        )

    def _each(self, runner: asyncio.Runner) -> Iterator[Orphan]:
        after = ("", "")
        while page := runner.run(self._ledger.orphans.orphans(after, PAGE, EVERYBODYS)):
            yield from page
            after = (page[-1].key, page[-1].upload_id)

    async def _versioned(self) -> bool:
        try:
            return await self._store.versioned()
        except ObjectError:
            known = await self._ledger.capabilities()
            return known is not None and known.versioned

    async def _remove(self, found: Found) -> OrphansResult:
        engine = self._engine
        run = await self._ledger.begin_run("orphans", self._config.digest)
        error: MigratorError | None = None
        with self._stop.on_signals():
            try:
                await engine.remove()
            except MigratorError as stopped:
                error = stopped
        gone = sum(engine.removed.values())
        left = _standing(found.tallies) - gone
        status = _status(left + len(found.gaps), error)
        await self._ledger.finish_run(run, status, dict(self._store.requests), (0, 0))
        removed = Removed((gone, engine.freed), engine.kept, tuple(engine.examples), await self._versioned())
        return OrphansResult(removed, error, status)


def _standing(tallies: Sequence[OrphanTally]) -> int:
    """Orphans that are one for good: what the next run adopts is none."""
    return sum(tally.count for tally in tallies if tally.owner is not Owner.AWAITED)


def _status(left: int, error: MigratorError | None) -> int:
    if error is None:
        return int(left > 0)
    return 128 + error.signal_number if isinstance(error, Interrupted) else error.exit_status
