"""`migrate`, `plan` and `retry`: a Config and what the operator asked for -> a Result."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from migrator.clients import loop
from migrator.core.config import Config, SourceConfig
from migrator.core.errors import Interrupted, MigratorError, ObjectError, PreflightError, Transient
from migrator.core.model import State, Summary
from migrator.core.objects import Capabilities
from migrator.core.ports import EventKind, Observer, Store
from migrator.engine.probe import Finding, Probe, patiently
from migrator.engine.recording import Recording
from migrator.engine.run import SCAN_ENDS, Result, Run, RunOptions
from migrator.engine.scan import scan
from migrator.engine.stopping import Stop, interruptible
from migrator.engine.worker import Worker
from migrator.ledger.sqlite import SqliteLedger
from migrator.ledger.view import LedgerView
from migrator.wiring.adapters import (
    Destination,
    chosen_bucket,
    make_reader,
    make_records,
    make_renderer,
    make_source,
    naming_of,
    open_ledger,
    open_store,
    selected,
    view,
)
from migrator.wiring.canaries import NOTE, noted_canary
from migrator.wiring.copying import Prepared, prepared
from migrator.wiring.known import keep_capabilities, known_capabilities
from migrator.wiring.planning import begin_scans, finish_plan
from migrator.wiring.same_destination import refuse_another_destination
from migrator.wiring.since_stored import tell_what_changed
from migrator.wiring.unfinished import refuse_after_unfinished_rollback

if TYPE_CHECKING:
    from migrator.records.by_source import RecordsBySource

AGAIN = "run the same command again to go on"
SCAN_AGAIN = "the scan goes on where it was with the same command"


def migrate(config: Config, options: RunOptions, observer: Observer) -> Result:
    """Scans and moves what is left to do. Raises MigratorError when the run cannot even start."""

    async def run(stop: Stop) -> Result:
        async with open_ledger(config, planning=True) as ledger:
            await finish_plan(ledger, observer)
            return await _migrate(config, options, observer, ledger, stop)

    return loop.run(interruptible(run, AGAIN))


async def _migrate(config: Config, options: RunOptions, observer: Observer, ledger: SqliteLedger, stop: Stop) -> Result:
    await refuse_after_unfinished_rollback(ledger)
    bucket = await chosen_bucket(config, ledger)
    chosen = selected(config, options.sources)
    async with AsyncExitStack() as opened:
        store = await opened.enter_async_context(open_store(config, bucket))
        records = await opened.enter_async_context(_rows(config, chosen, bucket))
        await check_bucket(store)
        await refuse_another_destination(ledger, store, bucket or config.destination.url)
        known = await _capabilities(config, ledger, store, observer)
        asking = prepared(config, chosen, options.copy_mode, bucket, store, ledger, known, observer)
        ready = await opened.enter_async_context(asking)
        await _list_first(config, ready, ledger, store, observer)
        wanted = {source.name: config.wanted_variants(source) for source in chosen}
        if options.retry_failed:
            await ledger.retry(None, options.sources or None, wanted)
        again = options.rescan or await _nothing_left(ledger, chosen)
        await begin_scans(config, ledger, chosen, observer, again=again)
        await tell_what_changed(config, ledger, observer)
        naming = naming_of(config, known)
        sources = [make_source(source, config, bucket, naming) for source in chosen]
        run = await ledger.begin_run("migrate", config.digest)
        reader, renderer = make_reader(config), make_renderer(config)
        opened.push_async_callback(reader.close)
        if renderer:
            opened.push_async_callback(renderer.close)
        await ledger.require_variants({source.name: config.needed_variants(source) for source in config.sources})
        worker = Worker(
            config,
            bucket,
            run,
            reader,
            store,
            ledger,
            ready.capabilities,
            observer,
            stop,
            renderer,
            copies=ready.copies,
        )
        later = worker.later_variants(ledger, wanted) if renderer else None
        lanes, recording = config.transfer.concurrency, _recording(config, ledger, records, observer, stop)
        return await Run(ledger, sources, worker, store, observer, stop, options, lanes, recording, later).execute(run)


async def _list_first(
    config: Config, ready: Prepared, ledger: SqliteLedger, store: Destination, observer: Observer
) -> None:
    """Notes the keys of a destination that would not say by itself that one is taken."""
    reason = "" if ready.capabilities.conditional_put else "honours no preconditions"
    if ready.listed_first:
        reason = "would overwrite when it copies"
    if reason:
        observer.event(EventKind.NOTE, f"the destination {reason}: its keys are listed first")
        await ledger.survey(store.keys(config.destination.prefix))


def _recording(
    config: Config, ledger: SqliteLedger, records: "RecordsBySource | None", observer: Observer, stop: Stop
) -> Recording | None:
    if records is None:
        return None
    return Recording(ledger, records, records.names, observer, stop, stop.event, config.transfer.retries)


@asynccontextmanager
async def _rows(config: Config, chosen: Sequence[SourceConfig], bucket: str) -> "AsyncIterator[RecordsBySource | None]":
    """The rows to update, their tables looked at. Raises PreflightError when one cannot be updated as configured."""
    records = make_records(config, chosen, bucket)
    if records is None:
        yield None
        return
    try:
        try:
            await patiently(records.prepare)
        except Transient as error:
            raise PreflightError(error.message, error.hint) from error
        yield records
    finally:
        await records.close()


async def check_bucket(store: Destination) -> None:
    """Raises PreflightError unless the destination is there and answers, now or soon."""
    try:
        await patiently(store.check_bucket)
    except ObjectError as error:
        raise PreflightError(error.message, "run the same command again when it answers") from error


async def _capabilities(config: Config, ledger: SqliteLedger, store: Store, observer: Observer) -> Capabilities:
    """What the ledger knows of this endpoint; probed when it knows nothing."""
    known = await known_capabilities(config, ledger)
    if known is not None and not await ledger.get_meta(NOTE):
        return known
    observer.event(EventKind.NOTE, "finding out what the destination honours")
    capabilities, _ = await probe(config, store, ledger)
    store.requests.clear()  # the canaries belong to no run
    await keep_capabilities(config, ledger, capabilities)
    return capabilities


async def probe(config: Config, store: Store, ledger: SqliteLedger | None = None) -> tuple[Capabilities, list[Finding]]:
    """What the destination honours. `ledger` notes the canary, so that the next run removes what a kill leaves."""
    probe = Probe(store, config.destination.prefix)
    async with noted_canary(store, probe.key, ledger):
        return await probe.run(), probe.findings


async def _nothing_left(ledger: SqliteLedger, chosen: Sequence[SourceConfig]) -> bool:
    """Whether all is done: a migration that is run again then looks for what is new; else it does its work first."""
    scans = [await ledger.cursor(source.name) for source in chosen]
    states = {tally.state for tally in await ledger.tallies() if tally.items}
    return all(complete for _, complete in scans) and not states & {State.PLANNED, State.INTENDED}


class PlanResult(Struct, frozen=True):
    """What a scan found; `ledger` holds the details until `discard`."""

    summary: Summary
    ledger: Path
    temporary: Path | None
    error: MigratorError | None = None

    def view(self) -> LedgerView:
        """The ledger that was planned into."""
        return LedgerView.open(self.ledger)

    def discard(self) -> None:
        """Removes a dry run's throw-away ledger."""
        if self.temporary:
            shutil.rmtree(self.temporary, ignore_errors=True)


