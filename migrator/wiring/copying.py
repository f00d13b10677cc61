"""Whether the destination's server copies what is to be moved: asked before a run, and by `test-connection`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from msgspec import Struct

from migrator.core.config import BucketSource, Config, SourceConfig, TableSource
from migrator.core.errors import PreflightError
from migrator.core.objects import Capabilities, CopyMode
from migrator.core.places import s3_location
from migrator.core.ports import Copier, EventKind, Observer, Store
from migrator.engine.copy_probe import CopyProbe
from migrator.engine.copying import Copies
from migrator.engine.probe import Finding
from migrator.ledger.sqlite import SqliteLedger
from migrator.wiring.adapters import make_copier
from migrator.wiring.canaries import noted_canary

INSTEAD = "--copy-mode auto lets the bytes pass through here"


class Prepared(Struct, frozen=True):
    """What a run needs to know. `listed_first`: keys of the destination should be listed before anything is copied."""

    copies: Copies
    capabilities: Capabilities
    listed_first: bool = False


@asynccontextmanager
async def prepared(
    config: Config,
    sources: Sequence[SourceConfig],
    mode: CopyMode,
    bucket: str,
    store: Store,
    ledger: SqliteLedger,
    known: Capabilities,
    observer: Observer,
) -> AsyncIterator[Prepared]:
    """Asks what is not known yet. Raises PreflightError where `mode` wants what cannot be had."""
    copier = None if mode is CopyMode.STREAM else make_copier(config, bucket, store)
    try:
        if mode is CopyMode.SERVER:
            await _require(config, sources, copier)
        sure = [source for source in sources if copier and await _copies_from(source, copier)]
        if copier is None or not (sure or mode is CopyMode.SERVER or any(map(_may_name_buckets, sources))):
            yield Prepared(Copies(None, mode), known)
            return
        if known.copies is None:
            observer.event(EventKind.NOTE, "finding out how the destination's server copies")
            known, _ = await probe_copies(config, bucket, store, copier, known, ledger)
            store.requests.clear()  # the canaries belong to no run
            await ledger.keep_capabilities(known)
        if mode is CopyMode.SERVER and not known.copies:
            raise PreflightError("the destination's server does not copy", INSTEAD)
        created = float(await ledger.get_meta("created_at") or 0)
        yield Prepared(Copies(copier, mode, created), known, bool(sure and known.copies and not known.copy_absent))
    finally:
        if copier:
            await copier.close()


async def ask_copies(
    config: Config, bucket: str, store: Store, known: Capabilities
) -> tuple[Capabilities, list[Finding]]:
    """The same for `test-connection`; asks nothing where no source could be copied by the server."""
    copier = make_copier(config, bucket, store)
    if copier is None:
        return known, []
    try:
        for source in config.sources:
            if _may_name_buckets(source) or await _copies_from(source, copier):
                return await probe_copies(config, bucket, store, copier, known)
        return known, []
    finally:
        await copier.close()


async def _copies_from(source: SourceConfig, copier: Copier) -> bool:
    """Whether the objects of `source` surely stand where the destination's server can copy them from."""
    if isinstance(source, BucketSource):
        return not await copier.hindrance(source.name, s3_location(source.bucket, ""))
    if isinstance(source, TableSource) and source.location.startswith("s3://"):
        bucket = source.location[len("s3://") :].partition("/")[0]
        return "{" not in bucket and not await copier.hindrance(source.name, s3_location(bucket, ""))
    return False


def _may_name_buckets(source: SourceConfig) -> bool:
    return isinstance(source, TableSource) and source.location.startswith(("s3://", "{"))


async def _require(config: Config, sources: Sequence[SourceConfig], copier: Copier | None) -> None:
    if copier is None:
        raise PreflightError("--copy-mode server: a folder copies nothing by itself", INSTEAD)
    for source in sources:
        why = ""
        if isinstance(source, BucketSource):
            why = await copier.hindrance(source.name, s3_location(source.bucket, ""))
        elif source.type == "directory":
            why = "it is a directory"
        if source.expect == "image":
            why = 'its content is looked at (expect = "image")'
        if config.variants_of(source):
            why = "it has variants"
        if why:
            raise PreflightError(
                f"--copy-mode server: source {source.name} cannot be copied by the server: {why}", INSTEAD
            )


async def probe_copies(
    config: Config,
    bucket: str,
    store: Store,
    copier: Copier,
    known: Capabilities,
    ledger: SqliteLedger | None = None,
) -> tuple[Capabilities, list[Finding]]:
    """What the server makes of a copy. `ledger` notes the canary, so that the next run removes what a kill leaves."""
    probe = CopyProbe(store, copier, bucket, config.destination.prefix, known)
    async with noted_canary(store, probe.key, ledger):
        return await probe.run(), probe.findings
