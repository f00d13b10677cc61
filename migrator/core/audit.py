"""One line of the audit log: something outside the ledger that was changed. Frozen, small, without secrets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

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


@dataclass(frozen=True, slots=True)
class Change:
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


@dataclass(frozen=True, slots=True)
class Head:
    """The last line of the log that the ledger knows: its number, its hash, its place in the file (bytes)."""

    number: int
    hash: str
    start: int
    end: int
