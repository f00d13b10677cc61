"""`setup`, `test-connection` and `smoke`: is everything that a migration needs right, and made so?"""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from msgspec import Struct

from migrator.clients import loop
from migrator.core import audit
from migrator.core.config import Config, DirectorySource, SourceConfig, TableSource
from migrator.core.errors import ConfigError, LedgerError, MigratorError, ObjectError
from migrator.core.keys import Naming
from migrator.core.model import State, Task
from migrator.core.objects import Capabilities
from migrator.core.ports import Observer, Reader
from migrator.core.threads import in_thread
from migrator.engine.run import Result, RunOptions
from migrator.ledger.sqlite import SqliteLedger
from migrator.setup import folder
from migrator.setup.change import Change
from migrator.wiring import auditing
from migrator.wiring.adapters import (
    make_reader,
    make_records,
    make_source,
    naming_of,
    open_database,
    open_ledger,
    open_store,
    table_scan,
    view,
)
from migrator.wiring.copying import ask_copies
from migrator.wiring.known import doubt_capabilities, keep_capabilities
from migrator.wiring.moving import check_bucket, migrate, probe

if TYPE_CHECKING:
    from migrator.setup.columns import MissingColumn

_THREAD = "migrator-check"
ADDED_COLUMNS = "added_columns"
"""Where the ledger keeps the columns that setup added: a JSON list, the oldest first."""


