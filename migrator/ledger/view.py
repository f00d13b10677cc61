"""What reports, `status` and `plan` read: a ledger opened read-only, at any time, while a run writes or not."""

import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import orjson

from migrator.core.audit import Head
from migrator.core.errors import LedgerError
from migrator.core.model import Fault, Problem, Tally, Task, VariantTally
from migrator.core.objects import Capabilities
from migrator.core.records import RecordTally, RecordTask
from migrator.core.variants import Picture, VariantMeans
from migrator.core.verification import VerificationSummary
from migrator.ledger import journal, record_view, records, variant_view, variants, verifications
from migrator.ledger.audit import known_head
from migrator.ledger.connection import connect_reader, translated
from migrator.ledger.lock import Holder, holder
from migrator.ledger.outcomes import PACE_SECONDS
from migrator.ledger.record_view import FailedRecord
from migrator.ledger.schema import pending
from migrator.ledger.seal import Seal
from migrator.ledger.seen import Collision, Difference, FailedItem, Pace, Run, Scan, SettledItem
from migrator.ledger.variant_view import FailedVariant

if TYPE_CHECKING:
    from migrator.core.cleaning import CleanedTally
    from migrator.core.throughput import RunPace
    from migrator.core.undoing import LeftAlone

_PAGE = 1000
"""Rows read at a time: no read stays open for long, so the writer can always make its file small again."""
_SAMPLED = 1000
"""Items whose names stand for those of all."""


