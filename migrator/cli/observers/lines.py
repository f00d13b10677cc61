"""Observers that print lines: for people without a terminal, for `-v`, and JSON for machines."""

import json
import threading
from collections.abc import Callable, Sequence
from typing import TextIO

from migrator.cli.observers.counts import Counts
from migrator.cli.observers.several import Silent
from migrator.core.model import Failed, Lacking, Made, Page, Settlement, Task, Unmade, VariantOutcome
from migrator.core.ports import EventKind
from migrator.core.records import RecordOutcome, RecordTask
from migrator.core.secrets import mask_text
from migrator.reports import words

INTERVAL = 10.0
"""Seconds between plain lines."""

EVENTS = {
    "page": "a page of a scan is in the ledger: `source`, `items`, `new`, `problems`",
    "problem": "something that could not become an item: `source`, `place`, `position`, `fault`, `message`",
    "scanned": "`source` has been seen to its end",
    "started": "transfers begin: `concurrency`",
    "progress": "at most one a second: `stored`, `bytes`, `skipped`, `failed`, `recorded`, `failed_records`, "
    "`variants`, `failed_variants`, `total`, `retries`, `concurrency`, `items_per_second`, `bytes_per_second`, `eta` "
    "(seconds, null while unknown)",
    "failed": "an item failed: `source`, `key`, `location` (secrets masked), `fault`, `message`, `attempts`",
    "variant_failed": "a variant was not made: `source`, `variant`, `format`, `key`, `original`, `fault`, `message`",
    "record_failed": "a row was not updated: `source`, `primary_key` (a JSON array), `key`, `fault`, `message`",
    "note": "anything else: `kind` (retry, slower, faster, paused, resumed, stopping, note), `message` and its details",
    "summary": "the last line: what `migrator status --json` prints; of a run also `run`, `seconds`, `moved_items`, "
    "`moved_bytes`, `run_requests`, `made_variants`, `exit_status` and `stopped` (why, in words); of a plan `dry_run`, "
    "`estimate`, `disk`, `planned_variants` and `example_rows`",
}
"""The events of `--json`, one object a line, told apart by `event`."""

LOUD = (EventKind.SLOWER, EventKind.PAUSED, EventKind.RESUMED, EventKind.STOPPING, EventKind.NOTE)
"""Said to people even without -v."""


class Lines:
    """Writes whole lines to a stream and falls silent when nobody reads it any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        """One line, at once."""
        with self._lock:
            if self._stream is None:
                return
            try:
                self._stream.write(text + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                self._stream = None


class PlainLines(Silent):
    """One line of figures every INTERVAL seconds, and what is worth a line in between."""

    def __init__(self, write: Callable[[str], None], counts: Counts, interval: float = INTERVAL) -> None:
        self._write = write
        self._counts = counts
        self._interval = interval
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> "PlainLines":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def event(self, kind: EventKind, message: str, **details: object) -> None:
        if kind in LOUD:
            self._write(mask_text(message))

    def _tick(self) -> None:
        while not self._over.wait(self._interval):
            self._write(figures(self._counts))


class Telling(Silent):
    """With -v: a line for each failure, retry and problem."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def page(self, source: str, page: Page, new: int) -> None:
        for problem in page.problems:
            place = f"{problem.place}:{problem.position}" if problem.position else problem.place
            self._write(mask_text(f"problem ({problem.fault}) {place}: {problem.message}"))

    def settled(self, settlements: Sequence[Settlement]) -> None:
        for settlement in settlements:
            outcome = settlement.outcome
            if isinstance(outcome, Failed):
                self._write(mask_text(f"failed ({outcome.fault}) {settlement.task.location}: {outcome.message}"))
            else:
                self._variants(settlement.task, outcome.variants)

    def rendered(self, done: Sequence[tuple[Lacking, Sequence[VariantOutcome]]]) -> None:
        for job, outcomes in done:
            self._variants(job.task, outcomes)

    def _variants(self, task: Task, outcomes: Sequence[VariantOutcome]) -> None:
        for outcome in outcomes:
            if not isinstance(outcome, Made):
                name = f"{outcome.name}.{outcome.format} of {task.key}"
                self._write(mask_text(f"not made ({outcome.fault}) {name}: {outcome.message}"))

    def recorded(self, outcomes: Sequence[tuple[RecordTask, RecordOutcome]]) -> None:
        for task, outcome in outcomes:
            if isinstance(outcome, Failed):
                row = f"{task.source} row {task.row.primary_key}"
                self._write(mask_text(f"not updated ({outcome.fault}) {row}: {outcome.message}"))

    def event(self, kind: EventKind, message: str, **details: object) -> None:
        if kind is EventKind.RETRY:
            self._write(mask_text(f"retry: {message}"))


