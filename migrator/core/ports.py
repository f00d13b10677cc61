"""What the rooms promise each other. An adapter that fills one of these in passes its contract suite in `tests/`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from migrator.core.objects import Digest

if TYPE_CHECKING:  # ports name types and make none: who fills one in pays for what it needs
    from collections.abc import AsyncIterator, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from migrator.core.model import Failed, Lacking, Page, Settlement, Task, VariantOutcome
    from migrator.core.objects import (
        Copied,
        Described,
        Description,
        Guards,
        Part,
        Placed,
        Standing,
        Taken,
        Upload,
    )
    from migrator.core.orphans import Listed, Unfinished
    from migrator.core.records import RecordOutcome, RecordTask, RowChange
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

    async def go_on(self) -> bool:
        """After a `read` that failed: the next one asks anew, for what is missing of the same version.

        False where the source cannot do that. Raises as `read` does.
        """
        ...

    async def check(self) -> None:
        """After the last byte: raises Changed when the source is no longer what was opened."""
        ...


class Reader(Protocol):
    """Opens locations of some schemes."""

    async def reach(self, task: Task) -> None:
        """Connects to where `task.url` leads, so that `open` need not, and asks nothing. Raises as `open` does."""
        ...

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

    async def beneath(self, key: str, version_id: str) -> Standing | None:
        """The version of `key` that came before `version_id` and shows again when that one goes.

        None: nothing does (a delete marker does not show), or nobody may tell.
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

    async def begin(self, upload: Upload, digest: Digest | None = Digest.SHA256) -> str:
        """Opens a multipart upload and returns its id. Its parts will be checked by `digest`, or copied (None)."""
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


class Inventory(Protocol):
    """What stands in the destination, whoever put it there. Errors are those of a Store. One call is one attempt."""

    def listed(self, prefix: str, position: str = "") -> AsyncIterator[tuple[list[Listed], str]]:
        """The objects under `prefix`, a page (one request) at a time, each with the position that it goes on from."""
        ...

    def unfinished(self, prefix: str) -> AsyncIterator[list[Unfinished]]:
        """The open multipart uploads for keys under `prefix`, a page at a time."""
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
    CLEANED = "cleaned"


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
