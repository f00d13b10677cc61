"""Source -> Ledger: page by page, the cursor saved with each, so that a scan that is killed goes on where it was."""

import asyncio
from collections.abc import Callable, Iterator

from migrator.core.model import Page
from migrator.core.ports import Ledger, Observer, Source
from migrator.core.threads import in_thread


async def scan(
    source: Source, ledger: Ledger, observer: Observer, stop: asyncio.Event, found: Callable[[], None]
) -> bool:
    """Enters what `source` still has to list; calls `found` after each page. False when `stop` came first."""
    cursor, complete = await ledger.cursor(source.name)
    if complete:
        return True
    pages = source.scan(cursor)
    # One page at a time, not the next one while this one is entered: two threads would only fight for the interpreter.
    while not stop.is_set():
        page = await in_thread(lambda: _next(pages), "migrator-scan")
        if page is None:
            await ledger.finish_scan(source.name)
            observer.scan_complete(source.name)
            found()
            return True
        new = await ledger.add(source.name, page)
        observer.page(source.name, page, new)
        found()
    return False


def _next(pages: Iterator[Page]) -> Page | None:
    return next(pages, None)
