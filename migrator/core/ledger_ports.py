"""What the engine asks of the ledger: the queue, the only truth, and what verify and rollback keep in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from migrator.core.audit import Change
    from migrator.core.model import Lacking, OpenUpload, Page, Settlement, Tally, Task, VariantOutcome, VariantTally
    from migrator.core.objects import Capabilities
    from migrator.core.orphans import Orphan, OrphanTally, Owner, Unfinished, Upkeep
    from migrator.core.records import RecordOutcome, RecordTally, RecordTask, RowChange
    from migrator.core.undoing import LeftAlone, Remains, RowBack, Scope, UndoneItem
    from migrator.core.verification import Expected, Verification


class Audited(Protocol):
    """Takes note of what was changed outside the ledger and is settled by no other call."""

    async def note(self, changes: Sequence[Change]) -> None:
        """Lines of the audit log, durable on return. Called after the changes were made."""
        ...


class Uploads(Audited, Protocol):
    """Where a worker notes multipart uploads, so that none is forgotten by a kill."""

    async def opened(self, task: Task, upload: OpenUpload) -> None:
        """On disk when this returns; called before the first part is sent."""
        ...

    async def closed(self, task: Task) -> None:
        """The upload was completed or aborted."""
        ...


class Ledger(Uploads, Protocol):
    """The queue and the only truth about a migration. One process writes it. Every write is durable on return.

    Raises LedgerError (LedgerFull when the disk is), never sqlite3's own.
    """

    id: str
    """Random name of this ledger, in the mark of every put."""

    async def add(self, source: str, page: Page) -> int:
        """Enters a page and its cursor in one transaction and returns the number of new items.

        Same location and key: one item. Same key from another location: a failed item, fault `conflict`, that names
        both. An item that is known but not stored yet takes the page's size and fingerprint.
        """
        ...

    async def cursor(self, source: str) -> tuple[str | None, bool]:
        """Where the scan of `source` stands: (cursor, complete)."""
        ...

    async def begin_scan(self, source: str) -> None:
        """Starts the scan of `source` again from the beginning; its old problems are forgotten."""
        ...

    async def finish_scan(self, source: str) -> None:
        """The scan of `source` has seen everything."""
        ...

    async def claim(self, limit: int, sources: Sequence[str] | None = None) -> list[Task]:
        """Marks up to `limit` planned items `intended`, commits, and returns them."""
        ...

    async def leftovers(self, limit: int, sources: Sequence[str] | None = None) -> list[Task]:
        """Items that an earlier run left `intended`, each handed out once, with `again` set."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Writes outcomes, attempts and tallies, all in one transaction."""
        ...

    async def release(self, tasks: Sequence[Task]) -> None:
        """Gives back claimed tasks of which no byte was sent: planned again."""
        ...

    async def survey(self, pages: AsyncIterator[list[str]]) -> None:
        """Keeps the destination's listing, which `claim` then answers `Task.present` from."""
        ...

    async def capabilities(self) -> Capabilities | None:
        """What the destination honours, if it was probed before."""
        ...

    async def keep_capabilities(self, capabilities: Capabilities) -> None: ...

    async def problem_count(self) -> int:
        """How many problems the scans met."""
        ...

    async def tallies(self) -> list[Tally]:
        """Counts by source, state and reason, from the tally table: no row is counted."""
        ...

    async def record_tallies(self) -> list[RecordTally]:
        """Counts of records by source, state and reason; no row is counted."""
        ...

    async def ready_records(self, limit: int, sources: Sequence[str] | None = None) -> list[RecordTask]:
        """Up to `limit` records of one source whose objects stand, those intended by an earlier attempt first.

        Reads only: the same come again until they are settled. A record becomes ready in the transaction that settles
        its item as stored, or as skipped because it is identical or in place.
        """
        ...

    async def intend_records(self, changes: Sequence[RowChange]) -> None:
        """Keeps before-images (the first one of a record wins) and new values; durable before any row is updated."""
        ...

    async def settle_records(self, outcomes: Sequence[tuple[RecordTask, RecordOutcome]]) -> None:
        """Writes what became of records, with their tallies, in one transaction."""
        ...

    async def require_variants(self, needed: Mapping[str, Sequence[tuple[str, str]]]) -> None:
        """Which variants, (name, format), the rows of each source refer to: none of them is ready without."""
        ...

    async def lacking(
        self, wanted: Mapping[str, Sequence[tuple[str, str]]], after: int, limit: int, *, planned_only: bool
    ) -> tuple[list[Lacking], int | None]:
        """Images that stand without all of the `wanted` variants of their source, among the next `limit` items.

        The second value is where to go on (`after`), None at the end. `planned_only`: those that a retry asked for,
        not those that were never made.
        """
        ...

    async def settle_variants(self, settled: Sequence[tuple[Lacking, Sequence[VariantOutcome]]]) -> None:
        """Writes variants that were made after their original. No outcome at all: it is no image, and has none."""
        ...

    async def variant_tallies(self) -> list[VariantTally]:
        """Counts of variants by source, name, format, state and reason; no row is counted."""
        ...

    async def stale_uploads(self) -> list[tuple[str, str]]:
        """(key, upload id) of open multipart uploads whose item no longer needs them."""
        ...

    async def forget_upload(self, key: str, upload_id: str) -> None:
        """This upload is gone."""
        ...

    async def begin_run(self, command: str, config_hash: str) -> int:
        """Opens a run and returns its number."""
        ...

    async def finish_run(self, run: int, status: int, requests: dict[str, int], moved: tuple[int, int]) -> None:
        """Closes a run with its exit status, its requests by operation and (items, bytes) moved."""
        ...