def plan(config: Config, names: Sequence[str], observer: Observer, *, dry_run: bool = False) -> PlanResult:
    """Scans into the ledger, or for a dry run into a copy of it that `discard` removes. Nothing moves."""
    if not dry_run:
        return loop.run(interruptible(partial(_plan, config, names, observer, None), SCAN_AGAIN))
    temporary = Path(tempfile.mkdtemp(prefix="migrator-dry-run-"))
    try:
        copy = config.model_copy(update={"checkpoint_dir": temporary})
        if config.ledger_path.exists():
            with view(config) as original:
                original.copy_to(copy.ledger_path)
        return loop.run(interruptible(partial(_plan, copy, names, observer, temporary), SCAN_AGAIN))
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


async def _plan(
    config: Config, names: Sequence[str], observer: Observer, temporary: Path | None, stop: Stop
) -> PlanResult:
    chosen = selected(config, names)
    started = stop.monotonic()

    async def scan_all() -> None:
        for source in sources:
            await scan(source, ledger, observer, stop.event, lambda: None)
        if not stop.event.is_set():
            await finish_plan(ledger, observer)

    async with open_ledger(config, planning=True) as ledger:
        bucket = await chosen_bucket(config, ledger)
        naming = naming_of(config, await known_capabilities(config, ledger))
        sources = [make_source(source, config, bucket, naming) for source in chosen]
        run = await ledger.begin_run("plan", config.digest)
        await tell_what_changed(config, ledger, observer)
        # A plan that was stopped goes on, and begins only what is due otherwise.
        await begin_scans(config, ledger, chosen, observer, again=not ledger.plan_unfinished, moves=False)
        stop.heed()
        scanning = asyncio.create_task(scan_all())
        try:
            await stop.until_done(scanning, SCAN_ENDS)
            if scanning.done():
                await scanning
        finally:
            scanning.cancel()
        problems = await ledger.problem_count()
        tallies = tuple(await ledger.tallies())
        complete = not stop.event.is_set()
        summary = Summary(run, tallies, problems, complete, stop.monotonic() - started, 0, 0)
        wrong = problems + await ledger.collision_count()
        status = 128 + stop.signal_number if stop.signal_number else int(wrong > 0)
        await ledger.finish_run(run, status, {}, (0, 0))
    error = Interrupted(stop.signal_number, stop.reason, SCAN_AGAIN) if stop.signal_number else None
    return PlanResult(summary, config.ledger_path, temporary, error)
