"""What the rooms promise each other. An adapter that fills one of these in passes its contract suite in `tests/`."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Protocol

from migrator.core.model import (
    Capabilities,
    Copied,
    Described,
    Description,
    Digest,
    Expected,
    Failed,
    Guards,
    Lacking,
    OpenUpload,
    Page,
    Part,
    Placed,
    RecordOutcome,
    RecordTally,
    RecordTask,
    RowChange,
    Settlement,
    Standing,
    Taken,
    Tally,
    Task,
    Upload,
    VariantOutcome,
    VariantTally,
    Verification,
)
from migrator.core.undoing import LeftAlone, Remains, RowBack, Scope, UndoneItem
from migrator.core.variants import Rendered, Wanted


class Source(Protocol):
    """Lists what is to be moved. Lives in a thread of its own: it blocks, and nobody waits for it."""

    name: str
    lists_destination: bool
    """It may list what a run puts into the destination: it must come to its end before anything is moved."""

    def scan(self, cursor: str | None) -> Iterator[Page]:
        """Everything after `cursor` (None: from the beginning), in an order that does not change between runs.

        Pages hold at most a few thousand items, so memory is bounded whatever the size of the source. A page's cursor
        resumes after it: nothing is left out, and what is listed twice is the same item. What cannot be an item is a
        Problem in the page. Raises PreflightError only when nothing at all can be listed.
        """
        ...


class Body(Protocol):
    """The open bytes of one location. What it says of them is known once something was read: it may ask that late."""

    size: int | None
    """Announced bytes; None when the other end does not say."""
    content_type: str | None
    """What the source claims, verbatim."""
    modified: float | None
    """Seconds since the epoch, where the source tells it."""
    fingerprint: str | None
    description: Description | None
    """What else a copy keeps; None where the location is no object of a bucket."""

    async def read(self, limit: int) -> bytes:
        """The next bytes: exactly `limit` of them, or fewer at the end, where b"" follows.

        Raises Truncated when fewer bytes come than `size` announced, and any other ObjectError of side "source".
        """
        ...

    async def check(self) -> None:
        """After the last byte: raises Changed when the source is no longer what was opened."""
        ...


class Reader(Protocol):
    """Opens locations of some schemes."""

    def open(self, task: Task) -> AbstractAsyncContextManager[Body]:
        """Opens `task.url`. Raises an ObjectError of side "source"; Changed when it differs from the fingerprint."""
        ...

    async def close(self) -> None:
        """Gives connections back. Idempotent."""
        ...


class Store(Protocol):
    """The destination. Every method raises ObjectError of side "destination", translated from whatever failed.

    One call is one attempt: nothing in here retries. An error is `ambiguous` unless the request surely had no effect.
    """

    requests: dict[str, int]
    """Requests sent so far, by operation."""

    def refuses(self, key: str) -> str | None:
        """Why this destination cannot hold `key` byte for byte; None when it can."""
        ...

    async def put(self, upload: Upload, body: bytes, guards: Guards) -> Placed | Taken:
        """Stores a whole object in one request, all of it or nothing.

        Placed: durable and checked as far as `guards.digest` goes. Taken: `guards.absent` or `guards.replace` did not
        hold and nothing changed. Transient when the server found the digest wrong.
        """
        ...

    async def head(self, key: str) -> Standing | None:
        """What stands under `key`; None only when the server says that nothing does (never for a 403)."""
        ...

    def read(self, key: str) -> AsyncIterator[bytes]:
        """The object's bytes in pieces."""
        ...

    async def delete(self, key: str, version_id: str | None = None, etag: str | None = None) -> None:
        """Removes an object (or one version of it); an absent one is no error.

        Conflict: it no longer has `etag`, where the destination looks at that; not every server does.
        """
        ...

    async def purge(self, key: str) -> None:
        """Removes every version of an object of our own (a canary, a sample); nothing of it is left."""
        ...

    def keys(self, prefix: str) -> AsyncIterator[list[str]]:
        """The keys under `prefix` in order, a page (one request) at a time."""
        ...

    async def copy(self, key: str, target: str, etag: str) -> Placed:
        """Server-side copy with all metadata, only if the object still has `etag`. At most 5 GiB."""
        ...

    async def versioned(self) -> bool:
        """Whether an overwritten object can be had back."""
        ...

    async def begin(self, upload: Upload, digest: Digest = Digest.SHA256) -> str:
        """Opens a multipart upload, whose parts will be checked by `digest`, and returns its id."""
        ...

    async def put_part(
        self, key: str, upload_id: str, number: int, body: bytes, sha256: bytes | None, digest: Digest
    ) -> Part:
        """Sends part `number` (from 1), whose SHA-256 is `sha256`; only with Digest.MD5_ONLY that may be None."""
        ...

    async def parts(self, key: str, upload_id: str) -> list[Part]:
        """The parts that an open upload already holds. Gone when there is no such upload."""
        ...

    async def complete(self, upload: Upload, upload_id: str, parts: Sequence[Part], guards: Guards) -> Placed | Taken:
        """Makes the parts one object. Taken: `guards` did not hold and the upload is still open."""
        ...

    async def abort(self, key: str, upload_id: str) -> None:
        """Drops an open upload; an absent one is no error."""
        ...

    async def open_uploads(self, key: str) -> list[tuple[str, float]]:
        """(upload id, start in seconds since the epoch) of every open upload for exactly this key."""
        ...

    async def checks(self, key: str, digest: Digest, upload_id: str | None = None) -> bool:
        """Sends a small canary to `key` whose digest of this one kind is wrong and whose others are right.

        True when the server refused it, False when it stored it. With `upload_id` the canary is part 1 of that upload.
        """
        ...

    async def close(self) -> None:
        """Gives connections back. Idempotent."""
        ...