class LedgerView:
    """A ledger, read-only. Raises LedgerError, never sqlite3's own."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Takes over what `open` made."""
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> "LedgerView":
        """Opens what is there and creates nothing. Raises LedgerError when it is missing, damaged or newer."""
        if not path.is_file():
            raise LedgerError(f"There is no ledger at {path}", "run `migrator plan` or `migrator migrate` first")
        with translated(path):
            connection = connect_reader(path)
            try:
                lacking = pending(connection)
            except BaseException:
                connection.close()
                raise
        if lacking:
            connection.close()
            raise LedgerError(f"{path} is not up to date", "run `migrator plan`, which brings it up to date")
        return cls(path, connection)

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()

    @property
    def id(self) -> str:
        """Random name of the ledger, in the mark of every put."""
        return self.meta("id") or ""

    def __enter__(self) -> "LedgerView":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def copy_to(self, path: Path) -> None:
        """Writes a whole ledger of its own to `path` (with the key of its sealed URLs), as it stands now."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(0o600)
        key = self.path.with_suffix(".key")
        if key.exists():
            shutil.copy(key, path.with_suffix(".key"))
        with translated(path), closing(sqlite3.connect(path)) as copy:
            self._connection.backup(copy)

    def meta(self, key: str) -> str | None:
        """`name`, `created_at` (seconds since 1970), or what `set_meta` kept."""
        with translated(self.path):
            return journal.get_meta(self._connection, key)

    def capabilities(self) -> Capabilities | None:
        """What the destination was last seen to honour."""
        with translated(self.path):
            return journal.capabilities(self._connection)

    def audit_head(self) -> Head | None:
        """The last line of the audit log that the ledger knows."""
        with translated(self.path):
            return known_head(self._connection)

    def holder(self) -> Holder | None:
        """The process that works on it now."""
        return holder(self.path.with_suffix(".lock"))

    def running(self) -> int | None:
        """Number of the run at work. What an earlier holder of the lock left without an end was killed."""
        at_work = self.holder()
        found = self._all("SELECT id, started_at, finished_at FROM runs ORDER BY id DESC LIMIT 1")
        if at_work is None or not found:
            return None
        ((number, started, finished),) = found
        return int(number) if finished is None and started >= at_work.since_epoch else None

    def tallies(self) -> list[Tally]:
        """Counts by source, state and reason; no row is counted."""
        with translated(self.path):
            return journal.tallies(self._connection)

    def record_tallies(self) -> list[RecordTally]:
        """Counts of records by source, state and reason; no row is counted."""
        with translated(self.path):
            return records.tallies(self._connection)

    def failed_records(self, limit: int | None = None) -> Iterator[FailedRecord]:
        """Every row that was not updated: by source and fault, then in the order of the scan."""
        rows = self._all(
            "SELECT id, name, reason FROM record_tallies JOIN sources ON sources.id = record_tallies.source"
            " WHERE state = 'failed' AND records <> 0 ORDER BY id, reason"
        )
        kinds = ((source, name, Fault(reason)) for source, name, reason in rows)
        return islice(record_view.failed_records(self._pages, kinds), limit)

    def waiting_records(self, source: str, limit: int) -> list[RecordTask]:
        """The first rows of `source` that are still to be updated, for a plan to show."""
        found = self._all("SELECT id FROM sources WHERE name = ?", (source,))
        rows = (row for (number,) in found for row in record_view.waiting_records(self._pages, number, source))
        return list(islice(rows, limit))

    def large(self, source: str, above: int, part_size: int) -> tuple[int, int]:
        """(items, parts) of what `source` has still to move with more than `above` bytes. Looks at each item."""
        ((items, parts),) = self._all(
            "SELECT count(*), coalesce(sum((size + ? - 1) / ?), 0) FROM items"
            " WHERE (state = 'planned' OR state = 'intended') AND size > ?"
            " AND source = (SELECT id FROM sources WHERE name = ?)",
            (part_size, part_size, above, source),
        )
        return int(items), int(parts)

    def mean_names(self) -> float:
        """Bytes of key and location together, of an item; by the last ones, which are the last to be moved too."""
        ((mean,),) = self._all(
            "SELECT coalesce(avg(length(CAST(key AS BLOB)) + length(CAST(location AS BLOB))), 0)"
            f" FROM (SELECT key, location FROM items ORDER BY id DESC LIMIT {_SAMPLED})"
        )
        return float(mean)

    def scans(self) -> list[Scan]:
        """One of each source that was scanned, in the order in which they were first seen."""
        rows = self._all(
            "SELECT name, complete, skipped, problems, started_at, finished_at"
            " FROM scans JOIN sources ON sources.id = scans.source ORDER BY scans.source"
        )
        return [Scan(name, bool(complete), *rest) for name, complete, *rest in rows]

    def runs(self) -> list[Run]:
        """All runs, oldest first."""
        rows = self._all(
            "SELECT id, command, config_hash, started_at, finished_at, status, requests,"
            " coalesce(moved_items, 0), coalesce(moved_bytes, 0), retries FROM runs ORDER BY id"
        )
        return [
            Run(number, command, config, started, finished, status, orjson.loads(requests or "{}"), *counts)
            for number, command, config, started, finished, status, requests, *counts in rows
        ]

    def throughput(self, points: int) -> "list[RunPace]":
        """How fast the latest runs stored what they stored, in about `points` stretches altogether."""
        from migrator.ledger.throughput import throughput  # who migrates reads none of what these three return

        return throughput(self._all, points)

    def pace(self, seconds: int = 60) -> Pace:
        """Items and bytes stored a second, over about the last `seconds`."""
        now = time.time()
        start = int(now) - seconds
        start -= start % PACE_SECONDS
        ((first, items, size),) = self._all(
            "SELECT min(at), coalesce(sum(items), 0), coalesce(sum(bytes), 0) FROM pace WHERE at >= ?", (start,)
        )
        lasted = max(now - (first if first is not None else start), 1.0)
        return Pace(items / lasted, size / lasted)

    def problem_count(self) -> int:
        """How many problems the scans met."""
        with translated(self.path):
            return journal.problem_count(self._connection)

    def problems(self, limit: int | None = None) -> Iterator[tuple[str, Problem]]:
        """(source, problem), in the order in which they were met."""
        rows = self._pages(
            "SELECT problems.id, name, place, position, fault, message"
            " FROM problems JOIN sources ON sources.id = problems.source WHERE problems.id > ? ORDER BY problems.id",
            limit,
        )
        for source, place, position, fault, message in rows:
            yield source, Problem(place, position, Fault(fault), message)

    def collision_count(self) -> int:
        """How many locations want a key that another one has."""
        with translated(self.path):
            return journal.collision_count(self._connection)

    def collisions(self, limit: int) -> list[Collision]:
        """Keys that several locations want, those that most want first."""
        rows = self._all(
            "SELECT later.key, earlier.location, second.location, later.number FROM"
            " (SELECT key, min(id) AS second, count(*) AS number FROM items WHERE collides IS NOT NULL GROUP BY key"
            "  ORDER BY 3 DESC, 2 LIMIT ?) AS later"
            " JOIN items AS second ON second.id = later.second JOIN items AS earlier ON earlier.id = second.collides"
            " ORDER BY later.number DESC, later.second",
            (limit,),
        )
        return [Collision(*row) for row in rows]

    def failures(self, limit: int | None = None) -> Iterator[FailedItem]:
        """Every failed item, collisions too: by source and fault, then in the order of the scan."""
        return islice((item for kind in self._failed_kinds() for item in self._failed(*kind)), limit)

    def examples(self, fault: Fault, limit: int) -> list[FailedItem]:
        """The first failed items with this fault."""
        kinds = (kind for kind in self._failed_kinds() if kind[2] is fault)
        return list(islice((item for kind in kinds for item in self._failed(*kind)), limit))

    def _failed_kinds(self) -> list[tuple[int, str, Fault]]:
        rows = self._all(
            "SELECT id, name, reason FROM tallies JOIN sources ON sources.id = tallies.source"
            " WHERE state = 'failed' AND items <> 0 ORDER BY id, reason"
        )
        return [(source, name, Fault(reason)) for source, name, reason in rows]

    def _failed(self, source: int, name: str, fault: Fault) -> Iterator[FailedItem]:
        # One state, source and fault at a time: that is a run of the queue's index, so no other row is looked at.
        for location, key, size, message, attempts in self._pages(
            "SELECT id, location, key, size, message, attempts FROM items WHERE state = 'failed'"
            f" AND source = {source} AND fault = '{fault}' AND id > ? ORDER BY id"
        ):
            yield FailedItem(name, location, key, size, fault, message or "", attempts)

    def cleaned(self) -> "list[CleanedTally]":
        """Sources that were taken away, by source and state; no row is counted."""
        if not self._all("SELECT 1 FROM cleaned_tallies LIMIT 1"):
            return []
        from migrator.ledger.cleaned import tallies  # few ledgers have any, and every command asks

        with translated(self.path):
            return tallies(self._connection)

    def verifications(self) -> list[VerificationSummary]:
        """All verifications, the oldest first."""
        with translated(self.path):
            return verifications.summaries(self._connection)

    def differences(self, limit: int | None = None) -> Iterator[Difference]:
        """What the last verification found wrong, then the keys that nothing explains."""
        found = verifications.differences(self._all)
        for result, key, variant, location, message in islice(found, limit):
            yield Difference(result, key, variant, location, message or "")

    def left_alone(self, limit: int | None = None) -> "Iterator[LeftAlone]":
        """What the last rollback did not undo, in the order in which it came to it."""
        from migrator.core.undoing import LeftAlone

        for kind, name, source, fault, message in self._pages(
            "SELECT id, kind, name, source, fault, message FROM left_alone WHERE id > ? ORDER BY id", limit
        ):
            yield LeftAlone(kind, name, source, Fault(fault), message)

    def left_alone_count(self) -> int:
        """How many things that is. Nothing is ever taken out but all of it, so the ids count."""
        ((count,),) = self._all("SELECT coalesce(max(id) - min(id) + 1, 0) FROM left_alone")
        return int(count)

    def variant_tallies(self) -> list[VariantTally]:
        """Counts of variants by source, name, format, state and reason; no row is counted."""
        with translated(self.path):
            return variants.tallies(self._connection)

    def failed_variants(self, limit: int | None = None, fault: Fault | None = None) -> Iterator[FailedVariant]:
        """Every variant that could not be made (for this fault), by fault."""
        return islice(variant_view.failed(self._pages, (fault,) if fault else sorted(Fault)), limit)

    def variant_means(self) -> dict[tuple[str, str], VariantMeans]:
        """Means over stored variants by (name, format); of some thousands of them where there are more."""
        return variant_view.means(self._all)

    def pictures(self, name: str, image_format: str, limit: int, largest: int) -> list[Picture]:
        """Stored variants of one kind with at most `largest` bytes, spread over the ledger; found near enough only."""
        return variant_view.pictures(self._all, name, image_format, limit, largest)

    def waiting_rows(self) -> int:
        """Rows whose object stands, and a variant that they refer to does not. Looks at items that are not settled."""
        return variant_view.waiting_rows(self._all)

    def lacking_variants(self, source: str, wanted: Sequence[tuple[str, str]], *, in_place: bool) -> tuple[int, int]:
        """(images, variants) that stand without: found in place, or arrived. Looks at each item of `source`."""
        return variant_view.lacking(self._all, source, wanted, in_place=in_place)

    def sample(self, source: str, count: int) -> list[Task]:
        """Planned items of `source`, spread over all of them. Raises LedgerError where a signed URL cannot be read."""
        seal = Seal(self.path.with_suffix(".key"), used=True)
        return variant_view.sample(self._all, source, count, self.id, seal)

    def settled(self) -> Iterator[SettledItem]:
        """Every stored or skipped item, in the order of the scan."""
        for source, location, key, size, sha256, etag, version, mime, replaced, at, skip, adopted in self._pages(
            "SELECT items.id, name, location, key, coalesce(stored_size, size), sha256, etag, version_id, content_type,"
            " replaced, settled_at, fault, adopted FROM items JOIN sources ON sources.id = items.source"
            " WHERE items.id > ? AND +state IN ('stored', 'skipped') ORDER BY items.id"
        ):
            yield SettledItem(
                source, location, key, size, sha256, etag, version, mime, replaced, at, skip, bool(adopted)
            )

    def _pages(self, query: str, limit: int | None = None) -> Iterator[tuple[Any, ...]]:
        """Rows without their id, which comes first in `query` and is its only parameter."""
        return islice(self._rows(query, _PAGE if limit is None else min(limit, _PAGE)), limit)

    def _rows(self, query: str, page: int) -> Iterator[tuple[Any, ...]]:
        last = 0
        while rows := self._all(f"{query} LIMIT {page}", (last,)):
            for row in rows:
                yield row[1:]
            last = rows[-1][0]

    def _all(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with translated(self.path):
            return self._connection.execute(query, values).fetchall()
