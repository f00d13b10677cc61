"""The ledger as the engine sees it: opens and locks the file, and sends all work to the writer's thread."""

import os
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from migrator.core.errors import LedgerError
from migrator.core.model import Lacking, OpenUpload, Settlement, Tally, Task, VariantOutcome, VariantTally
from migrator.core.objects import Capabilities
from migrator.core.records import RecordOutcome, RecordTally, RecordTask, RowChange
from migrator.ledger import again, journal, records, variants
from migrator.ledger.audit import AuditLog
from migrator.ledger.connection import OLDEST_SQLITE, check_quickly, connect_writer, translated, use_wal
from migrator.ledger.lock import Lock, refuse_network
from migrator.ledger.queue import Queue, Retried, disown, retry
from migrator.ledger.scanning import Scanning
from migrator.ledger.schema import FIRST, migrate, pending
from migrator.ledger.seal import Seal, sync_directory

if TYPE_CHECKING:
    from migrator.core.verification import Match
    from migrator.ledger.cleaning import CleaningLedger
    from migrator.ledger.orphans import OrphanRows
    from migrator.ledger.undoing import UndoingLedger
    from migrator.ledger.verifying import VerifyingLedger

T = TypeVar("T")

_SURVEYED_TOGETHER = 20
"""Listing pages a transaction."""