def setup(
    config: Config,
    *,
    dry_run: bool,
    versioning: bool,
    keep: float | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> list[Change]:
    """Makes destination and tables right and returns the changes, carried out unless `dry_run`.

    `keep`: with the lifecycle rules that keep so many seconds of what is overwritten.

    `announce` hears each statement on a table before it is carried out.
    """
    if config.destination.folder is not None:
        changes = folder.prepare(config.destination.folder, dry_run=dry_run)
        made = [auditing.of_folder(change) for change in changes if change.applied]
        loop.run(auditing.note(config, made))
    else:
        changes = _set_up_bucket(config, versioning=versioning, keep=keep, dry_run=dry_run)
    return changes + loop.run(_add_columns(config, dry_run=dry_run, announce=announce))


def lifecycle_rules(config: Config, keep: float) -> list[str]:
    """The lifecycle rules that `setup` would have with this `keep`, a line each. Raises ConfigError for a folder."""
    from migrator.setup import lifecycle

    if config.destination.folder is not None:
        raise ConfigError("--lifecycle: a folder has no lifecycle rules", hint="`migrator orphans` lists what is left")
    return [lifecycle.described(rule) for rule in lifecycle.recommended(config.destination.prefix, keep)]


def _set_up_bucket(config: Config, *, versioning: bool, keep: float | None, dry_run: bool) -> list[Change]:
    from migrator.setup import bucket  # boto3 takes its time: nobody else waits for it

    made: list[audit.Change] = []
    try:
        name, changes = bucket.prepare(
            config.destination,
            versioning=versioning,
            keep=keep,
            dry_run=dry_run,
            done=lambda name, change: made.append(auditing.of_bucket(name, change)),
        )
    except BaseException:
        with contextlib.suppress(LedgerError):
            loop.run(auditing.note(config, made))
        raise
    if not dry_run:
        loop.run(_remember_bucket(config, name, made))
    return changes


async def _add_columns(config: Config, *, dry_run: bool, announce: Callable[[str], None]) -> list[Change]:
    sources = [
        source
        for source in config.sources
        if isinstance(source, TableSource) and source.update and source.update.add_columns
    ]
    changes: dict[str, Change] = {}
    for source in sources:
        from migrator.setup import columns  # SQLAlchemy and Alembic take their time as well

        database = open_database(source, config)
        try:
            missing, notes = columns.inspect(source, database)
            for column in missing:
                change = column.change(applied=not dry_run)
                if not dry_run:
                    # The ledger first: what is added must be noted, and a run that holds it needs the table as it is.
                    async with open_ledger(config) as ledger:
                        announce(column.statement)
                        columns.add(database, column)
                        await _remember_column(ledger, column)
                changes.setdefault(change.what, change)
            changes |= {note.what: note for note in notes if note.what not in changes}
        finally:
            database.close()
    return list(changes.values())


async def _remember_column(ledger: SqliteLedger, column: "MissingColumn") -> None:
    """Notes a column of ours, so that it, and no other, can be taken away again."""
    known = orjson.loads(await ledger.get_meta(ADDED_COLUMNS) or "[]")
    names = ("source", "schema", "table", "name", "type")
    values = {name: getattr(column, name) for name in names} | {"added_at": int(time.time())}
    await ledger.set_meta(ADDED_COLUMNS, orjson.dumps([*known, values]).decode())
    await ledger.note([auditing.of_column(column)])


async def _remember_bucket(config: Config, name: str, made: Sequence[audit.Change]) -> None:
    async with open_ledger(config) as ledger:
        await ledger.note(made)
        await ledger.set_meta("bucket", name)
        await doubt_capabilities(ledger)


class Check(Struct, frozen=True):
    """One line of `test-connection` or `smoke`. `ok` None: good to know, not needed."""

    subject: str
    what: str
    ok: bool | None
    detail: str = ""
    hint: str = ""


def test_connection(config: Config) -> list[Check]:
    """Asks the destination and every source; keeps what it learned in the ledger unless a run holds that."""
    return loop.run(_test_connection(config))


async def _test_connection(config: Config) -> list[Check]:
    checks: list[Check] = []
    capabilities: Capabilities | None = None
    bucket = _bucket_of_ledger(config)
    where = config.destination.url or bucket
    try:
        async with open_store(config, bucket) as store:
            await check_bucket(store)
            checks.append(Check(where, "reach", True, "the destination is there and lets us in"))
            capabilities, findings = await probe(config, store)
            capabilities, more = await ask_copies(config, bucket, store, capabilities)
            findings += more
            checks += [Check(where, finding.what, finding.ok, finding.detail) for finding in findings]
            checks.append(await _keep(config, capabilities))
    except MigratorError as error:
        checks.append(Check(where, "reach", False, error.message, error.hint))
    reader = make_reader(config)
    try:
        for source in config.sources:
            checks += await _check_source(source, config, bucket, naming_of(config, capabilities), reader)
            checks += await _check_rows(source, config, bucket)
    finally:
        await reader.close()
    return checks


async def _check_rows(source: SourceConfig, config: Config, bucket: str) -> list[Check]:
    """Looks whether the table of `source` can be updated as configured; updates nothing."""
    try:
        records = make_records(config, [source], bucket)
        if records is None:
            return []
        try:
            await records.prepare()
        finally:
            await records.close()
    except MigratorError as error:
        return [Check(source.name, "update", False, error.message, error.hint)]
    return [Check(source.name, "update", True, "its table has the columns that are set, and lets us update them")]


def _bucket_of_ledger(config: Config) -> str:
    with contextlib.suppress(LedgerError), view(config) as ledger:
        return ledger.meta("bucket") or config.destination.bucket
    return config.destination.bucket


async def _keep(config: Config, capabilities: Capabilities) -> Check:
    try:
        async with open_ledger(config) as ledger:
            await keep_capabilities(config, ledger, capabilities)
    except LedgerError as error:
        return Check("ledger", "keep", None, f"not kept: {error.message}", error.hint)
    return Check("ledger", "keep", True, f"what was found is in {config.ledger_path}")


async def _check_source(
    source: SourceConfig, config: Config, bucket: str, naming: Naming, reader: Reader
) -> list[Check]:
    """Lists the first page and reads the beginning of its first object; of a query, it asks for the columns first."""
    checks = []
    try:
        if isinstance(source, TableSource):
            columns = await in_thread(table_scan(source, config, bucket, naming).columns, _THREAD)
            checks.append(Check(source.name, "query", True, f"its columns are {', '.join(columns)}"))
        adapter = make_source(source, config, bucket, naming)
        page = await in_thread(lambda: next(adapter.scan(None), None), _THREAD)
    except MigratorError as error:
        return [*checks, Check(source.name, "list", False, error.message, error.hint)]
    if page is None or not page.items:
        problem = page.problems[0].message if page and page.problems else "nothing was found"
        return [*checks, Check(source.name, "list", None, problem, "see `migrator plan` for everything")]
    checks.append(Check(source.name, "list", True, f"{len(page.items)} objects on the first page"))
    item = page.items[0]
    task = Task(0, "", source.name, item.location, item.key, item.size, item.fingerprint, item.fields, item.signed)
    try:
        async with reader.open(task) as body:
            await body.read(1)
            checks.append(Check(source.name, "read", True, f"{item.location} opens"))
    except MigratorError as error:
        checks.append(Check(source.name, "read", False, error.message, error.hint))
    return checks


def smoke(config: Config, samples: Mapping[str, bytes], observer: Observer) -> list[Check]:
    """Moves `samples` through the whole path under `_test/`, reads them back byte for byte and cleans up."""
    with tempfile.TemporaryDirectory(prefix="migrator-smoke-") as folder:
        root = Path(folder, "samples")
        root.mkdir()
        for name, data in samples.items():
            (root / name).write_bytes(data)
        trial = _trial(config, root, Path(folder, "ledger"))
        bucket = _bucket_of_ledger(config)
        trial = trial.model_copy(update={"destination": trial.destination.model_copy(update={"bucket": bucket})})
        result = migrate(trial, RunOptions(), observer)
        return loop.run(_compare(trial, bucket, samples, result))


def _trial(config: Config, root: Path, checkpoints: Path) -> Config:
    source = DirectorySource(type="directory", name="samples", root=root, key="{path}", expect="image")
    prefix = f"{config.destination.prefix}_test/{os.urandom(4).hex()}/"
    destination = config.destination.model_copy(update={"prefix": prefix, "metadata": {}, "tags": {}})
    # Their own keys may ask for columns or groups, which a sample has not.
    variants = tuple(each.model_copy(update={"key": f"{each.name}/{{name}}.{{format}}"}) for each in config.variants)
    changes = {"sources": (source,), "destination": destination, "variants": variants, "checkpoint_dir": checkpoints}
    return config.model_copy(update=changes)


async def _compare(trial: Config, bucket: str, samples: Mapping[str, bytes], result: Result) -> list[Check]:
    checks = []
    prefix = trial.destination.prefix
    async with open_store(trial, bucket) as store:
        for name, data in samples.items():
            try:
                read = b"".join([piece async for piece in store.read(prefix + name)])
                same = read == data
                detail = (
                    f"{len(data)} bytes, the same read back" if same else f"{len(read)} bytes of {len(data)}, altered"
                )
                checks.append(Check(name, "move", same, f"{len(data)} bytes: {detail}"))
            except ObjectError as error:
                checks.append(Check(name, "move", False, error.message, error.hint or result.stopped))
        checks += _variants_made(trial, samples, result)
        for key in [key async for page in store.keys(prefix) for key in page]:
            await store.purge(key)
        left = [key async for page in store.keys(prefix) for key in page]
    checks.append(
        Check(prefix, "clean up", not left, "nothing is left" if not left else f"{len(left)} objects are left")
    )
    return checks


def _variants_made(trial: Config, samples: Mapping[str, bytes], result: Result) -> list[Check]:
    """One line a variant: how many of the samples have it."""
    checks = []
    for name, format_name in [(each.name, one) for each in trial.variants for one in each.formats]:
        tallies = [one for one in result.summary.variants if (one.name, one.format) == (name, format_name)]
        made = sum(one.variants for one in tallies if one.state == State.STORED)
        failed = ", ".join(f"{one.reason} {one.variants}" for one in tallies if one.state == State.FAILED)
        detail = f"{made} of {len(samples)} made" + (f"; failed: {failed}" if failed else "")
        checks.append(Check(f"{name}.{format_name}", "variant", made == len(samples), detail))
    return checks
