"""The values of the audit log: what was changed outside the ledger, one line each. Frozen, small, without secrets."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum

from msgspec import Struct, field

Plain = str | int | bool | None | Sequence[str]
"""What a detail may be: it goes into JSON as it is."""


class Deed(StrEnum):
    """What was done. Text in the log."""

    PUT = "put"
    """Sent and stored, in one piece or in parts."""
    COPY = "copy"
    """Stored by the server, from an object of its own."""
    ADOPT = "adopt"
    """It stands already: an earlier attempt had done it, and nobody had noted that."""
    UPDATE = "update"
    """A row holds new values."""
    DELETE = "delete"
    RESTORE = "restore"
    """What was there before is there again."""
    TRASH = "trash"
    """A source was moved to the trash folder."""
    PURGE = "purge"
    """It was deleted out of the trash folder."""
    ABORT = "abort"
    """An upload that was left open was dropped."""
    CREATE = "create"
    ALTER = "alter"
    """A setting was changed."""
    DROP = "drop"
    NOTE = "note"
    """Nothing was changed: something is to be said about the log itself."""


class Kind(StrEnum):
    """What it was done to. Text in the log."""

    OBJECT = "object"
    VARIANT = "variant"
    ROW = "row"
    SOURCE = "source"
    UPLOAD = "upload"
    BACKUP = "backup"
    COLUMN = "column"
    BUCKET = "bucket"
    FOLDER = "folder"
    LOG = "log"


class Change(Struct, frozen=True):
    """One thing that was changed, after it was.

    name     key, JSON of a primary key, location (as it may be shown), table.column or bucket
    source   name of the source that it came from; empty where there is none
    details  what stands there now or stood there before: sizes, digests, versions, names of columns. Never a value of a
             row, a query of a URL, or anything else that may be a secret
    """

    deed: Deed
    kind: Kind
    name: str
    source: str = ""
    details: Mapping[str, Plain] = field(default_factory=dict)

    @classmethod
    def aborted(cls, key: str, upload_id: str, source: str) -> "Change":
        """A multipart upload of `key` that was dropped."""
        return cls(Deed.ABORT, Kind.UPLOAD, key, source, {"upload_id": upload_id})


class Head(Struct, frozen=True):
    """The last line of the log that the ledger knows: its number, its hash, its place in the file (bytes)."""

    number: int
    hash: str
    start: int
    end: int


class Event(Struct, frozen=True):
    """A line of the log as it was written: its own hash is right.

    number    counts the lines, from 1
    time      UTC, ISO 8601 with milliseconds; sorts as text
    previous  hash of the line before it
    """

    number: int
    time: str
    run: int
    deed: str
    kind: str
    name: str
    source: str
    details: Mapping[str, object]
    previous: str
    hash: str


def spelled(seconds: float) -> str:
    """Seconds since the epoch as `Event.time`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Wanted(Struct, frozen=True):
    """Which lines somebody wants to see; None and "" stand for any.

    key     a pattern for whole names where it has `*` or `?`, else a piece of them
    since   UTC, as `Event.time`
    limit   so many of the newest
    """

    key: str = ""
    source: str = ""
    run: int | None = None
    deed: str = ""
    since: str = ""
    limit: int | None = None


class Damage(StrEnum):
    """What was done to a log that is no longer as it was written."""

    EDITED = "edited"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    CUT = "cut"
    """Lines at the end are gone."""
    REWRITTEN = "rewritten"
    """The chain is whole, and it is not the one that the ledger knows."""


class Broken(Struct, frozen=True):
    """The first line that is not as it was written: its place in the file, from 1, and what is wrong with it."""

    line: int
    damage: Damage
    message: str


class Checked(Struct, frozen=True):
    """What a walk along the chain came to.

    lines       that are as they were written, before the first that is not
    first, last their times; empty where there are none
    hash        of the last of them
    known       the last line that the ledger knows
    unfinished  bytes of a last line that nobody finished writing: it is cut off by the next one
    """

    lines: int
    first: str
    last: str
    hash: str
    known: Head | None
    unfinished: int = 0
    broken: Broken | None = None