class Copier(Protocol):
    """What the destination's server copies into it by itself: no byte of it passes through here.

    One call is one attempt. Errors are of side "source" where the object to be copied is to blame, else "destination".
    """

    async def hindrance(self, source: str, location: str) -> str:
        """Why the server cannot reach `location` of that source by itself; empty when it can. Asks no bucket."""
        ...

    async def describe(self, source: str, location: str) -> Described:
        """The object at `location`. Gone, Forbidden, Archived, ..."""
        ...

    async def standing(self, key: str) -> Described | None:
        """What stands under `key` of the destination; None only when the server says that nothing does."""
        ...

    async def copy(self, source: str, location: str, etag: str, target: Upload | str, absent: bool) -> Copied | Taken:
        """Copies an object of at most 5 GiB that has `etag`: to a key with all that it carries, or as an Upload says.

        Taken: `absent` was asked, is honoured, and something stands there. Changed: the object has another ETag (where
        the server ignores the condition, nobody looks). Transient, ambiguous for an answer that turned into an error.
        """
        ...

    async def copy_part(
        self, source: str, location: str, etag: str, key: str, upload_id: str, number: int, span: tuple[int, int] | None
    ) -> Part:
        """Makes bytes `span` (first, last; None: all) of an object part `number` of an open upload.

        Many servers do not look at `etag` here: whoever completes the upload compares once more.
        """
        ...

    async def close(self) -> None:
        """Gives connections back. Idempotent."""
        ...


class Uploads(Protocol):
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


class RollbackLedger(Protocol):
    """What `rollback` needs of the ledger. Every write is durable on return."""

    id: str

    async def begin_rollback(self) -> None:
        """What an earlier rollback left alone is forgotten: this one looks at all of it again."""
        ...

    async def keep_backups(self, backups: Sequence[tuple[str, int, str]]) -> None:
        """Notes, for as long as the ledger is open, backups that stand: (name of the object, run, key)."""
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


class RowsBack(Protocol):
    """Rows of the user's database that are to hold their before-images again: `Records`, from the other side."""

    async def check(self, changes: Sequence[RowChange]) -> list[RecordOutcome | None]:
        """What `apply` would say of each row; None where it would update it. Writes nothing."""
        ...

    async def apply(self, changes: Sequence[RowChange]) -> list[RecordOutcome]:
        """See `Records`."""
        ...


class Records(Protocol):
    """Rows of the user's database, of all sources that update some.

    Every method raises Transient (nothing was written, or whole transactions were) when the database does not answer
    now, Fatal when it refuses everything. Which rows are whose is told by `RecordTask.source`; one call is one source.
    """

    async def inspect(self, tasks: Sequence[RecordTask]) -> list[RowChange | RecordOutcome]:
        """What each row needs, in the order of `tasks`. Writes nothing.

        RowChange: it is as the scan saw it. Recorded: it already holds the new values. Failed `conflict`: it is gone,
        or somebody changed it; `invalid`: a template lacks a value, or the column cannot hold it.
        """
        ...

    async def apply(self, changes: Sequence[RowChange]) -> list[RecordOutcome]:
        """Updates rows that still are what `before` says, all in one transaction; in the order of `changes`.

        Failed `conflict`: this row was left alone, the others were not. A deadlock is tried again in here.
        """
        ...

    async def close(self) -> None:
        """Gives connections back. Idempotent."""
        ...


class Renderer(Protocol):
    """Makes variants of images, in processes of its own: whatever an image does to its decoder, the caller lives."""

    async def render(self, data: bytes, wanted: Sequence[Wanted]) -> list[Rendered | Failed]:
        """The variants of the image `data`, in the order of `wanted`; raises nothing.

        Failed `render`: this one could not be made, the others were. It is `retryable` where its process died or took
        too long; else the same bytes would fail again. Waits while every process is busy, and holds no copy of `data`
        meanwhile.
        """
        ...

    async def close(self) -> None:
        """Ends the processes, those at work too. Idempotent."""
        ...


class EventKind(StrEnum):
    """What an observer may be told of between settlements."""

    SCANNING = "scanning"
    SCANNED = "scanned"
    RETRY = "retry"
    SLOWER = "slower"
    FASTER = "faster"
    PAUSED = "paused"
    RESUMED = "resumed"
    STOPPING = "stopping"
    NOTE = "note"
    DIFFERENT = "different"
    VERIFIED = "verified"
    UNDONE = "undone"


class Observer(Protocol):
    """Is told what happens; never slows it down and never raises."""

    def page(self, source: str, page: Page, new: int) -> None:
        """A page of a scan is in the ledger."""
        ...

    def scan_complete(self, source: str) -> None: ...

    def started(self, concurrency: int) -> None: ...

    def sent(self, task: Task, size: int) -> None:
        """A part of `size` bytes of a large object stands in its open upload."""
        ...

    def settled(self, settlements: Sequence[Settlement]) -> None:
        """A batch is in the ledger."""
        ...

    def recorded(self, outcomes: Sequence[tuple[RecordTask, RecordOutcome]]) -> None:
        """A batch of records is in the ledger."""
        ...

    def rendered(self, done: Sequence[tuple[Lacking, Sequence[VariantOutcome]]]) -> None:
        """A batch of variants of images that stood before is in the ledger."""
        ...

    def event(self, kind: EventKind, message: str, **details: object) -> None:
        """Anything else worth a line; `details` are plain values for the log."""
        ...

    def concurrency(self, limit: int) -> None:
        """How many transfers may be in flight now."""
        ...


class Clock(Protocol):
    """Time, handed in so that tests need not wait."""

    def time(self) -> float: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...
