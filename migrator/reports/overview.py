"""What a ledger holds, gathered once for everything that shows it: summary, plan, status and reports.

Read from tallies and small tables, so it is as quick for ten million items as for ten.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from migrator.core.audit import Head
from migrator.core.model import Fault, Problem, State, Tally, VariantTally
from migrator.core.objects import Capabilities
from migrator.core.records import RecordState, RecordTally
from migrator.core.variants import VariantMeans
from migrator.core.verification import VerificationSummary
from migrator.reports.rollbacks import RolledBack, rolled_back
from migrator.reports.rows import FailedRecord, Targets
from migrator.reports.variants import Configured, FailedVariant, Named, VariantState, states_of
from migrator.reports.verification import Difference, Verified, verified

if TYPE_CHECKING:
    from migrator.core.cleaning import CleanedTally
    from migrator.core.throughput import RunPace
    from migrator.core.undoing import LeftAlone

Key = TypeVar("Key", bound=str)

FIRST = 20
"""Problems and collisions shown one by one; the rest are counted."""
EXAMPLES = 3
"""Failed items shown of each fault."""
POINTS = 600
"""Stretches of a chart: more than there are pixels on a phone."""


class FailedItem(Protocol):
    """A failed item; `location` is safe to show."""

    @property
    def source(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def location(self) -> str: ...
    @property
    def fault(self) -> Fault: ...
    @property
    def message(self) -> str: ...
    @property
    def attempts(self) -> int: ...


class Collision(Protocol):
    """A key that several locations want: the `first` keeps it. `number` counts the others; `second` is one of them."""

    @property
    def key(self) -> str: ...
    @property
    def first(self) -> str: ...
    @property
    def second(self) -> str: ...
    @property
    def number(self) -> int: ...


class Scan(Protocol):
    """How far the scan of a source is; `skipped` entries were left out by its filters."""

    @property
    def source(self) -> str: ...
    @property
    def complete(self) -> bool: ...
    @property
    def skipped(self) -> int: ...
    @property
    def problems(self) -> int: ...


class PastRun(Protocol):
    """One run; times in seconds since the epoch; what is None is not known because it goes on, or was killed."""

    @property
    def number(self) -> int: ...
    @property
    def command(self) -> str: ...
    @property
    def config_hash(self) -> str: ...
    @property
    def started_at(self) -> int: ...
    @property
    def finished_at(self) -> int | None: ...
    @property
    def status(self) -> int | None: ...
    @property
    def requests(self) -> dict[str, int]: ...
    @property
    def moved_items(self) -> int: ...
    @property
    def moved_bytes(self) -> int: ...
    @property
    def retries(self) -> int: ...


class View(Protocol):
    """An open ledger, read only."""

    @property
    def path(self) -> Path: ...
    def tallies(self) -> Sequence[Tally]: ...
    def problems(self, limit: int | None = None) -> Iterator[tuple[str, Problem]]: ...
    def problem_count(self) -> int: ...
    def collisions(self, limit: int) -> Sequence[Collision]: ...
    def collision_count(self) -> int: ...
    def failures(self, limit: int | None = None) -> Iterator[FailedItem]: ...
    def examples(self, fault: Fault, limit: int) -> Sequence[FailedItem]: ...
    def record_tallies(self) -> Sequence[RecordTally]: ...
    def failed_records(self, limit: int | None = None) -> Iterator[FailedRecord]: ...
    def variant_tallies(self) -> Sequence[VariantTally]: ...
    def variant_means(self) -> Mapping[Named, VariantMeans]: ...
    def failed_variants(self, limit: int | None = None, fault: Fault | None = None) -> Iterator[FailedVariant]: ...
    def waiting_rows(self) -> int: ...
    def verifications(self) -> Sequence[VerificationSummary]: ...
    def differences(self, limit: int | None = None) -> Iterator[Difference]: ...
    def runs(self) -> Sequence[PastRun]: ...
    def throughput(self, points: int) -> "Sequence[RunPace]": ...
    def cleaned(self) -> "Sequence[CleanedTally]": ...
    def audit_head(self) -> Head | None: ...
    def left_alone(self, limit: int | None = None) -> "Iterator[LeftAlone]": ...
    def left_alone_count(self) -> int: ...
    def scans(self) -> Sequence[Scan]: ...
    def capabilities(self) -> Capabilities | None: ...


class SourceState(Struct, frozen=True):
    """One source: items and bytes by state, skipped and failed items by reason, its rows, and how far its scan is."""

    name: str
    items: Mapping[State, int]
    sizes: Mapping[State, int]
    skipped: Mapping[str, int]
    failed: Mapping[str, int]
    left_out: int
    problems: int
    complete: bool
    records: Mapping[RecordState, int] = field(default_factory=dict)
    failed_records: Mapping[str, int] = field(default_factory=dict)
    planned_variants: int = 0
    """Variants that were asked for again."""

    @property
    def to_move(self) -> int:
        """Items that a run would still move."""
        return self.items.get(State.PLANNED, 0) + self.items.get(State.INTENDED, 0)

    @property
    def bytes_to_move(self) -> int:
        """Their bytes, where known."""
        return self.sizes.get(State.PLANNED, 0) + self.sizes.get(State.INTENDED, 0)


class Overview(Struct, frozen=True):
    """The state of a migration."""

    path: Path
    sources: tuple[SourceState, ...]
    examples: Mapping[str, Sequence[FailedItem]]
    """The first failed items of each fault."""
    problems: tuple[Problem, ...]
    problem_count: int
    collisions: tuple[Collision, ...]
    collision_count: int
    """Locations that are not moved because another one has their key."""
    runs: tuple[PastRun, ...]
    capabilities: Capabilities | None
    failed_rows: tuple[FailedRecord, ...] = ()
    """The first of them."""
    targets: Targets = field(default_factory=dict)
    variants: tuple[VariantState, ...] = ()
    variant_examples: Mapping[str, FailedVariant] = field(default_factory=dict)
    """The first variant of each fault."""
    waiting_rows: int = 0
    """Rows whose object stands, and a variant that they refer to does not; known once nothing is left to move."""
    verified: Verified | None = None
    """The last verification."""
    cleaned: "tuple[CleanedTally, ...]" = ()
    """Sources that a cleanup took away."""
    undone: RolledBack | None = None
    """What the last rollback came to."""
    pace: "tuple[RunPace, ...]" = ()
    audit: Head | None = None
    """The last line of the audit log."""

    def items(self, state: State) -> int:
        """Items in one state."""
        return sum(source.items.get(state, 0) for source in self.sources)

    def size(self, state: State) -> int:
        """Known bytes in one state."""
        return sum(source.sizes.get(state, 0) for source in self.sources)

    def records(self, state: RecordState) -> int:
        """Rows of the database in one state."""
        return sum(source.records.get(state, 0) for source in self.sources)

    @property
    def rows(self) -> int:
        """All rows that refer to items and are updated."""
        return sum(sum(source.records.values()) for source in self.sources)

    @property
    def rows_to_update(self) -> int:
        """Rows whose objects stand: a run would update them at once."""
        return self.records(RecordState.READY) + self.records(RecordState.INTENDED)

    @property
    def named_collisions(self) -> int:
        """How many of them `collisions` tells of."""
        return sum(each.number for each in self.collisions)

    @property
    def rows_left(self) -> int:
        """Rows that are updated now, or when their objects stand."""
        return self.records(RecordState.PLANNED) + self.rows_to_update

    @property
    def failed_records(self) -> dict[str, int]:
        """Rows that were not updated, by fault."""
        return _sum(source.failed_records for source in self.sources)

    @property
    def failed_variants(self) -> dict[str, int]:
        """Variants that were not made, by fault; of those that are configured."""
        return _sum(state.failed or {} for state in self.variants if state.configured)

    @property
    def planned_variants(self) -> int:
        """Variants that were asked for again; of those that are configured."""
        return sum(state.planned for state in self.variants if state.configured)

    @property
    def total(self) -> int:
        """All items."""
        return sum(sum(source.items.values()) for source in self.sources)

    @property
    def to_move(self) -> int:
        """Items that a run would still move."""
        return sum(source.to_move for source in self.sources)

    @property
    def complete(self) -> bool:
        """Whether every source that is known here has been seen to its end."""
        return bool(self.sources) and all(source.complete for source in self.sources)

    @property
    def all_sources(self) -> SourceState:
        """Their sum."""
        return SourceState(
            name="all",
            items=_sum(source.items for source in self.sources),
            sizes=_sum(source.sizes for source in self.sources),
            skipped=self.skipped,
            failed=self.failed,
            left_out=sum(source.left_out for source in self.sources),
            problems=self.problem_count,
            complete=self.complete,
            records=_sum(source.records for source in self.sources),
            failed_records=self.failed_records,
            planned_variants=self.planned_variants,
        )

    @property
    def skipped(self) -> dict[str, int]:
        """Skipped items by reason."""
        return _sum(source.skipped for source in self.sources)

    @property
    def failed(self) -> dict[str, int]:
        """Failed items by fault, the most frequent first."""
        return _sum(source.failed for source in self.sources)

    @property
    def retries(self) -> int:
        """Tries of all runs after the first of an object."""
        return sum(run.retries for run in self.runs)

    @property
    def requests(self) -> dict[str, int]:
        """Requests of all runs, by operation."""
        return _sum(run.requests for run in self.runs)


def overview(view: View, targets: Targets, configured: Configured, *, brief: bool = False) -> Overview:
    """Gathers everything but the long lists. `brief`: only what needs no look at items."""
    tallies = view.variant_tallies()
    wanted = [each for each in tallies if (each.name, each.format) in configured.get(each.source, ())]
    sources = _sources(view, wanted)
    variants = states_of(tallies, configured, view.variant_means() if tallies and not brief else {})
    unmade = sorted({Fault(fault) for state in variants if state.configured for fault in state.failed or {}})
    first = () if brief else ((fault, next(view.failed_variants(1, fault), None)) for fault in unmade)
    faults = sorted({Fault(fault) for source in sources for fault in source.failed})
    found = () if brief else ((fault, view.examples(fault, EXAMPLES)) for fault in faults)
    runs = tuple(view.runs())
    return Overview(
        path=view.path,
        sources=sources,
        examples={fault: tuple(examples) for fault, examples in found if examples},
        problems=() if brief else tuple(problem for _, problem in view.problems(FIRST)),
        problem_count=view.problem_count(),
        collisions=() if brief else tuple(view.collisions(FIRST)),
        collision_count=view.collision_count(),
        runs=runs,
        capabilities=view.capabilities(),
        failed_rows=() if brief else tuple(view.failed_records(FIRST)),
        targets=targets,
        variants=variants,
        variant_examples={fault: example for fault, example in first if example},
        waiting_rows=0 if any(source.to_move for source in sources) else view.waiting_rows(),
        verified=_verified(view, brief=brief),
        cleaned=tuple(view.cleaned()),
        undone=None if brief else rolled_back(runs, view.left_alone_count(), tuple(view.left_alone(FIRST))),
        pace=() if brief else tuple(view.throughput(POINTS)),
        audit=view.audit_head(),
    )


def _verified(view: View, *, brief: bool) -> Verified | None:
    seen = verified(view.verifications(), view.runs())
    if seen is None or brief or not seen.counts:
        return seen
    return replace(seen, first=tuple(view.differences(FIRST)))


def _sources(view: View, variants: Sequence[VariantTally]) -> tuple[SourceState, ...]:
    tallies, records = view.tallies(), view.record_tallies()
    scans = {scan.source: scan for scan in view.scans()}
    names = dict.fromkeys([*scans, *(tally.source for tally in tallies)])
    return tuple(
        _source(
            name,
            scans.get(name),
            [tally for tally in tallies if tally.source == name],
            [tally for tally in records if tally.source == name],
            sum(tally.variants for tally in variants if tally.source == name and tally.state == State.PLANNED),
        )
        for name in names
    )


def _source(
    name: str, scan: Scan | None, tallies: Sequence[Tally], records: Sequence[RecordTally], planned_variants: int
) -> SourceState:
    return SourceState(
        name=name,
        items=_sum({tally.state: tally.items} for tally in tallies),
        sizes=_sum({tally.state: tally.bytes} for tally in tallies),
        skipped=_sum({tally.reason: tally.items} for tally in tallies if tally.state is State.SKIPPED),
        failed=_sum({tally.reason: tally.items} for tally in tallies if tally.state is State.FAILED),
        left_out=scan.skipped if scan else 0,
        problems=scan.problems if scan else 0,
        complete=scan.complete if scan else False,
        records=_sum({tally.state: tally.records} for tally in records),
        failed_records=_sum({tally.reason: tally.records} for tally in records if tally.state is RecordState.FAILED),
        planned_variants=planned_variants,
    )


def _sum(parts: Iterable[Mapping[Key, int]]) -> dict[Key, int]:
    total: dict[Key, int] = {}
    for part in parts:
        for name, number in part.items():
            total[name] = total.get(name, 0) + number
    return dict(sorted(((name, number) for name, number in total.items() if number), key=lambda pair: -pair[1]))
