"""The values of `cleanup`: sources whose objects stand, why one stays, what became of one. Frozen, small."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import Struct

from migrator.core.model import Fault, State, Task


class Kept(StrEnum):
    """Why a source stays."""

    HTTP = "http"
    UNCONFIGURED = "unconfigured"
    NOT_MOVED = "not-moved"
    IN_PLACE = "in-place"
    ONLY_VARIANTS = "only-variants"
    VARIANTS = "variants"
    ROWS = "rows"
    DIFFERS = "differs"
    UNVERIFIED = "unverified"
    GRACE = "grace"
    SOURCE_GONE = "source-gone"
    LINK = "link"
    DESTINATION = "destination"
    SOURCE_CHANGED = "source-changed"
    OBJECT_CHANGED = "object-changed"
    UNCONDITIONAL = "unconditional"
    REFUSED = "refused"
    RESTORED = "restored"

    @property
    def wrong(self) -> bool:
        """Whether it should have gone, and did not: the exit status says so."""
        return self in (Kept.SOURCE_CHANGED, Kept.OBJECT_CHANGED, Kept.UNCONDITIONAL, Kept.REFUSED)


class Way(StrEnum):
    """How a source is taken away. Text in the ledger."""

    TRASH = "trash"
    """A file is moved to the trash folder."""
    MARKER = "marker"
    """An object of a versioned bucket is hidden by a delete marker."""
    DELETE = "delete"
    """An object is gone at once: its bucket keeps no versions."""


class Gone(StrEnum):
    """What became of a source that was taken away. Text in the ledger."""

    INTENDED = "intended"
    """It may be gone already: written before anything is done to it."""
    TRASHED = "trashed"
    """It can be had back: out of the trash folder, or by removing the delete marker."""
    DELETED = "deleted"
    PURGED = "purged"
    """It was deleted out of the trash."""
    RESTORED = "restored"
    """It stands where it stood."""


class Where(StrEnum):
    """Where a source that was taken away, or was about to be, is now."""

    SOURCE = "source"
    """At its place, unchanged."""
    TRASH = "trash"
    """In the trash, and its place is free."""
    COVERED = "covered"
    """In the trash, and something else stands at its place."""
    OTHER = "other"
    """Not at its place, and what is in the trash is not what was put there."""
    LOST = "lost"
    """Neither here nor there."""


class Arrived(Struct, frozen=True):
    """An object or variant as the ledger knows it.

    proven_at  when `verify` last found it to be what was stored, by its bytes; None where it never did since
    wrong      the last verification found it different, missing, or could not tell
    """

    key: str
    size: int | None
    sha256: bytes | None
    etag: str
    version_id: str | None
    proven_at: int | None
    wrong: bool


class Claim(Struct, frozen=True):
    """An item whose bytes come from a source.

    skip      the reason of a skipped item, else empty
    own       its own object; None where only its variants were stored
    variants  those that are configured and stand
    lacking   variants that are configured, and neither stand nor are known not to be needed
    rows      rows of the database that refer to it and were not updated
    """

    task: Task
    state: State
    skip: str
    own: Arrived | None
    variants: tuple[Arrived, ...]
    lacking: int
    rows: int

    @property
    def arrived(self) -> tuple[Arrived, ...]:
        """Everything of it that has to stand."""
        return (*((self.own,) if self.own else ()), *self.variants)


class Candidate(Struct, frozen=True):
    """A source, and every item that is made of it: first those that name it so, then those that name it otherwise."""

    location: str
    claims: tuple[Claim, ...]

    @property
    def task(self) -> Task:
        """For those who look at the source."""
        return self.claims[0].task

    @property
    def keys(self) -> frozenset[str]:
        """What its items have stored."""
        return frozenset(one.key for claim in self.claims for one in claim.arrived)

    @property
    def size(self) -> int:
        """Bytes, where known."""
        own = self.claims[0].own
        return (own.size if own else self.task.size) or 0


class SourceSeen(Struct, frozen=True):
    """A source as it stands now.

    here  the key under which it stands in the destination itself; None: it does not
    mark  the mark of the put that made it, if any
    link  why its name leads to something that is not its alone; empty: it does not
    """

    size: int
    fingerprint: str
    version_id: str | None = None
    modified: float | None = None
    here: str | None = None
    mark: str | None = None
    link: str = ""


class Removal(Struct, frozen=True):
    """A source that is taken away, as the ledger keeps it.

    number       0 before the ledger knows it
    items        all that are made of it
    place        where it is in the trash: a location; None where there is no trash
    fingerprint  what it was when it was taken away
    marker_id    version of the delete marker that hides it
    at           when its state was written, in seconds since the epoch
    """

    location: str
    source: str
    items: tuple[int, ...]
    way: Way
    size: int
    fingerprint: str
    place: str | None = None
    version_id: str | None = None
    marker_id: str | None = None
    state: Gone = Gone.INTENDED
    number: int = 0
    intended_at: int = 0
    at: int = 0


class Found(Struct, frozen=True):
    """Where a removed source is now. `marker_id`: the delete marker that hides it, as far as it is ours."""

    where: Where
    message: str = ""
    marker_id: str | None = None


class Cleaned(Struct, frozen=True):
    """What a cleanup came to, or in a dry run would come to, for one source: `kept` None: it goes, `way` says how."""

    location: str
    source: str
    size: int
    way: Way | None = None
    kept: Kept | None = None
    message: str = ""
    fault: Fault | None = None
    removal: Removal | None = None


class CleanedTally(Struct, frozen=True):
    """Sources of one configured source in one state."""

    source: str
    state: Gone
    sources: int
    bytes: int


@dataclass(slots=True)
class Group:
    """Sources that stay for one reason: how many, and the first of them."""

    sources: int = 0
    bytes: int = 0
    example: str = ""
    message: str = ""


@dataclass(slots=True)
class CleanupSummary:
    """What a cleanup came to. `gone` is by source and way: (sources, bytes)."""

    gone: dict[tuple[str, Way], Group] = field(default_factory=dict)
    kept: dict[Kept, Group] = field(default_factory=dict)
    resumed: int = 0
    """Sources that an earlier cleanup had begun with."""

    def add(self, done: Cleaned) -> None:
        """Counts one source."""
        group = (
            self.kept.setdefault(done.kept, Group())
            if done.kept
            else self.gone.setdefault((done.source, done.way or Way.TRASH), Group())
        )
        if not group.sources:
            group.example, group.message = done.location, done.message
        group.sources += 1
        group.bytes += done.size

    @property
    def wrong(self) -> int:
        """Sources that should have gone and did not."""
        return sum(group.sources for kept, group in self.kept.items() if kept.wrong)

    @property
    def sources(self) -> int:
        """Sources that went."""
        return sum(group.sources for group in self.gone.values())

    @property
    def bytes(self) -> int:
        """Their bytes."""
        return sum(group.bytes for group in self.gone.values())


Wanted = Mapping[str, tuple[tuple[str, str], ...]]
"""The variants, (name, format), that are configured for each source."""
