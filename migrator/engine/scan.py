"""Source -> Ledger: page by page, the cursor saved with each, so that a scan that is killed goes on where it was."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from migrator.core.errors import Fatal, ObjectError, Throttled, Transient
from migrator.core.ledger_ports import Ledger
from migrator.core.model import Page
from migrator.core.ports import EventKind, Observer, Source
from migrator.core.threads import in_thread
from migrator.engine.gate import BREAKER_PAUSE, BREAKER_PROBES
from migrator.engine.probe import patiently

TRY_EVERY, TRIES = BREAKER_PAUSE, BREAKER_PROBES
"""A source that answered at first and then no more is waited for as a destination is that is away."""


async def scan(
    source: Source, ledger: Ledger, observer: Observer, stop: asyncio.Event, found: Callable[[], None]
) -> bool:
    """Enters what `source` still has to list; calls `found` after each page. False when `stop` came first."""
    cursor, complete = await ledger.cursor(source.name)
    if complete:
        return True
    pages = source.scan(cursor)
    silence = _Silence(source.name, observer)

    async def next_page() -> Page | None:
        nonlocal pages
        try:
            return await in_thread(lambda: next(pages, None), "migrator-scan")
        except ObjectError:
            pages = source.scan(cursor)  # a scan that has failed is over: another one goes on where it was
            raise

    # One page at a time, not the next one while this one is entered: two threads would only fight for the interpreter.
    while not stop.is_set():
        try:
            page = await (next_page() if silence.tries else patiently(next_page))
        except (Transient, Throttled) as error:
            silence.goes_on(error)
            await _pause(stop)
            continue
        silence.ends()
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


@dataclass(slots=True)
class _Silence:
    """How long a source has not answered; one that never did is worth no waiting, somebody looks on and can mend it."""

    source: str
    observer: Observer
    answered: bool = False
    tries: int = 0

    def goes_on(self, error: ObjectError) -> None:
        """Raises Fatal where it lasts too long: nothing that is planned has failed by it."""
        if not self.answered or self.tries == TRIES:
            again = "run the same command again: it goes on where it was"
            raise Fatal(error.message, side=error.side, hint=again) from None
        if not self.tries:
            text = f"the source {self.source} does not answer: its scan waits; one try every {TRY_EVERY:.0f} s"
            self.observer.event(EventKind.PAUSED, text, reason=error.message)
        self.tries += 1

    def ends(self) -> None:
        """An answer came."""
        if self.tries:
            self.observer.event(EventKind.RESUMED, f"the source {self.source} answers again")
        self.answered, self.tries = True, 0


async def _pause(stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(TRY_EVERY):
            await stop.wait()
