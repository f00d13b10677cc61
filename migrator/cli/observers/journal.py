"""The log of a migration: JSON lines in `checkpoints/<name>.log`, one append a batch, never in the way of the run."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from migrator.cli.observers.lines import about_failed, shown
from migrator.cli.observers.several import Silent
from migrator.core.model import Failed, Lacking, Made, Page, Settlement, Skipped, Task, VariantOutcome
from migrator.core.ports import EventKind
from migrator.core.records import RecordOutcome, RecordTask

LEVELS = {
    EventKind.RETRY: "warning",
    EventKind.SLOWER: "warning",
    EventKind.PAUSED: "warning",
    EventKind.STOPPING: "warning",
}


class LogObserver(Silent):
    """Logs the frame of a run, scans, retries, failures and throttling; with `every_item` each settled item too.

    A log that cannot be written (a full disk) is said once on stderr and then left alone: the ledger is what matters.
    """

    def __init__(self, path: Path, *, every_item: bool = False, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._every_item = every_item
        self._now = now
        self._descriptor: int | None = None
        self._broken = False

    def close(self) -> None:
        """Closes the file. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def say(self, level: str, event: str, **details: object) -> None:
        """One line."""
        self._write([self._line(level, event, details)])

    def page(self, source: str, page: Page, new: int) -> None:
        lines = [
            self._line(
                "info", "page", {"source": source, "items": len(page.items), "new": new, "skipped": page.skipped}
            )
        ]
        for problem in page.problems:
            details = {
                "source": source,
                "place": problem.place,
                "position": problem.position,
                "fault": problem.fault,
                "message": problem.message,
            }
            lines.append(self._line("warning", "problem", details))
        self._write(lines)

    def scan_complete(self, source: str) -> None:
        self.say("info", "scanned", source=source)

    def started(self, concurrency: int) -> None:
        self.say("info", "started", concurrency=concurrency)

    def settled(self, settlements: Sequence[Settlement]) -> None:
        lines = [self._settlement(each) for each in settlements if self._every_item or isinstance(each.outcome, Failed)]
        for each in settlements:
            if not isinstance(each.outcome, Failed) and each.outcome.variants:
                lines += self._variants(each.task, each.outcome.variants)
        if lines:
            self._write(lines)

    def rendered(self, done: Sequence[tuple[Lacking, Sequence[VariantOutcome]]]) -> None:
        lines = [line for job, outcomes in done for line in self._variants(job.task, outcomes)]
        if lines:
            self._write(lines)

    def recorded(self, outcomes: Sequence[tuple[RecordTask, RecordOutcome]]) -> None:
        lines = [self._record(*each) for each in outcomes if self._every_item or isinstance(each[1], Failed)]
        if lines:
            self._write(lines)

    def event(self, kind: EventKind, message: str, **details: object) -> None:
        self.say(LEVELS.get(kind, "info"), kind, message=message, **details)

    def concurrency(self, limit: int) -> None:
        self.say("info", "concurrency", limit=limit)

    def _settlement(self, settlement: Settlement) -> str:
        outcome = settlement.outcome
        details: dict[str, object] = {
            "source": settlement.task.source,
            "key": settlement.task.key,
            "location": settlement.task.location,
            "attempt": settlement.attempts,
            "ms": round(settlement.seconds * 1000, 1),
        }
        if isinstance(outcome, Failed):
            return self._line("error", "failed", details | {"fault": outcome.fault, "message": outcome.message})
        if isinstance(outcome, Skipped):
            return self._line("info", "skipped", details | {"reason": outcome.reason})
        return self._line("info", "stored", details | {"size": outcome.size})

    def _variants(self, task: Task, outcomes: Sequence[VariantOutcome]) -> list[str]:
        lines = []
        for outcome in outcomes:
            if not isinstance(outcome, Made):
                lines.append(self._line("error", "variant_failed", about_failed(task, outcome)))
            elif self._every_item:
                details = {"source": task.source, "key": outcome.key, "size": outcome.size, "quality": outcome.quality}
                lines.append(self._line("info", "variant", details | {"cpu_ms": round(outcome.seconds * 1000, 1)}))
        return lines

    def _record(self, task: RecordTask, outcome: RecordOutcome) -> str:
        details: dict[str, object] = {
            "source": task.source,
            "primary_key": task.row.primary_key,
            "key": task.values["key"],
        }
        if isinstance(outcome, Failed):
            details |= {"fault": outcome.fault, "message": outcome.message}
            return self._line("error", "record_failed", details)
        return self._line("info", "recorded", details)

    def _line(self, level: str, event: str, details: Mapping[str, object]) -> str:
        moment = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        safe = {name: shown(value) for name, value in details.items()}
        return json.dumps({"time": moment, "level": level, "event": event, **safe})

    def _write(self, lines: Sequence[str]) -> None:
        if self._broken:
            return
        data = ("\n".join(lines) + "\n").encode()
        try:
            if self._descriptor is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            self._broken = True
            warning = f"warning: the log {self.path} cannot be written ({error.strerror}); going on without it"
            with contextlib.suppress(OSError, ValueError):
                print(warning, file=sys.stderr)