class VerificationLedger(Protocol):
    """What `verify` needs of the ledger. Every write is durable on return."""

    async def begin_verification(self, scope: str, sample: float) -> tuple[int, int]:
        """(number, objects that it has looked at): the last one where that has not ended and asked the same, else new.

        What was unknown in an interrupted one will be looked at again.
        """
        ...

    async def unverified(
        self, number: int, after: int, limit: int, sources: Sequence[str] | None, *, unseal: bool
    ) -> tuple[list[Expected], int | None]:
        """What stands in the destination of the next `limit` items and was not looked at yet, variants included.

        The second value is where to go on (`after`), None at the end. `unseal`: with the whole URL of masked locations;
        else only where the source is needed, because no digest is known.
        """
        ...

    async def keep_verifications(self, number: int, done: Sequence[Verification]) -> None:
        """Results, in one transaction with their counts."""
        ...

    async def begin_extras(self, number: int, here: str, prefixes: Sequence[str]) -> None:
        """Before keys below `prefixes` are listed: those are explained that are locations themselves.

        Such locations begin with `here`; empty: there are none.
        """
        ...

    async def keep_extras(self, number: int, keys: Sequence[str], reserved: str) -> None:
        """Notes those of `keys`, a page of the destination's listing, that no row explains; not what is `reserved`."""
        ...

    async def skip_extras(self, number: int) -> None:
        """Keys that nothing explains could not be looked for after all."""
        ...

    async def finish_verification(self, number: int) -> None:
        """Everything was looked at."""
        ...


class RollbackLedger(Audited, Protocol):
    """What `rollback` needs of the ledger. Every write is durable on return."""

    id: str

    async def begin_rollback(self) -> None:
        """What an earlier rollback left alone is forgotten: this one looks at all of it again."""
        ...

    async def keep_backups(self, backups: Sequence[tuple[str, int, str]]) -> None:
        """Notes, for as long as the ledger is open, backups that stand: (name of the object, run, key).

        With the objects that replaced what was backed up they are noted for good.
        """
        ...

    async def spare_backups(self, after: str, limit: int) -> list[tuple[str, str]]:
        """(name of the object, key) of noted backups that no undone item has used, behind the key `after`."""
        ...

    async def rows_to_undo(self, source: str, after: int, limit: int, scope: Scope) -> list[RowBack]:
        """Records of `source` behind `after` that may have been updated, for undoing or because of their item."""
        ...

    async def settle_rows_back(self, back: Sequence[RowBack], left: Sequence[LeftAlone]) -> None:
        """These rows hold their before-images; those stay as they are."""
        ...

    async def uploads_to_undo(self, scope: Scope) -> list[tuple[str, str, str]]:
        """(source, key, upload id) of multipart uploads that are noted as open."""
        ...

    async def forget_upload(self, key: str, upload_id: str) -> None:
        """This upload is gone."""
        ...

    async def remains(self, after: int, limit: int, scope: Scope) -> list[Remains]:
        """Items behind `after` of which something may stand in the destination."""
        ...

    async def settle_undone(self, done: Sequence[UndoneItem], left: Sequence[LeftAlone]) -> None:
        """What became of items; those of which all is undone, and their waiting rows, are rolled back."""
        ...


class OrphanLedger(Audited, Protocol):
    """What `orphans` needs of the ledger. What it keeps is forgotten when the ledger is closed."""

    id: str

    async def begin_orphans(self, here: str, prefixes: Sequence[str]) -> None:
        """Before anything is listed below `prefixes`. Locations that begin with `here` explain what stands there."""
        ...

    async def unexplained(self, keys: Sequence[str]) -> set[str]:
        """Those of `keys` that no row explains."""
        ...

    async def named(self, keys: Sequence[str]) -> set[str]:
        """Those of `keys` that an item or variant has which is not rolled back."""
        ...

    async def unsettled(self, items: Sequence[int]) -> set[int]:
        """Those of `items` that another run would attempt."""
        ...

    async def upkeep(self, uploads: Sequence[Unfinished]) -> list[Upkeep | None]:
        """Why the ledger knows of each upload, in their order; None: it does not."""
        ...

    async def forget_upload(self, key: str, upload_id: str) -> None:
        """This upload is gone."""
        ...

    async def keep_orphans(self, found: Sequence[Orphan]) -> None:
        """Notes what was found. The same key, or upload, twice is one."""
        ...

    async def orphans(self, after: tuple[str, str], limit: int, owners: Sequence[Owner]) -> list[Orphan]:
        """Of what was found the next behind `after`, (key, upload id), in the order of keys."""
        ...

    async def orphan_tallies(self) -> list[OrphanTally]:
        """What was found, by kind and owner."""
        ...
