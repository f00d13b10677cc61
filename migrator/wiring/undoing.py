"""`rollback`: a Config and what the operator asked for -> the state before `migrate`, as far as nobody changed it."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack

import orjson
from msgspec import Struct

from migrator.clients import loop
from migrator.core.audit import Change, Deed, Kind
from migrator.core.config import Config, TableSource
from migrator.core.errors import Fatal, Interrupted, Invalid, MigratorError, PreflightError, Transient
from migrator.core.model import Fault, State
from migrator.core.ports import Observer, Store
from migrator.core.records import RecordState
from migrator.core.undoing import Doing, Undone
from migrator.engine.patience import GO_ON
from migrator.engine.probe import patiently
from migrator.engine.returning import SourcesBack
from migrator.engine.rollback import Rollback, RollbackOptions
from migrator.engine.stopping import Stop, interruptible
from migrator.ledger.sqlite import SqliteLedger
from migrator.wiring.adapters import (
    chosen_bucket,
    make_copier,
    make_reader,
    make_records,
    open_database,
    open_ledger,
    open_store,
    selected,
)
from migrator.wiring.canaries import sweep_left
from migrator.wiring.checking import ADDED_COLUMNS
from migrator.wiring.cleaning import open_remover
from migrator.wiring.last_copies import refuse_last_copies
from migrator.wiring.moving import check_bucket
from migrator.wiring.same_destination import refuse_another_destination
from migrator.wiring.unfinished import begin_rollback, end_rollback


class RollbackResult(Struct, frozen=True):
    """What a rollback came to, by kind and deed, what it left alone, the error that stopped it, the exit status."""

    done: Mapping[tuple[str, Doing], int]
    left: int
    examples: tuple[Undone, ...]
    error: MigratorError | None
    exit_status: int


def rollback(
    config: Config,
    options: RollbackOptions,
    observer: Observer,
    *,
    drop_columns: bool = False,
    sources_gone: bool = False,
) -> RollbackResult:
    """Undoes what the ledger says was done. Raises MigratorError when it cannot even start, or would delete the last
    copies, unless `sources_gone` says that this is known.
    """
    selected(config, options.scope.sources)
    if not config.ledger_path.exists():
        raise PreflightError(f"there is no ledger at {config.ledger_path}", "nothing was migrated: nothing to undo")

    async def run(stop: Stop) -> RollbackResult:
        async with open_ledger(config) as ledger:
            if not sources_gone:
                await refuse_last_copies(config, ledger, options.scope)
            return await _rollback(config, options, observer, ledger, stop, drop_columns=drop_columns)

    return loop.run(interruptible(run, GO_ON))


async def _rollback(
    config: Config,
    options: RollbackOptions,
    observer: Observer,
    ledger: SqliteLedger,
    stop: Stop,
    *,
    drop_columns: bool,
) -> RollbackResult:
    bucket = await chosen_bucket(config, ledger)
    error: MigratorError | None = None
    async with open_store(config, bucket) as store, AsyncExitStack() as closing:
        await check_bucket(store)
        await refuse_another_destination(ledger, store, bucket or config.destination.url)
        if not options.dry_run:
            await sweep_left(store, ledger)
        sources = await _sources_of_rows(config, ledger)
        records = make_records(config, sources, bucket)
        if records:
            closing.push_async_callback(records.close)
            try:
                await patiently(records.prepare)
            except Transient as away:
                raise PreflightError(away.message, away.hint) from away
        copier = make_copier(config, bucket, store)
        if copier:
            closing.push_async_callback(copier.close)
        run = 0 if options.dry_run else await ledger.begin_run("rollback", config.digest)
        names = [source.name for source in sources]
        created = float(await ledger.get_meta("created_at") or 0)
        engine = Rollback(
            config, bucket, ledger.undoing, store, copier, records, names, observer, stop, options, created
        )
        engine.sources_back = await _sources_back(config, bucket, ledger, store, observer, stop, options, closing)
        engine.expected = await _expected(ledger, options)
        if run:
            await begin_rollback(ledger, options.scope)
        try:
            await engine.execute()
            if drop_columns:
                await engine.report(await _drop_columns(config, ledger, engine))
        except MigratorError as stopped:
            error = stopped
        if run and not engine.unsettled:
            await end_rollback(ledger, options.scope)
        left_alone = sum(count for (_, doing), count in engine.done.items() if doing is Doing.LEAVE)
        status = _status(left_alone, error)
        if run:
            await ledger.finish_run(run, status, dict(store.requests), (0, 0))
    return RollbackResult(engine.done, left_alone, tuple(engine.left), error, status)


async def _expected(ledger: SqliteLedger, options: RollbackOptions) -> int:
    """About how many things are to be undone, by the ledger's tallies; 0 for those of one run, which have none."""
    names, run = options.scope.sources, options.scope.run
    if run is not None:
        return 0

    def chosen(source: str) -> bool:
        return not names or source in names

    items, rows, variants = await ledger.tallies(), await ledger.record_tallies(), await ledger.variant_tallies()
    stored = sum(one.items for one in items if one.state is State.STORED and chosen(one.source))
    stored += sum(one.variants for one in variants if one.state == State.STORED and chosen(one.source))
    return stored + sum(one.records for one in rows if one.state is RecordState.RECORDED and chosen(one.source))


