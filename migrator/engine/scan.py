"""Source -> Ledger: page by page, the cursor saved with each, so that a scan that is killed goes on where it was."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from migrator.core.model import Page
from migrator.core.ports import Ledger, Observer, Source

T = TypeVar("T")


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
        page = await _in_thread(lambda: _next(pages))
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


async def _in_thread(work: Callable[[], T]) -> T:
    """Runs `work` in a daemon thread: a directory that hangs must not keep a stopped run from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            result, error = work(), None
        except BaseException as caught:
            result, error = None, caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="migrator-scan", daemon=True).start()
    return await done
