"""What people and machines hear of variants while a run goes on."""

import io
import json
from pathlib import Path

from rich.console import Console

from migrator.cli.observers.counts import Counts
from migrator.cli.observers.journal import LogObserver
from migrator.cli.observers.lines import JsonLines, Telling, figures
from migrator.cli.observers.several import Counting, Several
from migrator.cli.observers.terminal import RichProgress
from migrator.core.model import Fault, Lacking, Made, Settlement, Stored, Task, Unmade

TASK = Task(1, "l/1", "photos", "file:///a.jpg", "a.jpg", 10, None)
MADE = Made("full", "webp", "a/full.webp", 7, bytes(32), "etag", None, "image/webp", 10, 8, 80, 2, 0.25)
UNMADE = Unmade("full", "avif", "a/full.avif", Fault.RENDER, "it is damaged")
MOVED = Settlement(TASK, Stored(10, bytes(32), "image/jpeg", "etag", None, variants=(MADE, UNMADE)), 1, 0.1)
LATER = (Lacking(TASK, 10, None, "image/jpeg", True, (("full", "webp"),)), (MADE, MADE))


def test_variants_of_moved_and_of_stored_images_are_counted_and_told(tmp_path: Path) -> None:
    counts, said, machine = Counts(), list[str](), list[str]()
    log = LogObserver(tmp_path / "run.log", every_item=True)
    observers = Several([Counting(counts), Telling(said.append), JsonLines(machine.append, counts, interval=0), log])
    observers.settled([MOVED])
    observers.rendered([LATER, (LATER[0], (UNMADE,))])
    log.close()
    assert (counts.variants, counts.failed_variants) == (3, {"render": 2})
    assert said == ["not made (render) full.avif of a.jpg: it is damaged"] * 2
    events = [json.loads(line) for line in machine]
    assert [event["event"] for event in events] == ["variant_failed", "progress", "variant_failed", "progress"]
    assert events[0] == {
        "event": "variant_failed",
        "source": "photos",
        "variant": "full",
        "format": "avif",
        "key": "a/full.avif",
        "original": "a.jpg",
        "fault": "render",
        "message": "it is damaged",
    }
    assert (events[-1]["variants"], events[-1]["failed_variants"]) == (3, {"render": 2})
    logged = [json.loads(line) for line in (tmp_path / "run.log").read_text().splitlines()]
    assert [line["event"] for line in logged] == [
        *("stored", "variant", "variant_failed"),
        *("variant", "variant", "variant_failed"),
    ]
    assert "3 variants made, 2 variants not made (render 2)" in figures(counts)


def test_the_display_counts_variants() -> None:
    counts = Counts()
    Counting(counts).settled([MOVED])
    console = Console(record=True, width=120, file=io.StringIO())
    display = RichProgress("trial", counts, console)
    console.print(display._draw())
    shown = console.export_text()
    assert "1 variant made" in shown
    assert "1 variant not made (render 1)" in shown
