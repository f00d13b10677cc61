"""`verify`: a Config and what the operator asked for -> what the destination was found to hold."""

import asyncio
from dataclasses import dataclass

from migrator.core.config import BucketSource, Config, DirectorySource
from migrator.core.errors import Interrupted, MigratorError, PreflightError
from migrator.core.keys import compile_template
from migrator.core.model import Match, VerificationSummary
from migrator.core.ports import Observer
from migrator.engine.stopping import Stop
from migrator.engine.verify import Verify, VerifyOptions
from migrator.ledger.sqlite import SqliteLedger
from migrator.wiring.adapters import chosen_bucket, make_reader, open_ledger, open_store, selected
from migrator.wiring.moving import check_bucket


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What a verification found, the error that stopped it (if any) and the exit status."""

    summary: VerificationSummary
    error: MigratorError | None
    exit_status: int


def verify(config: Config, options: VerifyOptions, observer: Observer) -> VerifyResult:
    """Looks at what the ledger calls stored. Raises MigratorError when it cannot even start."""
    selected(config, options.names)
    if not config.ledger_path.exists():
        raise PreflightError(
            f"there is no ledger at {config.ledger_path}", "nothing was migrated yet: `migrator migrate`"
        )

    async def run() -> VerifyResult:
        stop = Stop()
        with stop.on_signals():
            async with open_ledger(config) as ledger:
                return await _verify(config, options, observer, ledger, stop)

    return asyncio.run(run())


async def _verify(
    config: Config, options: VerifyOptions, observer: Observer, ledger: SqliteLedger, stop: Stop
) -> VerifyResult:
    bucket = await chosen_bucket(config, ledger)
    error: MigratorError | None = None
    async with open_store(config, bucket) as store:
        await check_bucket(store)
        run = await ledger.begin_run("verify", config.digest)
        reader = make_reader(config)
        try:
            await Verify(
                config, bucket, ledger, store, reader, observer, stop, options, _prefixes(config), _here(config, bucket)
            ).execute()
        except MigratorError as stopped:
            error = stopped
        finally:
            await reader.close()
        summary = (await ledger.verifications())[-1]
        status = _status(summary, error)
        await ledger.finish_run(run, status, dict(store.requests), (0, 0))
    return VerifyResult(summary, error, status)


def _status(summary: VerificationSummary, error: MigratorError | None) -> int:
    """What is extra is no difference: it may have stood there before."""
    if error is None:
        return int(any(count for result, count in summary.results.items() if result is not Match.MATCH))
    return 128 + error.signal_number if isinstance(error, Interrupted) else error.exit_status


def _prefixes(config: Config) -> list[str]:
    """What every key of the migration begins with, folder by folder, none of them below another."""
    templates = [source.key for source in config.sources] + [variant.key for variant in config.variants]
    starts = sorted({config.destination.prefix + _folder(text) for text in templates})
    return [start for start in starts if not any(start != other and start.startswith(other) for other in starts)]


def _folder(template: str) -> str:
    before, slash, _ = compile_template(template).pieces[0].rpartition("/")
    return before + slash


def _here(config: Config, bucket: str) -> str:
    """How locations begin that may lie in the destination itself; empty where no source can have any."""
    if config.destination.folder is not None:
        return ""
    kinds = [source for source in config.sources if not isinstance(source, DirectorySource)]
    possible = any(not isinstance(source, BucketSource) or source.bucket == bucket for source in kinds)
    return f"s3://{bucket}/" if possible else ""
