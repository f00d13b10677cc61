"""What observers are put together from: silence, counting, and one made of several."""

from collections.abc import Sequence

from migrator.cli.observers.counts import Counts
from migrator.core.model import Lacking, Page, Settlement, Task, VariantOutcome
from migrator.core.ports import EventKind, Observer
from migrator.core.records import RecordOutcome, RecordTask


class Silent:
    """Says nothing. Others override what they have something to say about."""

    def page(self, source: str, page: Page, new: int) -> None:
        """A page of a scan."""

    def scan_complete(self, source: str) -> None:
        """The end of a scan."""

    def started(self, concurrency: int) -> None:
        """The first transfer may start."""

    def sent(self, task: Task, size: int) -> None:
        """A part of a large object."""

    def settled(self, settlements: Sequence[Settlement]) -> None:
        """A batch of outcomes."""

    def recorded(self, outcomes: Sequence[tuple[RecordTask, RecordOutcome]]) -> None:
        """A batch of rows."""

    def rendered(self, done: Sequence[tuple[Lacking, Sequence[VariantOutcome]]]) -> None:
        """A batch of variants of images that stood before."""

    def event(self, kind: EventKind, message: str, **details: object) -> None:
        """Anything else."""

    def concurrency(self, limit: int) -> None:
        """A new bound of transfers in flight."""


class Several:
    """Tells each of its observers everything, in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def page(self, source: str, page: Page, new: int) -> None:
        for observer in self._observers:
            observer.page(source, page, new)

    def scan_complete(self, source: str) -> None:
        for observer in self._observers:
            observer.scan_complete(source)

    def started(self, concurrency: int) -> None:
        for observer in self._observers:
            observer.started(concurrency)

    def sent(self, task: Task, size: int) -> None:
        for observer in self._observers:
            observer.sent(task, size)

    def settled(self, settlements: Sequence[Settlement]) -> None:
        for observer in self._observers:
            observer.settled(settlements)

    def recorded(self, outcomes: Sequence[tuple[RecordTask, RecordOutcome]]) -> None:
        for observer in self._observers:
            observer.recorded(outcomes)

    def rendered(self, done: Sequence[tuple[Lacking, Sequence[VariantOutcome]]]) -> None:
        for observer in self._observers:
            observer.rendered(done)

    def event(self, kind: EventKind, message: str, **details: object) -> None:
        for observer in self._observers:
            observer.event(kind, message, **details)

    def concurrency(self, limit: int) -> None:
        for observer in self._observers:
            observer.concurrency(limit)


class Counting(Silent):
    """Keeps `Counts` up to date for those that show figures; stands before them."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def page(self, source: str, page: Page, new: int) -> None:
        self._counts.page(page, new)

    def scan_complete(self, source: str) -> None:
        self._counts.scan_complete(source)

    def started(self, concurrency: int) -> None:
        self._counts.limit = concurrency

    def sent(self, task: Task, size: int) -> None:
        self._counts.sent(task, size)

    def settled(self, settlements: Sequence[Settlement]) -> None:
        self._counts.settled(settlements)

    def recorded(self, outcomes: Sequence[tuple[RecordTask, RecordOutcome]]) -> None:
        self._counts.record(outcomes)

    def rendered(self, done: Sequence[tuple[Lacking, Sequence[VariantOutcome]]]) -> None:
        for _, outcomes in done:
            self._counts.render(outcomes)

    def event(self, kind: EventKind, message: str, **details: object) -> None:
        if kind is EventKind.RETRY:
            self._counts.retries += 1

    def concurrency(self, limit: int) -> None:
        self._counts.limit = limit