class SqliteLedger(Scanning):
    """Fills the `Ledger` port with one SQLite file, `<name>.db`; its lock and key lie beside it. See docs/reference."""

    def __init__(self, path: Path, lock: Lock, connection: sqlite3.Connection) -> None:
        """Takes over what `open` made."""
        audit = AuditLog(path.with_suffix(".audit.jsonl"))
        seal = Seal(path.with_suffix(".key"), used=journal.get_meta(connection, "sealed") is not None)
        queue = Queue(journal.get_meta(connection, "id") or "", seal, audit)
        queue.has_records = records.any_records(connection)
        super().__init__(path, connection, audit, seal, queue)
        self._lock = lock
        self._orphans: OrphanRows | None = None

    @classmethod
    def open(cls, path: Path, *, name: str) -> "SqliteLedger":
        """Creates or opens the ledger of the migration `name` and locks it. Blocks, for a moment.

        Raises LedgerLocked, LedgerFull, or LedgerError (network file system, damaged, newer, another migration's).
        """
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            oldest = ".".join(map(str, OLDEST_SQLITE))
            raise LedgerError(f"SQLite {sqlite3.sqlite_version} is too old", f"use a Python with {oldest} or newer")
        with translated(path):
            refuse_network(path)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = Lock(path.with_suffix(".lock"))
            try:
                return cls(path, lock, _prepared(path, name))
            except BaseException:
                lock.release()
                raise

    def close(self) -> None:
        """Finishes what was handed in and gives the lock back. Idempotent; blocks."""
        self._writer.close()
        if self._orphans:
            self._orphans.close()
        self._lock.release()

    @property
    def orphans(self) -> "OrphanRows":
        """What `orphans` asks of this ledger."""
        from migrator.ledger.orphans import OrphanRows  # only that command waits for it

        self._orphans = self._orphans or OrphanRows(self.id, self._writer, self._audit)
        return self._orphans

    @property
    def cleaning(self) -> "CleaningLedger":
        """What `cleanup`, and a rollback that brings sources back, ask of this ledger."""
        from migrator.ledger.cleaning import CleaningLedger  # only these wait for it

        return CleaningLedger(self.id, self._writer, self._audit, lambda: self._queue.run)

    @property
    def undoing(self) -> "UndoingLedger":
        """What `rollback` asks of this ledger."""
        from migrator.ledger.undoing import UndoingLedger  # only that command waits for it

        return UndoingLedger(self.id, self._writer, self._audit, self._seal)

    @property
    def verifying(self) -> "VerifyingLedger":
        """What `verify` asks of this ledger."""
        from migrator.ledger.verifying import VerifyingLedger  # only that command waits for it

        return VerifyingLedger(self.id, self._writer, self._seal, lambda: self._queue.run)

    def __enter__(self) -> "SqliteLedger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def claim(self, limit: int, sources: Sequence[str] | None = None) -> list[Task]:
        """See the port. After `survey`, tasks tell whether their key is `present`."""
        return await self._writer.run(lambda c: self._queue.claim(c, limit, journal.chosen(c, sources)))

    async def leftovers(self, limit: int, sources: Sequence[str] | None = None) -> list[Task]:
        """See the port."""
        return await self._writer.run(lambda c: self._queue.leftovers(c, limit, journal.chosen(c, sources)))

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """See the port. Items that failed `fatal` are given back instead."""
        await self._writer.run(lambda c: self._queue.settle(c, settlements))

    async def release(self, tasks: Sequence[Task]) -> None:
        """See the port. Those with `again` set stay intended and come again from `leftovers`."""
        await self._writer.run(lambda c: self._queue.release(c, tasks))

    async def retry(
        self,
        faults: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
        wanted: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    ) -> Retried:
        """Failed items, records and `wanted` variants (of these faults and sources) back in their queues.

        `wanted` has the (name, format) of variants by source; others are no longer made. Collisions stay failed.
        """
        return await self._writer.run(lambda c: retry(c, faults, journal.chosen(c, sources), wanted or {}))

    async def plan_verified(
        self, results: "Sequence[Match]", sources: Sequence[str] | None, wanted: Mapping[str, Sequence[tuple[str, str]]]
    ) -> Retried:
        """What the last verification found to be one of `results` is planned again; `wanted` as for `retry`."""
        return await self._writer.run(lambda c: again.plan_verified(c, results, journal.chosen(c, sources), wanted))

    async def record_tallies(self) -> list[RecordTally]:
        """See the port."""
        return await self._writer.run(records.tallies)

    async def ready_records(self, limit: int, sources: Sequence[str] | None = None) -> list[RecordTask]:
        """See the port."""
        return await self._writer.run(lambda c: records.ready(c, limit, journal.chosen(c, sources)))

    async def intend_records(self, changes: Sequence[RowChange]) -> None:
        """See the port."""
        await self._writer.run(lambda c: records.intend(c, changes, self._queue.run))

    async def settle_records(self, outcomes: Sequence[tuple[RecordTask, RecordOutcome]]) -> None:
        """See the port."""
        await self._writer.run(lambda c: records.settle(c, outcomes, self._queue.run, self._audit))

    async def survey(self, pages: AsyncIterator[list[str]]) -> None:
        """See the port. Holds as long as this object: the next process lists again."""
        await self._writer.run(journal.forget_destination_keys)
        waiting: list[str] = []
        pages_waiting = 0
        async for page in pages:
            waiting += page
            pages_waiting += 1
            if pages_waiting == _SURVEYED_TOGETHER:
                await self._keep(waiting)
                waiting, pages_waiting = [], 0
        await self._keep(waiting)
        self._queue.surveyed = True

    async def _keep(self, keys: list[str]) -> None:
        await self._writer.run(lambda c: journal.keep_destination_keys(c, keys))

    async def some_stored(self) -> list[journal.StoredOne]:
        """A few stored objects; none that the last look at it found to be missing."""
        return await self._writer.run(lambda c: journal.some_stored(c, self._seal))

    async def capabilities(self) -> Capabilities | None:
        """See the port."""
        return await self._writer.run(journal.capabilities)

    async def keep_capabilities(self, capabilities: Capabilities) -> None:
        """See the port."""
        await self._writer.run(lambda c: journal.keep_capabilities(c, capabilities))

    async def tallies(self) -> list[Tally]:
        """See the port."""
        return await self._writer.run(journal.tallies)

    async def problem_count(self) -> int:
        """See the port."""
        return await self._writer.run(journal.problem_count)

    async def collision_count(self) -> int:
        """How many items want a key that another one had first."""
        return await self._writer.run(journal.collision_count)

    async def begin_run(self, command: str, config_hash: str) -> int:
        """See the port."""
        self._queue.run = self._audit.run = await self._writer.run(lambda c: journal.begin_run(c, command, config_hash))
        return self._queue.run

    async def finish_run(self, run: int, status: int, requests: Mapping[str, int], moved: tuple[int, int]) -> None:
        """See the port."""
        await self._writer.run(lambda c: journal.finish_run(c, run, status, requests, moved))

    async def opened(self, task: Task, upload: OpenUpload) -> None:
        """See `Uploads`."""
        await self._writer.run(lambda c: journal.note_upload(c, task.id, upload))

    async def closed(self, task: Task) -> None:
        """See `Uploads`."""
        await self._writer.run(lambda c: journal.close_upload(c, task.id))

    async def require_variants(self, needed: Mapping[str, Sequence[tuple[str, str]]]) -> None:
        """See the port."""

        def work(connection: sqlite3.Connection) -> None:
            for name, named in needed.items():
                variants.require(connection, journal.source_number(connection, name), named)

        await self._writer.run(work)

    async def lacking(
        self, wanted: Mapping[str, Sequence[tuple[str, str]]], after: int, limit: int, *, planned_only: bool
    ) -> tuple[list[Lacking], int | None]:
        """See the port."""

        def work(connection: sqlite3.Connection) -> tuple[list[Lacking], int | None]:
            numbered = {journal.source_number(connection, name): (name, named) for name, named in wanted.items()}
            return variants.lacking(
                connection, numbered, after, limit, planned_only=planned_only, ledger_id=self.id, seal=self._seal
            )

        return await self._writer.run(work)

    async def settle_variants(self, settled: Sequence[tuple[Lacking, Sequence[VariantOutcome]]]) -> None:
        """See the port."""
        await self._writer.run(lambda c: self._queue.settle_variants(c, settled))

    async def variant_tallies(self) -> list[VariantTally]:
        """See the port."""
        return await self._writer.run(variants.tallies)

    async def plan_again(self, sources: Sequence[str] | None = None) -> Retried:
        """What was rolled back is planned again."""
        return await self._writer.run(lambda c: again.plan_rolled_back(c, journal.chosen(c, sources)))

    async def plan_changed(self, sources: Sequence[str] | None = None) -> Retried:
        """Stored items whose source was seen to be another one since are planned again, as it is now."""
        return await self._writer.run(lambda c: again.plan_changed(c, journal.chosen(c, sources)))

    async def plan_variants(self, wanted: Mapping[str, Sequence[tuple[str, str]]]) -> Retried:
        """Stored variants that are `wanted`, by source, are planned again, to be made as the configuration is now."""

        def work(connection: sqlite3.Connection) -> Retried:
            numbered = {journal.source_number(connection, name): named for name, named in wanted.items()}
            return Retried(0, 0, variants.plan_stored(connection, numbered))

        return await self._writer.run(work)

    async def stale_uploads(self) -> list[tuple[str, str]]:
        """(key, upload id) of multipart uploads that no item needs any more: abort them, then `forget_upload`."""
        return await self._writer.run(journal.stale_uploads)

    async def get_meta(self, key: str) -> str | None:
        """What `set_meta` kept under `key`."""
        return await self._writer.run(lambda c: journal.get_meta(c, key))

    async def set_meta(self, key: str, value: str) -> None:
        """Keeps a word about the migration, such as the bucket that setup chose."""
        await self._writer.run(lambda c: journal.set_meta(c, key, value))


