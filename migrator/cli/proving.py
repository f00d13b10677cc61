"""Commands that prove: verify."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from migrator.cli.options import CONFIG_FILE, ConfigFile, Json, LogFile, Quiet, SourceNames, Verbose
from migrator.cli.output import Output, observing, paint
from migrator.cli.summary import aimed, command
from migrator.core.errors import ConfigError, Interrupted
from migrator.core.secrets import mask_text
from migrator.core.verification import Match
from migrator.reports import words
from migrator.reports.verification import named, proofs, verdict

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.ledger.view import LedgerView
    from migrator.wiring.proving import VerifyResult

SHOWN = 10
"""Differences that are shown one by one; the report names more, and lists all."""


def verify(
    config_file: ConfigFile = CONFIG_FILE,
    download: Annotated[
        bool, typer.Option("--download", help="Read every byte back, whatever the server says.")
    ] = False,
    sources: Annotated[
        bool, typer.Option("--sources", help="Read every source again too: it must still be what was stored.")
    ] = False,
    sample: Annotated[
        str, typer.Option("--sample", metavar="SHARE", help='Look at a share of the objects only, such as "1%".')
    ] = "100%",
    source: SourceNames = None,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> int:
    """Hold what stands in the destination against the ledger: presence, size, bytes, metadata.

    Where the server checked the SHA-256 that it keeps, one request an object tells; elsewhere the object is read back.
    The same command again goes on where it was stopped. Nothing is changed but the ledger. Exit status 1: an object
    differs, is missing, or could not be told.

    \b
    Examples:
      migrator verify                      every object, and keys that nobody explains
      migrator verify --sample 1%          one in a hundred, others each time
      migrator verify --download           read everything back
      migrator verify --sources            and compare with the sources as they are now
    """
    from migrator import wiring
    from migrator.cli.observers.counts import Counts
    from migrator.cli.observers.several import Several
    from migrator.cli.observers.verifying import Verifying
    from migrator.engine.verify import VerifyOptions

    options = VerifyOptions(download, sources, _share(sample), tuple(source or ()))
    config = wiring.load_config(config_file, {})
    output = Output(verbose, quiet, as_json, log_file)
    shown = [] if quiet or as_json else [Verifying(each=verbose > 0)]
    with observing(Output(verbose, quiet=True, log_file=log_file), config, "verify", Counts()) as log:
        result = wiring.verify(config, options, Several([log, *shown]))
    if as_json:
        output.emit(_tree(result))
    else:
        with wiring.view(config) as view:
            output.say(_lines(result, view, config_file))
    return result.exit_status


def _share(text: str) -> float:
    number, percent = (text[:-1], 100.0) if text.endswith("%") else (text, 1.0)
    try:
        share = float(number) / percent
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ConfigError(f'--sample {text}: expected a share such as "1%" or 0.01, above 0 and at most 100%')
    return share


def _tree(result: "VerifyResult") -> dict[str, object]:
    summary = result.summary
    return {
        "event": "summary",
        "scope": summary.scope,
        **{match.value: count for match, count in summary.results.items()},
        "extra": summary.extra,
        "compared_by": {proof.value: count for proof, count in summary.proofs.items()},
        "complete": summary.finished_at is not None,
        "stopped": mask_text(str(result.error)) if result.error else "",
        "seconds": round(result.seconds, 3),
        "run_requests": result.requests,
        "exit_status": result.exit_status,
    }


def _lines(result: "VerifyResult", view: "LedgerView", config_file: "Path") -> Iterator[str]:
    seen = result.summary
    pace = f" ({words.rate(result.looked_at / result.seconds)} objects/s)" if result.seconds >= 1 else ""
    looked = words.count(result.looked_at, "object")
    yield f"Looked at {looked} in {words.duration(result.seconds)}{pace}: {seen.scope}."
    yield ""
    yield "  " + paint(verdict(seen), "yellow" if seen.wrong else "green")
    if compared := proofs(seen):
        yield f"  {'compared':<8} {compared}"
    for match in (Match.DIFFER, Match.MISSING, Match.UNKNOWN):
        if seen.results[match]:
            number = words.count(seen.results[match])
            yield paint(f"  {match:<8} {number}: {words.MATCH_MEANING[match]}", "red")
    if seen.extra:
        yield f"  {words.EXTRA:<8} {words.count(seen.extra)}: {words.MATCH_MEANING[words.EXTRA]}"
    first = list(view.differences(SHOWN))
    if first:
        yield ""
        yield from (f"  {line}" for line in named(first))
        more = seen.wrong + (seen.extra or 0) - len(first)
        if more > 0:
            yield f"  and {words.count(more)} more"
    yield ""
    yield from _next(result, config_file)


def _next(result: "VerifyResult", config_file: "Path") -> Iterator[str]:
    if result.error:
        yield f"Stopped: {mask_text(result.error.message)}"
        if result.error.hint and not isinstance(result.error, Interrupted):
            yield f"  what to do: {aimed(mask_text(result.error.hint), config_file)}"
        yield "next    the same command again goes on where this stopped"
    elif result.summary.wrong:
        found = [match for match in Match if match is not Match.MATCH and result.summary.results[match]]
        for match in found:
            yield f"{match:<7} {aimed(words.MATCH_ADVICE[match], config_file)}"
        yield f"next    `{command('report', config_file)} --format differences -o differences.csv` lists all of them"
    else:
        yield f"next    `{command('report', config_file)}` says so on one page"


commands = {"verify": verify}
