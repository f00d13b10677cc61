"""Commands that prove: verify."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from migrator.cli.options import CONFIG_FILE, ConfigFile, Json, LogFile, Quiet, SourceNames, Verbose
from migrator.cli.output import Output, observing, paint
from migrator.cli.summary import command
from migrator.core.errors import ConfigError
from migrator.core.model import Match
from migrator.reports import words

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.core.config import Config
    from migrator.wiring.proving import VerifyResult

SHOWN = 20
"""Differences that are shown one by one; the report lists all."""

WORDS = {
    Match.DIFFER: "not what was stored",
    Match.MISSING: "nothing stands under the key",
    Match.UNKNOWN: "the destination did not tell, however often it was asked",
}


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
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_file: LogFile = None,
    as_json: Json = False,
) -> int:
    """Hold what stands in the destination against the ledger: presence, size, bytes, metadata.

    Where the server keeps a SHA-256 of its own, one request an object tells; elsewhere the object is read back. The
    same command again goes on where it was. Exit status 1: something differs, is missing or did not answer.

    \b
    Examples:
      migrator verify                      every object
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
    shown = [] if quiet or as_json else [Verifying()]
    with observing(Output(verbose, quiet=True, log_file=log_file), config, "verify", Counts()) as log:
        result = wiring.verify(config, options, Several([log, *shown]))
    if as_json:
        output.emit(_tree(result))
    else:
        output.say(_lines(result, config, config_file))
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
        **{match.value: count for match, count in summary.results.items()},
        "extra": summary.extra,
        "complete": summary.finished_at is not None,
        "stopped": result.error.message if result.error else "",
        "exit_status": result.exit_status,
    }


def _lines(result: "VerifyResult", config: "Config", config_file: "Path") -> Iterator[str]:
    from migrator import wiring

    summary, results = result.summary, result.summary.results
    total = sum(results.values())
    matching = f"{words.count(results[Match.MATCH])} of {words.count(total, 'object')} match"
    yield paint(matching, "green" if results[Match.MATCH] == total else "yellow")
    for name in (Match.DIFFER, Match.MISSING, Match.UNKNOWN):
        if results[name]:
            yield paint(f"{name:8} {words.count(results[name], 'object')}: {WORDS[name]}", "red")
    if summary.extra:
        yield f"extra    {words.count(summary.extra, 'key')}: below the prefixes of this migration, and not of it"
    with wiring.view(config) as view:
        for difference in view.differences(SHOWN):
            yield f"  {difference.result:8} {difference.key}" + (
                f": {difference.message}" if difference.message else ""
            )
    if result.error:
        yield f"stopped: {result.error}"
    elif result.exit_status or summary.extra:
        yield f"all of them: `{command('report', config_file)}`"
    else:
        yield "every object is what was stored"


commands = {"verify": verify}
