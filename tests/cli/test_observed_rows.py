"""What each observer says of rows: counted, named where they failed, and without secrets."""

import json
from pathlib import Path

from migrator.cli.observers.counts import Counts
from migrator.cli.observers.journal import LogObserver
from migrator.cli.observers.lines import JsonLines, Telling, figures
from migrator.cli.observers.several import Counting, Several
from migrator.core.model import Failed, Fault
from migrator.core.records import Recorded, RecordOutcome, RecordTask, Row

TASK = RecordTask(1, "images", Row("[17]", "{}"), {"key": "a.jpg"})
LEFT = Failed(Fault.CONFLICT, "row 17 was changed, says postgresql://app:hunter2@db/shop")
BATCH: list[tuple[RecordTask, RecordOutcome]] = [(TASK, Recorded()), (TASK, Recorded(adopted=True)), (TASK, LEFT)]


def test_rows_are_counted_and_the_failed_named(tmp_path: Path) -> None:
    counts, said, machine = Counts(), list[str](), list[str]()
    log = LogObserver(tmp_path / "run.log", every_item=True)
    observers = [Counting(counts), Telling(said.append), JsonLines(machine.append, counts, interval=0), log]
    Several(observers).recorded(BATCH)
    log.close()
    assert (counts.recorded, counts.failed_records) == (2, {"conflict": 1})
    assert "2 rows updated, 1 row not updated (conflict 1)" in figures(counts)
    assert [line.partition(":")[0] for line in said] == ["not updated (conflict) images row [17]"]
    failed, progress = (json.loads(line) for line in machine)
    assert (failed["event"], failed["primary_key"], failed["fault"]) == ("record_failed", "[17]", "conflict")
    assert (progress["recorded"], progress["failed_records"]) == (2, {"conflict": 1})
    lines = (tmp_path / "run.log").read_text()
    assert [json.loads(line)["event"] for line in lines.splitlines()] == ["recorded", "recorded", "record_failed"]
    assert "hunter2" not in lines + "".join(said + machine)
