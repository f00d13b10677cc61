"""The values that travel between the rooms: frozen, small, picklable. No behaviour beyond their own invariants."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct, field

from migrator.core.objects import Placed, Upload

if TYPE_CHECKING:
    from migrator.core.records import RecordTally, Row

MIB = 1024 * 1024

SMALL = 8 * MIB
"""Bytes up to which an object is read whole and put in one request (DESIGN section 5)."""

RESERVED_PREFIX = "_migrator/"
"""Keys of our own in the destination (canaries, backups), below the configured prefix. Never an item."""

CANARY = b"A canary of migrator: it finds out what this destination honours and is deleted at once.\n"
"""The bytes of every canary. They are always the same: `rclone serve s3` takes no other bytes for a part it has."""


class State(StrEnum):
    """Where an item stands. Text in the ledger, so that any SQLite tool shows it as it is."""

    PLANNED = "planned"
    INTENDED = "intended"
    STORED = "stored"
    SKIPPED = "skipped"
    FAILED = "failed"
    ROLLED_BACK = "rolled-back"
    """What it had brought into the destination is gone again; it moves again only when that is asked for."""


class Fault(StrEnum):
    """The class of a failure; decides retry, report and exit status (DESIGN section 7)."""

    GONE = "gone"
    FORBIDDEN = "forbidden"
    INVALID = "invalid"
    ARCHIVED = "archived"
    CHANGED = "changed"
    CONFLICT = "conflict"
    THROTTLED = "throttled"
    TRANSIENT = "transient"
    RENDER = "render"
    """A variant could not be made; its original is another matter."""
    FATAL = "fatal"


class Side(StrEnum):
    """The end of a transfer at which something happened."""

    SOURCE = "source"
    DESTINATION = "destination"
    DATABASE = "database"


class Skip(StrEnum):
    """Why an item needed no transfer."""

    IDENTICAL = "identical"
    """The same bytes already stood under the key, put there by someone else."""
    EXISTS = "exists"
    """Other bytes stood under the key and `on_conflict = "skip"` left them."""
    IN_PLACE = "in-place"
    """The location is the key: the object already stands where it belongs."""


class Item(Struct, frozen=True):
    """One object that a scan found: from `location` to `key`.

    location     URL of the bytes, safe to show: a secret query or user info is masked
    key          name in the destination, prefix included
    size         bytes, or None where only the transfer will tell
    fingerprint  what the source said of its version (mtime and size, ETag), or None
    fields       values that later templates (metadata) want, or None
    signed       the whole URL where `location` masks a part of it; sealed in the ledger, never shown
    row          the database row to update when the object has arrived; another row for the same item comes as the
                 same item again
    here         the key under which the location itself stands in the destination, or None where it stands elsewhere
    """

    location: str
    key: str
    size: int | None = None
    fingerprint: str | None = None
    fields: Mapping[str, str] | None = None
    signed: str | None = None
    row: "Row | None" = None
    here: str | None = None


class Problem(Struct, frozen=True):
    """Something a scan could not turn into an item: `place` is the file (or prefix), `position` where in it."""

    place: str
    position: str
    fault: Fault
    message: str


class Page(Struct, frozen=True):
    """A piece of a scan: what was found since the last page, and the cursor after which to go on."""

    items: tuple[Item, ...]
    problems: tuple[Problem, ...]
    cursor: str
    skipped: int = 0
    """Entries left out by include, exclude or `on_no_match = "skip"` since the last page."""


class OpenUpload(Struct, frozen=True):
    """A multipart upload that the destination still holds open."""

    upload_id: str
    part_size: int


class Stood(Struct, frozen=True):
    """What this ledger had stored under the key of an item that is stored once more.

    at        when that was noted, in seconds since the epoch; None where it was found there, and nobody saw it put
    renewed   the source has changed since: what it has now takes the place of what was stored
    variants  (name, format) and ETag of each variant that was stored of it; of renewed items
    """

    etag: str
    sha256: bytes | None
    at: int | None = None
    renewed: bool = False
    variants: tuple[tuple[tuple[str, str], str], ...] = ()


class Task(Struct, frozen=True):
    """One claimed item: everything a worker needs to move it.

    again    an earlier attempt may have stored it: look before sending
    present  what the listing of the destination says of the key; None where no listing was needed
    upload   the multipart upload that an earlier attempt left open
    stood    what was stored before, where it is missing, damaged or no longer what the source has; None for all others
    """

    id: int
    put_id: str
    source: str
    location: str
    key: str
    size: int | None
    fingerprint: str | None
    fields: Mapping[str, str] | None = None
    signed: str | None = None
    again: bool = False
    present: bool | None = None
    upload: OpenUpload | None = None
    stood: Stood | None = None

    @property
    def url(self) -> str:
        """The URL to read from. May hold a secret: never log it, log `location`."""
        return self.signed or self.location


class Made(Struct, frozen=True):
    """A variant that stands in the destination, checked. `quality` is None where the format loses nothing."""

    name: str
    format: str
    key: str
    size: int
    sha256: bytes
    etag: str
    version_id: str | None
    content_type: str
    width: int
    height: int
    quality: int | None
    encodes: int
    seconds: float
    adopted: bool = False
    replaced: str | None = None


class Unmade(Struct, frozen=True):
    """A variant that could not be made or stored: its original stands all the same. `key` may be empty."""

    name: str
    format: str
    key: str
    fault: Fault
    message: str


VariantOutcome = Made | Unmade


class Lacking(Struct, frozen=True):
    """A stored image of which `wanted` variants, each (name, format), are still to be made."""

    task: Task
    size: int
    sha256: bytes | None
    content_type: str
    original: bool
    """Whether the original stands in the destination; else it is read from its source again."""
    wanted: tuple[tuple[str, str], ...]


class Stored(Struct, frozen=True):
    """The object stands in the destination, checked. `adopted`: an earlier attempt had stored it.

    `sha256` is None where the server copied it and told no digest: then the ETag was compared with the source's.
    """

    size: int
    sha256: bytes | None
    content_type: str
    etag: str
    version_id: str | None
    adopted: bool = False
    replaced: str | None = None
    """What stood there before `overwrite`: `version:<id>` or `backup:<key>`."""
    variants: tuple[VariantOutcome, ...] = ()
    copied: bool = False
    """The destination's server copied it by itself."""
    original: bool = True
    """False where `keep_original = false` left only the variants: nothing stands under the item's key."""

    @classmethod
    def of(cls, upload: Upload, placed: Placed, replaced: str | None = None) -> "Stored":
        """The outcome of a put that the destination carried out; `upload.size` and `upload.sha256` are known."""
        assert upload.size is not None
        assert upload.sha256 is not None
        return cls(upload.size, upload.sha256, upload.content_type, placed.etag, placed.version_id, replaced=replaced)


