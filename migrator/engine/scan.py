"""Source -> Ledger: page by page, the cursor saved with each, so that a scan that is killed goes on where it was."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from migrator.core.errors import Fatal, ObjectError, Throttled, Transient
from migrator.core.ledger_ports import Ledger
from migrator.core.model import Page
from migrator.core.ports import Observer, Source
from migrator.core.threads import in_thread
from migrator.engine.probe import patiently

T = TypeVar("T")


async def scan(
    source: Source, ledger: Ledger, observer: Observer, stop: asyncio.Event, found: Callable[[], None]
) -> bool:
    """Enters what `source` still has to list; calls `found` after each page. False when `stop` came first."""
    cursor, complete = await ledger.cursor(source.name)
    if complete:
        return True
    pages = source.scan(cursor)

    async def next_page() -> Page | None:
        nonlocal pages
        try:
            return await in_thread(lambda: next(pages, None), "migrator-scan")
        except ObjectError:
            pages = source.scan(cursor)  # a scan that has failed is over: another one goes on where it was
            raise

    # One page at a time, not the next one while this one is entered: two threads would only fight for the interpreter.
    while not stop.is_set():
        page = await _patiently(next_page)
        if page is None:
            await ledger.finish_scan(source.name)
            observer.scan_complete(source.name)
            found()
            return True
        new = await ledger.add(source.name, page)
        cursor = page.cursor
        observer.page(source.name, page, new)
        found()
    return False


async def _patiently(step: Callable[[], Awaitable[T]]) -> T:
    """Tries again what may pass. Raises Fatal where it does not: nothing that is planned has failed by it."""
    try:
        return await patiently(step)
    except (Transient, Throttled) as error:
        raise Fatal(
            error.message, side=error.side, hint="run the same command again: it goes on where it was"
        ) from None
