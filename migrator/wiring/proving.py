"""`verify`: a Config and what the operator asked for -> what the destination was found to hold."""

from msgspec import Struct

from migrator.clients import loop
from migrator.core.config import BucketSource, Config, DirectorySource
from migrator.core.errors import Interrupted, LedgerError, MigratorError, PreflightError
from migrator.core.keys import compile_template
from migrator.core.model import Skip, State
from migrator.core.ports import Observer
from migrator.core.verification import VerificationSummary
from migrator.engine.patience import GO_ON
from migrator.engine.stopping import Stop, interruptible
from migrator.engine.verify import Destination, Verify, VerifyOptions
from migrator.ledger.sqlite import SqliteLedger
from migrator.wiring.adapters import chosen_bucket, make_reader, open_ledger, open_store, selected
from migrator.wiring.known import known_capabilities
from migrator.wiring.moving import check_bucket


class VerifyResult(Struct, frozen=True):
    """What a verification found, the error that stopped it (if any) and the exit status.

    `seconds` and `looked_at` are of this run alone; the summary is of the whole verification.
    """

    summary: VerificationSummary
    error: MigratorError | None
    exit_status: int
    seconds: float
    looked_at: int
    requests: dict[str, int]


def verify(config: Config, options: VerifyOptions, observer: Observer) -> VerifyResult:
    """Looks at what the ledger calls stored. Raises MigratorError when it cannot even start."""
    selected(config, options.names)
    if not config.ledger_path.exists():
        raise LedgerError(f"There is no ledger at {config.ledger_path}", "run `migrator migrate` first")

    async def run(stop: Stop) -> VerifyResult:
        async with open_ledger(config) as ledger:
            return await _verify(config, options, observer, ledger, stop)

    return loop.run(interruptible(run, GO_ON))


async def _verify(
    config: Config, options: VerifyOptions, observer: Observer, ledger: SqliteLedger, stop: Stop
) -> VerifyResult:
    bucket = await chosen_bucket(config, ledger)
    expected = await _expected(ledger, options)
    started = stop.monotonic()
    error: MigratorError | None = None
    async with open_store(config, bucket) as store:
        await check_bucket(store)
        run = await ledger.begin_run("verify", config.digest)
        reader = make_reader(config)
        known = await known_capabilities(config, ledger)
        destination = Destination(store, bucket, known, written_prefixes(config), locations_here(config, bucket))
        verification = Verify(config, destination, ledger.verifying, reader, observer, stop, options, expected)
        try:
            await verification.execute()
        except MigratorError as stopped:
            error = stopped
        finally:
            await reader.close()
        summary = (await ledger.verifying.verifications())[-1]
        requests = dict(store.requests)
        status = _status(summary, error)
        await ledger.finish_run(run, status, requests, (0, 0))
    return VerifyResult(summary, error, status, stop.monotonic() - started, verification.looked, requests)


async def _expected(ledger: SqliteLedger, options: VerifyOptions) -> int:
    """About how many objects stand by the ledger's tallies. Raises PreflightError where none of those to move does."""
    tallies = [tally for tally in await ledger.tallies() if not options.names or tally.source in options.names]
    variants = [tally for tally in await ledger.variant_tallies() if not options.names or tally.source in options.names]
    stored = sum(tally.items for tally in tallies if tally.state is State.STORED or tally.reason == Skip.IDENTICAL)
    stored += sum(tally.variants for tally in variants if tally.state == State.STORED)
    if not stored and any(tally.items for tally in tallies if tally.state is not State.SKIPPED):
        raise PreflightError("nothing stands in the destination yet", "`migrator status` says what is left to move")
    return round(stored * options.sample)


def _status(summary: VerificationSummary, error: MigratorError | None) -> int:
    if error is None:
        return int(summary.wrong > 0)
    return 128 + error.signal_number if isinstance(error, Interrupted) else error.exit_status


def written_prefixes(config: Config) -> list[str]:
    """What every key of the migration begins with, folder by folder, none of them below another."""
    templates = [source.key for source in config.sources] + [variant.key for variant in config.variants]
    starts = sorted({config.destination.prefix + _folder(text) for text in templates})
    return [start for start in starts if not any(start != other and start.startswith(other) for other in starts)]


def _folder(template: str) -> str:
    before, slash, _ = compile_template(template).pieces[0].rpartition("/")
    return before + slash


def locations_here(config: Config, bucket: str) -> str:
    """How locations begin that may lie in the destination itself; empty where no source can have any."""
    if config.destination.folder is not None:
        return ""
    kinds = [source for source in config.sources if not isinstance(source, DirectorySource)]
    possible = any(not isinstance(source, BucketSource) or source.bucket == bucket for source in kinds)
    return f"s3://{bucket}/" if possible else ""
