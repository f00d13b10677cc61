"""What a view of the ledger gives out: scans, runs, pace, failed items, differences."""

from msgspec import Struct

from migrator.core.model import Fault


class Scan(Struct, frozen=True):
    """Where the scan of one source stands; times are seconds since 1970."""

    source: str
    complete: bool
    skipped: int
    problems: int
    started_at: int
    finished_at: int | None


class Run(Struct, frozen=True):
    """One run. One that was killed, or has not ended, has no end and no status, and nothing moved is known of it."""

    number: int
    command: str
    config_hash: str
    started_at: int
    finished_at: int | None
    status: int | None
    requests: dict[str, int]
    moved_items: int
    moved_bytes: int
    retries: int = 0


class FailedItem(Struct, frozen=True):
    """An item that was not moved, and why."""

    source: str
    location: str
    key: str
    size: int | None
    fault: Fault
    message: str
    attempts: int


class Collision(Struct, frozen=True):
    """A key that several locations want: the `first` keeps it. `number` counts the others; `second` is one of them."""

    key: str
    first: str
    second: str
    number: int


class SettledItem(Struct, frozen=True):
    """An item that stands in the destination: stored (`skip` is None) or found there already."""

    source: str
    location: str
    key: str
    size: int | None
    sha256: str | None
    etag: str | None
    version_id: str | None
    content_type: str | None
    replaced: str | None
    settled_at: int
    skip: str | None
    adopted: bool


class Difference(Struct, frozen=True):
    """What the last verification found wrong: `result` is differ, missing, unknown or extra; `variant` name.format."""

    result: str
    key: str
    variant: str
    location: str | None
    message: str


class Pace(Struct, frozen=True):
    """What was moved lately, a second."""

    items: float
    bytes: float
