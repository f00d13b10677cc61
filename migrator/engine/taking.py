"""What cleanup and purge have in common: what was asked, both ends, and the account of what went and what stays."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from migrator.core.cleaning import Cleaned, CleanupSummary, Wanted
from migrator.core.cleaning_ports import CleanupLedger, Remover
from migrator.core.config import Config
from migrator.core.ports import EventKind, Observer, Reader, Store
from migrator.core.secrets import mask_text
from migrator.engine.patience import Patience
from migrator.engine.stopping import Stop

PAGE = 500
"""Items that are looked through at once."""


class CleanupOptions(Struct, frozen=True):
    """What the operator asked of this cleanup. `dry_run`: say what it would do, and do nothing."""

    dry_run: bool = False
    purge: bool = False
    limit: int | None = None
    names: tuple[str, ...] = ()


class Ends(Struct, frozen=True):
    """Both ends of a migration: where sources lie and how they are read, and where their objects stand.

    trusted  the destination was seen to check the SHA-256 that it keeps
    """

    remover: Remover
    reader: Reader
    store: Store
    trusted: bool


@dataclass(slots=True)
class Taking:
    """One cleanup or purge over one ledger: its `execute` may be called once, and `summary` is what it came to."""

    config: Config
    ends: Ends
    ledger: CleanupLedger
    wanted: Wanted
    observer: Observer
    stop: Stop
    options: CleanupOptions
    summary: CleanupSummary = field(default_factory=CleanupSummary)
    patience: Patience = field(init=False)
    chosen: int = 0
    """Sources that go, for the limit."""

    def __post_init__(self) -> None:
        self.patience = Patience.of(self.config, self.observer, self.stop)

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return self.options.limit is not None and self.chosen >= self.options.limit

    def count(self, done: Sequence[Cleaned]) -> None:
        """Tells what went; in a dry run also what stays: millions of those would fill a log."""
        for one in done:
            self.summary.add(one)
        told = [_plain(one) for one in done if self.options.dry_run or not one.kept]
        self.observer.event(EventKind.CLEANED, f"{len(done)} looked at", looked_at=len(done), sources=told)


def _plain(done: Cleaned) -> dict[str, str | int]:
    return {
        "do": "keep" if done.kept else (done.way.value if done.way else "purge"),
        "why": done.kept.value if done.kept else "",
        "location": done.location,
        "source": done.source,
        "bytes": done.size,
        "message": mask_text(done.message),
    }
