"""Config -> adapters: the only file that names concrete classes."""

import contextlib
import functools
import os
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from migrator.core.config import BucketSource, Config, DirectorySource, ManifestSource, SourceConfig, TableSource
from migrator.core.errors import LedgerError, PreflightError
from migrator.core.keys import Naming, key_problem
from migrator.core.objects import Capabilities
from migrator.core.places import place_of_destination, place_of_item, place_of_source, same_place
from migrator.core.ports import Copier, Inventory, Reader, Renderer, Source, Store
from migrator.ledger.sqlite import SqliteLedger
from migrator.ledger.view import LedgerView
from migrator.stores.readers import SchemeReader
from migrator.wiring.open_files import make_room
from migrator.wiring.trash import hidden_folders

if TYPE_CHECKING:
    from migrator.clients.database import Database
    from migrator.records.by_source import RecordsBySource
    from migrator.records.values import NewValues
    from migrator.sources.bucket import BucketScan
    from migrator.sources.table import TableScan


def view(config: Config) -> LedgerView:
    """The ledger, read only; works while a run writes it. Raises LedgerError when there is none."""
    return LedgerView.open(config.ledger_path)


def naming_of(config: Config, known: Capabilities | None) -> Naming:
    """How keys are made, and which of them the destination cannot hold, as far as that is known."""
    folder = config.destination.folder
    refuses: Callable[[str], str | None] = key_problem
    if folder is not None:
        from migrator.stores.folder import file_problem

        refuses = functools.partial(file_problem, os.path.realpath(folder))
    elif known and known.alters:

        def refuses(key: str) -> str | None:
            return key_problem(key) or known.refuses(key)

    return Naming(config.destination.prefix, config.carry, refuses)


def make_source(source: SourceConfig, config: Config, bucket: str, naming: Naming) -> Source:
    """The adapter that lists `source`; `bucket` is the one in use (see `chosen_bucket`)."""
    match source:
        case DirectorySource():
            from migrator.sources.directory import DirectoryScan

            return DirectoryScan(source, naming, hidden=hidden_folders(config))
        case ManifestSource():
            from migrator.sources.manifest import ManifestScan

            return ManifestScan(source, naming)
        case BucketSource():
            return _bucket_scan(source, config, bucket, naming)
        case TableSource():
            return table_scan(source, config, bucket, naming)


def _bucket_scan(source: BucketSource, config: Config, bucket: str, naming: Naming) -> "BucketScan":
    from migrator.sources.bucket import BucketScan

    return BucketScan(
        source,
        naming,
        place=place_of_source(source, config.destination),
        destination=None if config.destination.url else place_of_destination(config.destination, bucket),
        transfer=config.transfer,
    )


def table_scan(source: TableSource, config: Config, bucket: str, naming: Naming) -> "TableScan":
    """The adapter of a `table` source, which can be asked for the columns of its query too."""
    from migrator.sources.table import TableScan

    here = place_of_destination(config.destination, bucket)

    @functools.cache
    def stands_here(bucket: str) -> bool:
        return same_place(place_of_item(config, source.name, bucket), here) is True

    database = open_database(source, config)
    return TableScan(source, naming, database, stands_here=stands_here)


def open_database(source: TableSource, config: Config) -> "Database":
    """The database of `source`; connects when it is used. Raises PreflightError where URL or driver cannot be had."""
    from migrator.clients.database import Database, url_of  # SQLAlchemy takes its time: only tables wait for it

    transfer = config.transfer
    return Database(url_of(source), timeout=transfer.timeout, connect_timeout=transfer.connect_timeout)


def make_records(config: Config, sources: Sequence[SourceConfig], bucket: str) -> "RecordsBySource | None":
    """The rows that `sources` update; None where none of them does. `bucket` is the one in use."""
    updating = [source for source in sources if isinstance(source, TableSource) and source.update]
    if not updating:
        return None
    from migrator.records.by_source import RecordsBySource
    from migrator.records.rows import SourceRows

    return RecordsBySource(
        {
            source.name: SourceRows(source, open_database(source, config), new_values(source, config, bucket))
            for source in updating
        }
    )


def new_values(source: TableSource, config: Config, bucket: str) -> "NewValues":
    """What the rows of `source`, which updates some, are to hold."""
    from migrator.records.values import NewValues

    assert source.update is not None
    return NewValues(source.update, config.destination, bucket)


