"""The values of `orphans`: what stands in the destination and no row of the ledger explains. Frozen, small."""

from enum import StrEnum

from msgspec import Struct


class Listed(Struct, frozen=True):
    """One object as a listing tells it; `modified` in seconds since the epoch, None where that is not told."""

    key: str
    size: int
    etag: str
    modified: float | None


class Unfinished(Struct, frozen=True):
    """One open multipart upload; `begun` in seconds since the epoch."""

    key: str
    upload_id: str
    begun: float


class Kind(StrEnum):
    """What an orphan is."""

    OBJECT = "object"
    UPLOAD = "upload"
    """A multipart upload that nobody completed or aborted."""
    BACKUP = "backup"
    """What a run had overwritten, kept for a rollback that no longer needs it."""
    CANARY = "canary"
    """A test object of `test-connection` or of a run."""
    SAMPLE = "sample"
    """A sample image of `smoke`."""
    TEMPORARY = "temporary"
    """A file that a killed run was writing into a folder."""


class Owner(StrEnum):
    """Whose an orphan is."""

    OURS = "ours"
    """It carries this ledger's mark, or lies where only this tool writes."""
    FOREIGN = "foreign"
    """It carries no mark of this ledger."""
    UNKNOWN = "unknown"
    """Nobody asked for its mark."""
    AWAITED = "awaited"
    """It carries the mark of an item that is not settled yet: the next run adopts it."""


class Orphan(Struct, frozen=True):
    """One thing that nothing explains. `etag` is empty and `size` None of an upload; `modified` is when it began."""

    kind: Kind
    key: str
    owner: Owner
    size: int | None = None
    modified: float | None = None
    etag: str = ""
    upload_id: str = ""
    number: int = 0
    """Where it stands in what was found."""


class Upkeep(StrEnum):
    """Why the ledger knows of an open upload."""

    NEEDED = "needed"
    """The next run goes on with it."""
    NOTED = "noted"
    """The ledger has its id, and no item needs it any more."""
    KEY = "key"
    """The ledger has its key, not its id."""


class Removal(Struct, frozen=True):
    """What became of one orphan; `kept` says why it still stands, empty: it is gone."""

    orphan: Orphan
    kept: str = ""


class OrphanTally(Struct, frozen=True):
    """Orphans of one kind and owner, and their bytes."""

    kind: Kind
    owner: Owner
    count: int
    bytes: int
