"""What a run has done so far, counted from what the engine tells; every observer that shows figures reads this."""

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from migrator.core.model import Failed, Made, Page, Settlement, Skipped, State, Stored, Tally, Task, VariantOutcome
from migrator.core.records import RecordOutcome, RecordTask

WINDOW = 15.0
"""Seconds over which the current speed is measured."""


@dataclass(slots=True)
class Counts:
    """Running totals. Written by the engine's thread, read by whoever draws: each figure is right by itself."""

    now: Callable[[], float] = time.monotonic
    total: int = 0
    """Items to be dealt with that are known so far."""
    total_bytes: int = 0
    unsized: int = 0
    """Items among them whose size only the transfer will tell."""
    before: int = 0
    """Items that earlier runs had dealt with."""
    listed: int = 0
    """Items that the scans of this run have come by, known ones too."""
    stored: int = 0
    stored_bytes: int = 0
    done_bytes: int = 0
    """Bytes of all settled items, as the scan knew them: what is left of `total_bytes` follows from it."""
    on_way: dict[int, int] = field(default_factory=dict)
    """Bytes of large objects that stand in their open uploads, by item."""
    skipped: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    recorded: int = 0
    """Rows that hold their new values."""
    failed_records: dict[str, int] = field(default_factory=dict)
    variants: int = 0
    """Images that were made of others."""
    failed_variants: dict[str, int] = field(default_factory=dict)
    problems: int = 0
    left_out: int = 0
    retries: int = 0
    limit: int = 0
    scanning: set[str] = field(default_factory=set)
    """Sources of which more may come."""
    start: float = 0.0
    samples: deque[tuple[float, int, int, int]] = field(default_factory=deque)
    """(time, items settled, bytes sent, bytes settled as the scan knew them), a batch each."""

    def __post_init__(self) -> None:
        self.start = self.now()

    @classmethod
    def resuming(
        cls,
        tallies: Sequence[Tally],
        sources: Collection[str],
        scanned: Collection[str] = (),
        *,
        failed_too: bool = False,
    ) -> "Counts":
        """Counts of `sources` that begin where the ledger stands; those in `scanned` have been seen to their end.

        `failed_too`: failed items go back to planned.
        """
        counts = cls(scanning={source for source in sources if source not in scanned})
        for tally in tallies:
            if tally.source not in sources:
                continue
            if tally.state in (State.PLANNED, State.INTENDED) or (failed_too and tally.state is State.FAILED):
                counts.total += tally.items
                counts.total_bytes += tally.bytes
                counts.unsized += 0 if tally.bytes else tally.items
            else:
                counts.before += tally.items
        return counts

    def page(self, page: Page, new: int) -> None:
        """A page of a scan: `new` of its items were not known."""
        self.problems += len(page.problems)
        self.left_out += page.skipped
        self.listed += len(page.items)
        self.total += new
        if new and page.items:
            share = new / len(page.items)
            sizes = [item.size for item in page.items if item.size is not None]
            self.total_bytes += int(sum(sizes) * share)
            self.unsized += round((len(page.items) - len(sizes)) * share)

    def scan_complete(self, source: str) -> None:
        """Nothing more will come from `source`."""
        self.scanning.discard(source)

    def sent(self, task: Task, size: int) -> None:
        """A part of a large object: it counts as moved from now on, and its settlement only for the rest."""
        self.on_way[task.id] = self.on_way.get(task.id, 0) + size
        self.samples.append((self.now(), 0, size, 0 if task.size is None else size))

    def settled(self, settlements: Sequence[Settlement]) -> None:
        """A batch of outcomes."""
        moved_bytes, known_bytes = 0, 0
        for settlement in settlements:
            outcome = settlement.outcome
            already = self.on_way.pop(settlement.task.id, 0)
            if settlement.task.size is None:
                self.unsized -= 1
            else:
                self.done_bytes += settlement.task.size
                known_bytes += max(0, settlement.task.size - already)
            if isinstance(outcome, Stored):
                self.stored += 1
                self.stored_bytes += outcome.size
                moved_bytes += max(0, outcome.size - already)
            elif isinstance(outcome, Skipped):
                self.skipped[outcome.reason] = self.skipped.get(outcome.reason, 0) + 1
            elif isinstance(outcome, Failed):
                self.failed[outcome.fault] = self.failed.get(outcome.fault, 0) + 1
            if not isinstance(outcome, Failed) and outcome.variants:
                self.render(outcome.variants)
        self.samples.append((self.now(), len(settlements), moved_bytes, known_bytes))

    def record(self, outcomes: Sequence[tuple[RecordTask, RecordOutcome]]) -> None:
        """A batch of rows."""
        for _, outcome in outcomes:
            if isinstance(outcome, Failed):
                self.failed_records[outcome.fault] = self.failed_records.get(outcome.fault, 0) + 1
            else:
                self.recorded += 1

    def render(self, outcomes: Sequence[VariantOutcome]) -> None:
        """Variants of one image."""
        for outcome in outcomes:
            if isinstance(outcome, Made):
                self.variants += 1
            else:
                self.failed_variants[outcome.fault] = self.failed_variants.get(outcome.fault, 0) + 1

    @property
    def done(self) -> int:
        """Items settled in this run."""
        return self.stored + sum(self.skipped.copy().values()) + sum(self.failed.copy().values())

    @property
    def moved_bytes(self) -> int:
        """Bytes that stand in the destination, those of open uploads among them."""
        return self.stored_bytes + sum(self.on_way.copy().values())

    @property
    def share(self) -> float | None:
        """How much of what is known is done, 0 to 1: by bytes where all sizes are known, else by items."""
        if self.scanning or not self.total:
            return None
        if self.total_bytes and self.unsized <= 0:
            return min(1.0, (self.done_bytes + sum(self.on_way.copy().values())) / self.total_bytes)
        return self.done / self.total

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self.now() - self.start

    def speed(self) -> tuple[float, float]:
        """(items, bytes) a second over the last WINDOW seconds."""
        items, sent, _ = self._speed()
        return items, sent

    def eta(self) -> float | None:
        """Seconds until everything known is settled; None while a scan goes on or nothing moves."""
        if self.scanning:
            return None
        items, _, settled = self._speed()
        left = self.total - self.done
        left_bytes = self.total_bytes - self.done_bytes - sum(self.on_way.copy().values())
        # By bytes as well where all sizes are known: the large objects may come last.
        by_bytes = left_bytes / settled if settled and self.unsized <= 0 else 0.0
        by_items = left / items if items else 0.0
        return max(by_items, by_bytes) or None

    def _speed(self) -> tuple[float, float, float]:
        now = self.now()
        while self.samples and self.samples[0][0] < now - WINDOW:
            self.samples.popleft()
        span = min(WINDOW, max(now - self.start, 0.5))
        columns = list(zip(*self.samples, strict=True))[1:] or ((), (), ())
        items, sent, settled = (sum(column) / span for column in columns)
        return items, sent, settled
