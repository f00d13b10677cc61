"""What scans ask of the ledger: pages in, cursors, what a scan from the beginning forgets, and how a plan ends."""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from migrator.core.model import Page
from migrator.ledger import forgetting, intake, journal, key_index
from migrator.ledger.audit import AuditLog
from migrator.ledger.latecomers import build_index
from migrator.ledger.noting import Noting
from migrator.ledger.queue import Queue
from migrator.ledger.seal import Seal
from migrator.ledger.writer import Writer

T = TypeVar("T")


class Scanning(Noting):
    """Fills the part of the `Ledger` port that scans use.

    plan_unfinished  a plan that started over did not come to its end: `finish_plan` before anything but another plan
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, audit: AuditLog, seal: Seal, queue: Queue) -> None:
        self.path = path
        self.plan_unfinished = key_index.is_missing(connection)
        super().__init__(queue.ledger_id, Writer(connection, path, audit), audit)
        self._seal = seal
        self._queue = queue

    async def add(self, source: str, page: Page) -> int:
        """See the port."""
        return await self._writer.run(lambda connection: self._add(connection, source, page))

    def _add(self, connection: sqlite3.Connection, source: str, page: Page) -> int:
        number = journal.source_number(connection, source)
        first_seal = not self._seal.used
        scan, removed = intake.scan_number(connection, number), journal.removed_sources(connection)
        marks = intake.marks(connection, number)
        entry = intake.Intake(
            connection, number, scan, self._seal, removed, marks=marks, unchecked=self.plan_unfinished
        )
        new = entry.enter(page)
        if first_seal and self._seal.used:
            journal.set_meta(connection, "sealed", "1")
        if entry.met_rows:
            self._queue.has_records = True
        return new

    async def cursor(self, source: str) -> tuple[str | None, bool]:
        """See the port."""
        return await self._for_source(source, intake.cursor)

    async def listing(self, source: str) -> str | None:
        """What the scan of `source` was asked for when it began; None: it never did."""
        return await self._for_source(source, intake.listing)

    async def begin_scan(self, source: str, listing: str = "", *, spare_shared: bool = False) -> None:
        """See the port."""
        # First that the scan is not complete, so that one that is killed here begins again.
        await self._for_source(source, lambda c, number: intake.begin_scan(c, number, listing))
        while await self._for_source(source, intake.forget_problems):
            pass
        await self._for_source(source, lambda c, number: forgetting.doubt_failed(c, number, spare_shared))
        await self._forget_plan(source, spare_shared)

    async def forget_removed(self, sources: Sequence[str]) -> bool:
        """Forgets the plans of all but `sources`, which the configuration has; whether there was any."""
        removed = await self._writer.run(lambda c: journal.note_removed(c, sources))
        return any([await self._forget_plan(name, spare_shared=False) for name in removed])

    async def start_over(self, *, everything: bool) -> None:
        """Before a plan, of `everything` or a part, where nothing but plans has run and nothing else is planned.

        What was planned of `everything` is forgotten at once. What the plan enters is not told apart until
        `finish_plan`, which is faster.
        """
        dropped = await self._writer.run(lambda c: key_index.start_over(c, everything=everything))
        self.plan_unfinished = self.plan_unfinished or dropped

    async def finish_plan(self) -> None:
        """Tells apart what an unfinished plan has entered. Cancelled, it leaves the plan unfinished.

        It sorts all keys: 600,000 a second, with twice the room of their index on the ledger's disk.
        """
        if not self.plan_unfinished:
            return
        given_up = threading.Event()

        def work(connection: sqlite3.Connection) -> None:
            with key_index.sorting(connection, self.path.parent, given_up.is_set):
                build_index(connection, self._seal)

        try:
            await self._writer.run_alone(work)
        finally:
            given_up.set()
        self.plan_unfinished = False

    async def _forget_plan(self, source: str, spare_shared: bool) -> bool:
        found = False
        for kind in (forgetting.PLANNED, forgetting.COLLIDING):
            after: int | None = 0
            while after is not None:
                found = found or after > 0
                step = partial(forgetting.forget_plan, kind=kind, after=after, spare_shared=spare_shared)
                after = await self._for_source(source, step)
        return found

    async def finish_scan(self, source: str) -> None:
        """See the port."""
        await self._for_source(source, intake.finish_scan)

    async def _for_source(self, source: str, work: Callable[[sqlite3.Connection, int], T]) -> T:
        return await self._writer.run(lambda connection: work(connection, journal.source_number(connection, source)))
