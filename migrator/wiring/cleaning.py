"""`cleanup`: a Config and what the operator asked for -> sources that are gone, in the trash, or kept for a reason."""

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from msgspec import Struct

from migrator.clients import loop
from migrator.core.cleaning import CleanupSummary, Wanted
from migrator.core.cleaning_ports import Remover
from migrator.core.config import Config
from migrator.core.errors import Interrupted, LedgerError, MigratorError
from migrator.core.objects import Digest
from migrator.core.places import place_of_item
from migrator.core.ports import Observer, Store
from migrator.engine.cleanup import Cleanup
from migrator.engine.patience import GO_ON
from migrator.engine.purging import Purge
from migrator.engine.stopping import Stop, interruptible
from migrator.engine.taking import CleanupOptions, Ends
from migrator.ledger.sqlite import SqliteLedger
from migrator.stores.removers import SchemeRemover
from migrator.wiring.adapters import chosen_bucket, make_reader, open_ledger, open_store, selected
from migrator.wiring.known import known_capabilities
from migrator.wiring.moving import check_bucket
from migrator.wiring.trash import trash_roots
from migrator.wiring.unfinished import refuse_after_unfinished_rollback

CANARIES = "source_canaries"
"""Where the ledger keeps canaries that stand in buckets of sources: JSON, [source, bucket] -> key."""


class CleanupResult(Struct, frozen=True):
    """What a cleanup came to, the error that stopped it (if any), and the exit status."""

    summary: CleanupSummary
    error: MigratorError | None
    exit_status: int


def cleanup(config: Config, options: CleanupOptions, observer: Observer, *, without_condition: bool) -> CleanupResult:
    """Takes sources away, or empties the trash. Raises MigratorError when it cannot even start."""
    selected(config, options.names)
    if not config.ledger_path.exists():
        raise LedgerError(f"There is no ledger at {config.ledger_path}", "nothing was migrated: nothing to clean up")

    async def run(stop: Stop) -> CleanupResult:
        async with open_ledger(config) as ledger:
            return await _cleanup(config, options, observer, ledger, stop, without_condition=without_condition)

    return loop.run(interruptible(run, GO_ON))


async def _cleanup(
    config: Config,
    options: CleanupOptions,
    observer: Observer,
    ledger: SqliteLedger,
    stop: Stop,
    *,
    without_condition: bool,
) -> CleanupResult:
    await refuse_after_unfinished_rollback(ledger)
    bucket = await chosen_bucket(config, ledger)
    error: MigratorError | None = None
    async with (
        open_store(config, bucket) as store,
        open_remover(config, bucket, ledger, store, without_condition=without_condition) as remover,
    ):
        await check_bucket(store)
        reader = make_reader(config)
        run = 0 if options.dry_run else await ledger.begin_run("cleanup", config.digest)
        ends = Ends(remover, reader, store, await _trusted(config, ledger))
        engine = (Purge if options.purge else Cleanup)(
            config, ends, ledger.cleaning, _wanted(config), observer, stop, options
        )
        try:
            await engine.execute()
        except MigratorError as stopped:
            error = stopped
        finally:
            await reader.close()
        status = _status(engine.summary, error)
        if run:
            await ledger.finish_run(run, status, dict(store.requests), (0, 0))
    return CleanupResult(engine.summary, error, status)


def _status(summary: CleanupSummary, error: MigratorError | None) -> int:
    if error is None:
        return int(summary.wrong > 0)
    return 128 + error.signal_number if isinstance(error, Interrupted) else error.exit_status


async def _trusted(config: Config, ledger: SqliteLedger) -> bool:
    """Whether the destination was seen to check the SHA-256 that it keeps."""
    known = await known_capabilities(config, ledger)
    return known is not None and known.keeps_checksum and known.digest.kind is Digest.SHA256


def _wanted(config: Config) -> Wanted:
    return {source.name: config.wanted_variants(source) for source in config.sources}


@asynccontextmanager
async def open_remover(
    config: Config, bucket: str, ledger: SqliteLedger, store: Store, *, without_condition: bool = False
) -> AsyncIterator[Remover]:
    """What takes sources away, and brings them back. Canaries that a killed process left are removed first."""
    from migrator.stores.s3_removal import S3Remover
    from migrator.stores.trash import LocalRemover

    folder = config.destination.folder
    objects = S3Remover(
        functools.partial(place_of_item, config),
        config.transfer,
        destination=None if folder is not None else store,
        destination_bucket=bucket,
        without_condition=without_condition,
        note=functools.partial(_note_canary, ledger),
    )
    files = LocalRemover(trash_roots(config), folder, threads=config.transfer.concurrency)
    remover = SchemeRemover({"file": files, "s3": objects})
    try:
        for source, of_source, key in orjson.loads(await ledger.get_meta(CANARIES) or "[]"):
            await objects.sweep(source, of_source, key)
            await _note_canary(ledger, source, of_source, "")
        yield remover
    finally:
        await remover.close()


async def _note_canary(ledger: SqliteLedger, source: str, bucket: str, key: str) -> None:
    known = orjson.loads(await ledger.get_meta(CANARIES) or "[]")
    left = [one for one in known if one[:2] != [source, bucket]] + ([[source, bucket, key]] if key else [])
    await ledger.set_meta(CANARIES, orjson.dumps(left).decode())
