"""Commands that tell of the past: runs, events; and the check of the audit log."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec.structs import asdict

from migrator.cli.options import CONFIG_FILE, ConfigFile, Json
from migrator.cli.output import Output, complain
from migrator.cli.summary import aligned
from migrator.core.audit import Deed, Wanted, spelled
from migrator.core.errors import ConfigError, LedgerError

if TYPE_CHECKING:
    from migrator.core.audit import Event, Head
    from migrator.core.config import Config

Newest = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="The newest N only.")]


def runs(config_file: ConfigFile = CONFIG_FILE, limit: Newest = None, as_json: Json = False) -> int:
    """List the runs and how they ended.

    What, when, how long, how many objects and bytes, requests; the newest last.

    \b
    Examples:
      migrator runs
      migrator runs --limit 5
      migrator runs --json | jq '.runs[] | select(.ended == "killed")'
    """
    from migrator import wiring
    from migrator.reports.history import RUN_HEADS, RUN_SIDES, how_it_ended, run_row
    from migrator.reports.tree import run_tree

    config = wiring.load_config(config_file, {})
    with wiring.view(config) as view:
        found, running = view.runs(), view.running()
    chosen = found[-limit:] if limit else found
    output = Output(as_json=as_json)
    if as_json:
        output.emit({"runs": [{**run_tree(run), "ended": how_it_ended(run, running)} for run in chosen]})
    elif chosen:
        output.say(aligned([RUN_HEADS, *(run_row(run, running) for run in chosen)], RUN_SIDES))
    else:
        output.say(["no runs yet"])
    return 0


def events(
    config_file: ConfigFile = CONFIG_FILE,
    key: Annotated[
        str,
        typer.Option("--key", metavar="TEXT", help="Names with this in them; with * or ? a pattern of whole names."),
    ] = "",
    source: Annotated[str, typer.Option("--source", metavar="NAME", help="Of this source only.")] = "",
    run: Annotated[int | None, typer.Option("--run", metavar="N", min=0, help="Of this run; 0: outside any.")] = None,
    deed: Annotated[str, typer.Option("--deed", metavar="DEED", help=f"One of {', '.join(Deed)}.")] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help='Not older than this, such as "90m" or "7d".')
    ] = "",
    limit: Newest = None,
    as_json: Json = False,
) -> int:
    """List what was changed outside the ledger.

    From the audit log: objects, rows, sources, buckets; the newest last.

    \b
    Examples:
      migrator events --limit 20
      migrator events --key 'lots/2019/*' --deed delete
      migrator events --key 1234.jpg               what ever happened to it
      migrator events --since 1h --json            JSON lines, with sizes, digests and versions
    """
    from migrator import wiring

    wanted = Wanted(key, source, run, _deed(deed), _moment(since), limit)
    config = wiring.load_config(config_file, {})
    found = wiring.events(config, wanted)
    lines = map(_json, found) if as_json else _table(found, [each.name for each in config.sources])
    said = False
    # Written as they come: the log may be long, and whoever reads may have seen enough.
    for line in lines:
        said = True
        sys.stdout.write(f"{line}\n")
    if not said:
        complain(["nothing in the audit log is like that"])
    return 0


def _json(event: "Event") -> str:
    return json.dumps(asdict(event), ensure_ascii=False)


def _table(events: Iterator["Event"], sources: Sequence[str]) -> Iterator[str]:
    from migrator.reports.history import event_head, event_line

    for number, event in enumerate(events):
        if not number:
            yield event_head(sources)
        yield event_line(event, sources)


def _deed(deed: str) -> str:
    if deed and deed not in list(Deed):
        raise ConfigError(f"--deed {deed}: there is no such deed", hint=f"one of {', '.join(Deed)}")
    return deed


def _moment(since: str) -> str:
    """When that was, as the log spells times; empty for ever."""
    from migrator.core.quantities import parse_duration

    try:
        return spelled(time.time() - parse_duration(since)) if since else ""
    except ValueError as error:
        raise ConfigError(f"--since {since}: {error}") from None


def check(config_file: Path, *, as_json: bool) -> int:
    """Says whether the audit log is as it was written, and returns the exit status."""
    from migrator import wiring
    from migrator.reports.history import checked_lines, checked_tree

    config = wiring.load_config(config_file, {})
    checked = wiring.check_audit(config)
    output = Output(as_json=as_json)
    if as_json:
        output.emit({"audit_log": str(config.audit_path), **checked_tree(checked)})
    else:
        output.say([f"{config.audit_path}: {line}" if not n else line for n, line in enumerate(checked_lines(checked))])
    return LedgerError.exit_status if checked.broken else 0


def head_of(config: "Config") -> "Head | None":
    """The last line of the audit log, for the end of a command that changed something."""
    from migrator import wiring

    with wiring.view(config) as view:
        return view.audit_head()


commands: dict[str, Callable[..., Any]] = {"runs": runs, "events": events}