class JsonLines(Silent):
    """One JSON object a line, as in EVENTS."""

    def __init__(self, write: Callable[[str], None], counts: Counts, interval: float = 1.0) -> None:
        self._write = write
        self._counts = counts
        self._interval = interval
        self._last = counts.now()

    def say(self, event: str, **details: object) -> None:
        """One event."""
        self._write(json.dumps({"event": event, **{name: shown(value) for name, value in details.items()}}))

    def page(self, source: str, page: Page, new: int) -> None:
        self.say("page", source=source, items=len(page.items), new=new, problems=len(page.problems))
        for problem in page.problems:
            self.say(
                "problem",
                source=source,
                place=problem.place,
                position=problem.position,
                fault=problem.fault,
                message=problem.message,
            )

    def scan_complete(self, source: str) -> None:
        self.say("scanned", source=source)

    def started(self, concurrency: int) -> None:
        self.say("started", concurrency=concurrency)

    def settled(self, settlements: Sequence[Settlement]) -> None:
        for settlement in settlements:
            outcome, task = settlement.outcome, settlement.task
            if isinstance(outcome, Failed):
                self.say(
                    "failed",
                    source=task.source,
                    key=task.key,
                    location=task.location,
                    fault=outcome.fault,
                    message=outcome.message,
                    attempts=settlement.attempts,
                )
            else:
                self._variants(task, outcome.variants)
        self._progress()

    def rendered(self, done: Sequence[tuple[Lacking, Sequence[VariantOutcome]]]) -> None:
        for job, outcomes in done:
            self._variants(job.task, outcomes)
        self._progress()

    def _variants(self, task: Task, outcomes: Sequence[VariantOutcome]) -> None:
        for outcome in outcomes:
            if not isinstance(outcome, Made):
                self.say("variant_failed", **about_failed(task, outcome))

    def recorded(self, outcomes: Sequence[tuple[RecordTask, RecordOutcome]]) -> None:
        for task, outcome in outcomes:
            if isinstance(outcome, Failed):
                self.say(
                    "record_failed",
                    source=task.source,
                    primary_key=task.row.primary_key,
                    key=task.values["key"],
                    fault=outcome.fault,
                    message=outcome.message,
                )
        self._progress()

    def _progress(self) -> None:
        now = self._counts.now()
        if now - self._last >= self._interval:
            self._last = now
            self.say("progress", **progress(self._counts))

    def event(self, kind: EventKind, message: str, **details: object) -> None:
        self.say("note", **details | {"kind": kind, "message": message})


def about_failed(task: Task, outcome: Unmade) -> dict[str, object]:
    """What machines are told of a variant that was not made."""
    return {
        "source": task.source,
        "variant": outcome.name,
        "format": outcome.format,
        "key": outcome.key,
        "original": task.key,
        "fault": outcome.fault,
        "message": outcome.message,
    }


def shown(value: object) -> object:
    """`value` as JSON can hold it, without secrets."""
    if value is None or isinstance(value, int | float | dict):
        return value
    return mask_text(str(value))


def progress(counts: Counts) -> dict[str, object]:
    """The figures for machines."""
    items, sent = counts.speed()
    eta = counts.eta()
    return {
        "stored": counts.stored,
        "bytes": counts.stored_bytes,
        "skipped": counts.skipped.copy(),
        "failed": counts.failed.copy(),
        "recorded": counts.recorded,
        "failed_records": counts.failed_records.copy(),
        "variants": counts.variants,
        "failed_variants": counts.failed_variants.copy(),
        "total": counts.total,
        "retries": counts.retries,
        "concurrency": counts.limit,
        "items_per_second": round(items, 2),
        "bytes_per_second": round(sent),
        "eta": None if eta is None else round(eta, 1),
    }


def figures(counts: Counts) -> str:
    """The figures for people, in one line."""
    items, sent = counts.speed()
    total = words.count(counts.total, "object")
    known = total if not counts.scanning else f"{total} known so far ({scanned(counts)})"
    pieces = [
        f"{words.clock(counts.seconds)} {words.count(counts.done)} of {known}",
        words.size(counts.stored_bytes),
        f"{words.rate(items)} objects/s",
        f"{words.size(sent)}/s",
    ]
    if (eta := counts.eta()) is not None:
        pieces.append(f"about {words.duration(eta)} left")
    if counts.recorded:
        pieces.append(f"{words.count(counts.recorded, 'row')} updated")
    if counts.variants:
        pieces.append(f"{words.count(counts.variants, 'variant')} made")
    if counts.before:
        pieces.append(f"{words.count(counts.before)} done before")
    return ", ".join(pieces + troubles(counts))


def scanned(counts: Counts) -> str:
    """How far a scan has come that goes on; one that finds only what is known would else seem to stand still."""
    return f"still scanning, {words.count(counts.listed)} listed"


def troubles(counts: Counts) -> list[str]:
    """Skipped, failed, retried and so on, those that there are."""
    skipped, failed = counts.skipped.copy(), counts.failed.copy()
    found = []
    if skipped:
        found.append(f"skipped {words.count(sum(skipped.values()))} ({words.reasons(skipped)})")
    if failed:
        found.append(f"failed {words.count(sum(failed.values()))} ({words.reasons(failed)})")
    if rows := counts.failed_records.copy():
        found.append(f"{words.count(sum(rows.values()), 'row')} not updated ({words.reasons(rows)})")
    if variants := counts.failed_variants.copy():
        found.append(f"{words.count(sum(variants.values()), 'variant')} not made ({words.reasons(variants)})")
    if counts.problems:
        found.append(words.count(counts.problems, "problem"))
    if counts.retries:
        found.append(words.count(counts.retries, "retry", "retries"))
    return found