async def _sources_back(
    config: Config,
    bucket: str,
    ledger: SqliteLedger,
    store: Store,
    observer: Observer,
    stop: Stop,
    options: RollbackOptions,
    closing: AsyncExitStack,
) -> SourcesBack | None:
    """What brings back what a cleanup took away; None where it took nothing of that."""
    if not await ledger.cleaning.removals_to_undo(0, 1, options.scope):
        return None
    remover = await closing.enter_async_context(open_remover(config, bucket, ledger, store))
    reader = make_reader(config)
    closing.push_async_callback(reader.close)
    return SourcesBack(config, ledger.cleaning, remover, reader, observer, stop, options.scope, options.dry_run)


async def _sources_of_rows(config: Config, ledger: SqliteLedger) -> list[TableSource]:
    """Sources whose rows may have been updated. Raises PreflightError when one of them is no longer configured."""
    tallies = await ledger.record_tallies()
    names = {tally.source for tally in tallies if tally.records and tally.state is not RecordState.ROLLED_BACK}
    known = {source.name: source for source in config.sources if isinstance(source, TableSource) and source.update}
    for name in sorted(names - known.keys()):
        for_undoing = [
            t for t in tallies if t.source == name and t.state in (RecordState.INTENDED, RecordState.RECORDED)
        ]
        if for_undoing:
            raise PreflightError(
                f"rows of the source {name!r} were updated, and the configuration has no such source with an `update`",
                "put it back as it was: without it nobody knows where these rows are",
            )
    return [known[name] for name in sorted(names & known.keys())]


def _status(left: int, error: MigratorError | None) -> int:
    if error is None:
        return int(left > 0)
    return 128 + error.signal_number if isinstance(error, Interrupted) else error.exit_status


async def _drop_columns(config: Config, ledger: SqliteLedger, engine: Rollback) -> list[Undone]:
    """Takes away the columns that setup added and in which no row holds a value."""
    options = engine.options
    known = orjson.loads(await ledger.get_meta(ADDED_COLUMNS) or "[]")
    done, kept = [], []
    for column in known:
        undone = await asyncio.to_thread(_drop_column, config, column, engine)
        if undone is None or undone.doing is Doing.LEAVE or options.dry_run:
            kept.append(column)
        if undone is not None:
            done.append(undone)
        if not options.dry_run and len(kept) < len(known):
            if undone is not None and undone.doing is Doing.DROP:
                await ledger.note([Change(Deed.DROP, Kind.COLUMN, undone.name, undone.source)])
            rest = known[known.index(column) + 1 :]
            await ledger.set_meta(ADDED_COLUMNS, orjson.dumps([*kept, *rest]).decode())
    return done


def _drop_column(config: Config, column: Mapping[str, str | None], engine: Rollback) -> Undone | None:
    from migrator.setup import columns  # SQLAlchemy and Alembic take their time: only who drops columns waits for them

    source, table, name = str(column["source"]), str(column["table"]), str(column["name"])
    if engine.options.scope.sources and source not in engine.options.scope.sources:
        return None
    shown = f"{table}.{name}"
    found = [one for one in config.sources if one.name == source and isinstance(one, TableSource)]
    if not found:
        text = f"the configuration has no table source {source!r} any more"
        return Undone(Doing.LEAVE, shown, source, "column", text, Fault.INVALID)
    assert isinstance(found[0], TableSource)
    database = open_database(found[0], config)
    dry_run = engine.options.dry_run
    try:
        filled = columns.filled(database, table, column["schema"], name)
        if filled is None:
            return Undone(Doing.NOTHING, shown, source, "column", "it is no longer there")
        if dry_run:
            filled -= sum(engine.emptied[other, name] for other in _updating(config, found[0]))
        if filled > 0:
            text = f"{filled:,} {'row holds' if filled == 1 else 'rows hold'} a value in it"
            return Undone(Doing.LEAVE, shown, source, "column", text, Fault.CONFLICT)
        if not dry_run:
            columns.drop(database, table, column["schema"], name)
        return Undone(Doing.DROP, shown, source, "column")
    except (Fatal, Invalid, Transient) as error:
        return Undone(Doing.LEAVE, shown, source, "column", str(error), error.fault)
    finally:
        database.close()


def _updating(config: Config, source: TableSource) -> list[str]:
    """Sources that update the same table as `source`."""
    return [
        one.name
        for one in config.sources
        if isinstance(one, TableSource)
        and one.update
        and source.update
        and (one.database_url, one.database_url_env, one.update.table)
        == (source.database_url, source.database_url_env, source.update.table)
    ]