class Skipped(Struct, frozen=True):
    """No transfer was needed."""

    reason: Skip
    message: str = ""
    size: int | None = None
    sha256: bytes | None = None
    etag: str | None = None
    variants: tuple[VariantOutcome, ...] = ()


class Failed(Struct, frozen=True):
    """The item could not be moved. `side` and `retry_after` (seconds) are for the retry policy."""

    fault: Fault
    message: str
    side: Side = Side.SOURCE
    retry_after: float | None = None
    again: bool = False
    """It may have reached the destination: look before sending again."""
    retryable: bool = False
    silent: bool = False
    """No answer came, or one that came to nothing: that side may be down."""


Outcome = Stored | Skipped | Failed


class Settlement(Struct, frozen=True):
    """One finished task, ready for the ledger."""

    task: Task
    outcome: Outcome
    attempts: int
    seconds: float


class VariantTally(Struct, frozen=True):
    """Variants of one source, name and format in one state: how many and how many bytes."""

    source: str
    name: str
    format: str
    state: str
    reason: str
    variants: int
    bytes: int


class Tally(Struct, frozen=True):
    """Items of one source in one state: how many and, where the size is known, how many bytes."""

    source: str
    state: State
    reason: str
    """The fault of failed items, the reason of skipped ones, else empty."""
    items: int
    bytes: int


class Summary(Struct, frozen=True):
    """What a run did and what the ledger holds after it."""

    run: int
    tallies: tuple[Tally, ...]
    problems: int
    scan_complete: bool
    seconds: float
    moved_items: int
    moved_bytes: int
    requests: Mapping[str, int] = field(default_factory=dict)
    """Requests to the destination by operation (PUT, HEAD, ...)."""
    records: "tuple[RecordTally, ...]" = ()
    variants: tuple[VariantTally, ...] = ()

    def items(self, state: State) -> int:
        """Items in one state over all sources."""
        return sum(t.items for t in self.tallies if t.state is state)

    def size(self, state: State) -> int:
        """Known bytes in one state over all sources."""
        return sum(t.bytes for t in self.tallies if t.state is state)