def make_renderer(config: Config) -> Renderer | None:
    """What makes variants, in processes that start when the first image comes; None where none are wanted."""
    if not any(config.variants_of(source) for source in config.sources):
        return None
    return open_renderer()


def open_renderer() -> Renderer:
    """The same, whatever is wanted."""
    from migrator.images.pool import RenderPool

    return RenderPool()


def make_reader(config: Config) -> Reader:
    """Opens the locations of all sources; each reads below its own root only."""
    from migrator.stores.local import LocalReader
    from migrator.stores.source_root import LocalRoot

    readers: dict[str, Reader] = {}
    roots = {
        source.name: LocalRoot(
            # A manifest names its files itself, through whatever link; they must lie below the root all the same.
            os.path.realpath(source.root),
            not isinstance(source, DirectorySource) or source.follow_symlinks,
        )
        for source in config.sources
        if source.root is not None
    }
    readers["file"] = LocalReader(roots, threads=config.transfer.concurrency)
    listed = [source for source in config.sources if isinstance(source, ManifestSource | TableSource)]
    if listed:
        from migrator.stores.http import HttpReader  # aiohttp takes its time: who moves files need not wait for it

        http = HttpReader(config.transfer, [source.name for source in listed if source.allow_private])
        readers |= {"http": http, "https": http}
    if listed or any(isinstance(source, BucketSource) for source in config.sources):
        from migrator.stores.s3_reader import S3Reader

        readers["s3"] = S3Reader(functools.partial(place_of_item, config), config.transfer)
    return SchemeReader(readers)


class Destination(Store, Inventory, Protocol):
    """A Store that can say what stands in it, and beforehand whether it is usable at all."""

    async def check_bucket(self) -> None:
        """Raises PreflightError, in words, when it is not."""
        ...


@contextlib.asynccontextmanager
async def open_store(config: Config, bucket: str) -> AsyncIterator[Destination]:
    """The destination: `bucket`, or the folder of a `file:///` URL. Raises ConfigError for too few open files."""
    make_room(config.transfer.concurrency)
    folder = config.destination.folder
    store: Destination
    if folder is not None:
        from migrator.stores.folder import FolderStore

        store = FolderStore(folder, threads=config.transfer.concurrency)
    else:
        from migrator.stores.s3 import S3Store

        store = await S3Store.open(config.destination, config.transfer, bucket=bucket)
    try:
        yield store
    finally:
        await store.close()


def make_copier(config: Config, bucket: str, store: Store) -> Copier | None:
    """What the server of `store`, the destination, copies into it by itself; None where it is no server."""
    if config.destination.folder is not None:
        return None
    from migrator.stores.s3 import S3Store

    assert isinstance(store, S3Store)
    here = place_of_destination(config.destination, bucket)
    return store.copier(here, functools.partial(place_of_item, config))


@contextlib.asynccontextmanager
async def open_ledger(config: Config, *, planning: bool = False) -> AsyncIterator[SqliteLedger]:
    """The ledger, locked for this process, and sure to belong to this destination; a plan may go on unfinished."""
    ledger = SqliteLedger.open(config.ledger_path, name=config.name)
    try:
        here = config.destination.url or f"{config.destination.bucket}/{config.destination.prefix}"
        before = await ledger.get_meta("destination")
        if before is None:
            await ledger.set_meta("destination", here)
        elif before != here:
            raise LedgerError(
                f"the ledger {config.ledger_path} belongs to the destination {before}, not to {here}",
                'give the new migration another "name", or put the destination back',
            )
        if not planning:
            await ledger.finish_plan()
        yield ledger
    finally:
        ledger.close()


async def chosen_bucket(config: Config, ledger: SqliteLedger) -> str:
    """The bucket in use: the one that setup took, else the configured one."""
    return (await ledger.get_meta("bucket")) or config.destination.bucket


def selected(config: Config, names: Sequence[str]) -> list[SourceConfig]:
    """The sources called `names`, or all. Raises PreflightError for a name that is none."""
    known = [source.name for source in config.sources]
    for name in names:
        if name not in known:
            raise PreflightError(f"there is no source called {name!r}", f"the sources are: {', '.join(known)}")
    return [source for source in config.sources if not names or source.name in names]
