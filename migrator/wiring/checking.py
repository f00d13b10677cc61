"""`setup`, `test-connection` and `smoke`: is everything that a migration needs right, and made so?"""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from migrator.core.config import Config, DirectorySource, SourceConfig
from migrator.core.errors import LedgerError, MigratorError, ObjectError
from migrator.core.model import Capabilities, Task
from migrator.core.ports import Observer, Reader
from migrator.engine.run import Result, RunOptions
from migrator.setup import folder
from migrator.setup.change import Change
from migrator.wiring.adapters import make_reader, make_source, open_ledger, open_store, view
from migrator.wiring.moving import check_bucket, migrate, probe


def setup(config: Config, *, dry_run: bool, versioning: bool) -> list[Change]:
    """Makes the destination right and returns its changes, carried out unless `dry_run`."""
    if config.destination.folder is not None:
        return folder.prepare(config.destination.folder, dry_run=dry_run)
    from migrator.setup import bucket  # boto3 takes its time: nobody else waits for it

    name, changes = bucket.prepare(config.destination, versioning=versioning, dry_run=dry_run)
    if not dry_run:
        asyncio.run(_remember_bucket(config, name))
    return changes


async def _remember_bucket(config: Config, name: str) -> None:
    async with open_ledger(config) as ledger:
        await ledger.set_meta("bucket", name)
        await ledger.set_meta("endpoint", "set up anew")  # what it honours may have changed: the next run asks again


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `test-connection` or `smoke`. `ok` None: good to know, not needed."""

    subject: str
    what: str
    ok: bool | None
    detail: str = ""
    hint: str = ""


def test_connection(config: Config) -> list[Check]:
    """Asks the destination and every source; keeps what it learned in the ledger unless a run holds that."""
    return asyncio.run(_test_connection(config))


async def _test_connection(config: Config) -> list[Check]:
    checks: list[Check] = []
    bucket = _bucket_of_ledger(config)
    where = config.destination.url or bucket
    try:
        async with open_store(config, bucket) as store:
            await check_bucket(store)
            checks.append(Check(where, "reach", True, "the destination is there and lets us in"))
            capabilities, findings = await probe(config, store)
            checks += [Check(where, finding.what, finding.ok, finding.detail) for finding in findings]
            checks.append(await _keep(config, capabilities))
    except MigratorError as error:
        checks.append(Check(where, "reach", False, error.message, error.hint))
    reader = make_reader(config)
    try:
        for source in config.sources:
            checks += await _check_source(source, config, bucket, reader)
    finally:
        await reader.close()
    return checks


def _bucket_of_ledger(config: Config) -> str:
    with contextlib.suppress(LedgerError), view(config) as ledger:
        return ledger.meta("bucket") or config.destination.bucket
    return config.destination.bucket


async def _keep(config: Config, capabilities: Capabilities) -> Check:
    try:
        async with open_ledger(config) as ledger:
            await ledger.keep_capabilities(capabilities)
            await ledger.set_meta("endpoint", config.destination.endpoint_url or config.destination.url)
    except LedgerError as error:
        return Check("ledger", "keep", None, f"not kept: {error.message}", error.hint)
    return Check("ledger", "keep", True, f"what was found is in {config.ledger_path}")


async def _check_source(source: SourceConfig, config: Config, bucket: str, reader: Reader) -> list[Check]:
    """Lists the first page and reads the beginning of its first object."""
    try:
        adapter = make_source(source, config, bucket)
        page = await asyncio.to_thread(lambda: next(adapter.scan(None), None))
    except MigratorError as error:
        return [Check(source.name, "list", False, error.message, error.hint)]
    if page is None or not page.items:
        problem = page.problems[0].message if page and page.problems else "nothing was found"
        return [Check(source.name, "list", None, problem, "see `migrator plan` for everything")]
    checks = [Check(source.name, "list", True, f"{len(page.items)} objects on the first page")]
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
        return asyncio.run(_compare(trial, bucket, samples, result))


def _trial(config: Config, root: Path, checkpoints: Path) -> Config:
    source = DirectorySource(type="directory", name="samples", root=root, key="{path}", expect="image")
    prefix = f"{config.destination.prefix}_test/{os.urandom(4).hex()}/"
    destination = config.destination.model_copy(update={"prefix": prefix, "metadata": {}, "tags": {}})
    changes = {"sources": (source,), "destination": destination, "checkpoint_dir": checkpoints}
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
            await store.purge(prefix + name)
        left = [key async for page in store.keys(prefix) for key in page]
    checks.append(
        Check(prefix, "clean up", not left, "nothing is left" if not left else f"{len(left)} objects are left")
    )
    return checks