def _prepared(path: Path, name: str) -> sqlite3.Connection:
    """A writing connection to a ledger that is whole, up to date and this migration's; made when it is absent."""
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        sync_directory(path.parent)
    with ExitStack() as on_failure:
        connection = connect_writer(path)
        on_failure.callback(connection.close)
        # Nothing is written before it is known to be a ledger: what is refused keeps every byte.
        if FIRST not in pending(connection):
            check_quickly(connection)
            _refuse_another(connection, path, name)
        use_wal(connection)
        migrate(connection)
        _name(connection, name)
        disown(connection)
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).chmod(0o600)
        on_failure.pop_all()
    return connection


def _refuse_another(connection: sqlite3.Connection, path: Path, name: str) -> None:
    known = journal.get_meta(connection, "name")
    if known not in (None, name):
        raise LedgerError(f"{path} is the ledger of the migration {known!r}, not of {name!r}", "give it its name back")


def _name(connection: sqlite3.Connection, name: str) -> None:
    if journal.get_meta(connection, "name") is None:
        connection.execute("BEGIN IMMEDIATE")
        journal.set_meta(connection, "name", name)
        journal.set_meta(connection, "id", secrets.token_hex(8))
        journal.set_meta(connection, "created_at", str(int(time.time())))
        connection.execute("COMMIT")
