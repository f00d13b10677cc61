"""When sources are scanned from the beginning, and what is forgotten then: the plan is what they have now."""

import hashlib
import json
from collections.abc import Sequence

from migrator.core.config import Config, SourceConfig, TableSource
from migrator.core.keys import names_in
from migrator.core.model import State
from migrator.core.ports import EventKind, Observer
from migrator.ledger.sqlite import SqliteLedger

_ELSEWHERE = {
    *("name", "variants", "keep_original", "update"),
    *("allow_private", "region", "profile", "endpoint_url", "request_payer", "database_url", "database_url_env"),
}
"""Keys of a source that change how its objects are reached or what is made of them, not which they are."""

_MANY = 5_000_000
"""Objects whose keys are not told apart in a moment."""


async def begin_scans(
    config: Config,
    ledger: SqliteLedger,
    chosen: Sequence[SourceConfig],
    observer: Observer,
    *,
    again: bool,
    moves: bool = True,
) -> None:
    """Begins the scans of `chosen` sources that are due: those that never began, whose configuration has changed, and
    with `again` those that have seen everything.

    A source that the configuration no longer has takes its plan with it. What another one has too must be found
    there, so all are due then. Where nothing moves meanwhile, a plan of everything starts over: `finish_plan` ends it.
    """
    listings = {source.name: listing_of(config, source) for source in config.sources}
    due = list(listings)
    if not await ledger.forget_removed(due):
        due = [s.name for s in chosen if await _due(ledger, s.name, listings[s.name], observer, again)]
    if not moves:
        await ledger.start_over(everything=len(due) == len(listings))
    for name in due:
        await ledger.begin_scan(name, listings[name], spare_shared=len(due) < len(listings))


async def finish_plan(ledger: SqliteLedger, observer: Observer) -> None:
    """Ends a plan that started over, in this process or in one that was stopped."""
    if ledger.plan_unfinished:
        planned = sum(one.items for one in await ledger.tallies())
        if planned >= _MANY:
            observer.event(EventKind.NOTE, f"looking for keys that two of {planned:,} objects have")
        await ledger.finish_plan()


async def _due(ledger: SqliteLedger, source: str, listing: str, observer: Observer, again: bool) -> bool:
    cursor, complete = await ledger.cursor(source)
    if await ledger.listing(source) not in (None, listing):
        tallies = await ledger.tallies()
        stored = sum(one.items for one in tallies if (one.source, one.state) == (source, State.STORED))
        text = f"what {source} asks for has changed: its objects that were not stored yet are planned anew"
        observer.event(EventKind.NOTE, text + (f", the {stored:,} that were stay as they are" if stored else ""))
        return True
    return again if complete else cursor is None


def listing_of(config: Config, source: SourceConfig) -> str:
    """SHA-256 (hex) of all that decides which items a scan of `source` finds, and what it keeps of them."""
    values = source.model_dump(mode="json", exclude=_ELSEWHERE)
    if source.root is not None:
        values["root"] = str(source.root.absolute())
    values |= {"prefix_of_all": config.destination.prefix, "carry": sorted(config.carry)}
    if isinstance(source, TableSource) and source.update:
        values["columns"] = sorted(names_in(source.update.set.values()))
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
