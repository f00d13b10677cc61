"""The values of a rollback: what the ledger says may stand in the destination, and what became of it. No behaviour."""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from migrator.core.model import Fault, Task
from migrator.core.records import RowChange


class Doing(StrEnum):
    """What undoing one object, row, upload or column takes."""

    NOTHING = "nothing"
    """It is as it was before."""
    DELETE = "delete"
    """Ours is removed; nothing stood there before."""
    UNCOVER = "uncover"
    """Ours is removed, and the version that it covered stands there again."""
    RESTORE = "restore"
    """What was backed up takes its place again."""
    DISCARD = "discard"
    """The backup goes; what it was made of stands there."""
    ABORT = "abort"
    """An upload that was left open is dropped."""
    RETURN = "return"
    """A source that was taken away comes back."""
    PUT_BACK = "put-back"
    """A row gets its before-image."""
    DROP = "drop"
    """A column that setup added goes."""
    LEAVE = "leave"
    """It is left alone: somebody changed it, or it could not be done."""


class Scope(Struct, frozen=True):
    """What is to be undone: all, what one run did, or what came from some sources."""

    run: int | None = None
    sources: tuple[str, ...] = ()


class Placement(Struct, frozen=True):
    """A key under which an item may have put something.

    variant     (name, format), or None for the item's own object
    settled_at  when its outcome was written, in seconds since the epoch; None where nobody knows whether it arrived
    replaced    what stood there before an overwrite: `version:<id>` or `backup:<key>`
    backups     keys of backups that were made of what stood there, the newest first
    """

    key: str
    put_id: str
    variant: tuple[str, str] | None = None
    etag: str | None = None
    version_id: str | None = None
    settled_at: int | None = None
    replaced: str | None = None
    backups: tuple[str, ...] = ()

    @property
    def kept(self) -> tuple[str, ...]:
        """Where copies of what was replaced stand, the newest first."""
        kind, _, key = (self.replaced or "").partition(":")
        return self.backups or ((key,) if kind == "backup" else ())


class Remains(Struct, frozen=True):
    """An item of which something may stand in the destination.

    own       its own object; None where that is not ours, or not to be undone
    variants  those that the ledger knows of
    looked    variants about which the ledger is sure, (name, format): nobody need look for them under their keys
    arrived   the item was settled: what it brought is known but for variants
    closes    the item itself is rolled back when its parts are
    sha256    hex, of the item's bytes, as far as it is known; so are size and content type
    """

    task: Task
    own: Placement | None
    variants: tuple[Placement, ...]
    looked: frozenset[tuple[str, str]]
    arrived: bool
    closes: bool
    size: int | None
    sha256: str | None
    content_type: str | None


class Undone(Struct, frozen=True):
    """What undoing came to, or in a dry run would come to, for one object, row, upload or column. `name` is its key."""

    doing: Doing
    name: str
    source: str
    kind: str = "object"
    message: str = ""
    fault: Fault | None = None


class UndoneItem(Struct, frozen=True):
    """What became of everything that one item had brought; `own` None: its own object was not looked at."""

    remains: Remains
    own: Undone | None
    variants: Mapping[tuple[str, str], Undone]

    @property
    def all(self) -> tuple[Undone, ...]:
        """Every part of it."""
        return (*self.variants.values(), *((self.own,) if self.own else ()))


class RowBack(Struct, frozen=True):
    """A row that was, or may have been, updated for `item`; `change` None: it held the new values before we came.

    `changed`: it was put back just now, and did not hold its old values before.
    """

    record: int
    item: int
    source: str
    primary_key: str
    change: RowChange | None
    changed: bool = False


class LeftAlone(Struct, frozen=True):
    """One thing that the last rollback did not undo, and why. `kind` is object, row, upload or column."""

    kind: str
    name: str
    source: str
    fault: Fault
    message: str
