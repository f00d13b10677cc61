"""What the ledger costs: ten million items in, `status` and resuming over them; the auction collection planned.

python -m benchmarks.ledger [--items N] [--folder DIR] [--only items|plan]
"""

import argparse
import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.collections import LOTS, URLS, pages, write_lots
from benchmarks.measuring import measure
from migrator.core.model import Settlement, Stored, Task
from migrator.ledger.sqlite import SqliteLedger
from migrator.ledger.view import LedgerView

MB = 1_000_000
CLAIM = 256
ROOT = Path(__file__).parents[1]
OUTCOME = Stored(104_857, bytes(range(32)), "image/jpeg", '"d41d8cd98f00b204e9800998ecf8427e"', None)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure and, where there is one, the bound that it has to keep."""

    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def kept(self) -> bool:
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def __str__(self) -> str:
        target = f">= {self.at_least:,g}" if self.at_least is not None else ""
        target = f"<= {self.at_most:,g}" if self.at_most is not None else target
        verdict = ("PASS" if self.kept else "FAIL") if target else "    "
        value = f"{self.value:,.0f}" if self.value >= 1000 else f"{self.value:.3g}"
        return f"{verdict}  {self.name:<58} {value:>12} {self.unit:<8} {target}"


def fill(path: Path, items: int) -> Figure:
    """All items in, page by page as a scan hands them over, the first batch claimed and left behind."""

    async def add_all(ledger: SqliteLedger) -> float:
        spent = 0.0
        for page in pages(items):
            started = time.perf_counter()
            await ledger.add("lots", page)
            spent += time.perf_counter() - started
        await ledger.finish_scan("lots")
        await ledger.begin_run("migrate", "benchmark")
        await ledger.claim(CLAIM)
        return spent

    with SqliteLedger.open(path, name="benchmark") as ledger:
        seconds = asyncio.run(add_all(ledger))
    return Figure(f"rows in, {items:,} items", items / seconds, "rows/s", at_least=150_000)


def plan(path: Path, items: int) -> Figure:
    """What `plan` does to a new ledger with items whose keys come in no order, up to where all are told apart."""

    async def add_all(ledger: SqliteLedger) -> float:
        spent = 0.0
        await ledger.begin_run("plan", "benchmark")
        await ledger.start_over(everything=True)
        for page in pages(items, ordered=False):
            started = time.perf_counter()
            await ledger.add("lots", page)
            spent += time.perf_counter() - started
        started = time.perf_counter()
        await ledger.finish_scan("lots")
        await ledger.finish_plan()
        return spent + time.perf_counter() - started

    with SqliteLedger.open(path, name="benchmark") as ledger:
        seconds = asyncio.run(add_all(ledger))
    path.unlink()
    return Figure(f"planned, keys in no order, {items:,} items", items / seconds, "rows/s", at_least=150_000)


def look(path: Path) -> Figure:
    """What `status` reads, from opening on."""
    started = time.perf_counter()
    with LedgerView.open(path) as view:
        view.tallies()
        view.scans()
        view.pace()
        view.problem_count()
    return Figure("status: open and read", time.perf_counter() - started, "s", at_most=0.1)


def resume(path: Path, settled: int) -> list[Figure]:
    """Opens a ledger that was left in the middle; then what a transfer does to it, without the transfer."""

    async def first(ledger: SqliteLedger) -> None:
        await ledger.begin_run("migrate", "benchmark")
        assert len(await ledger.leftovers(CLAIM)) == CLAIM
        assert await ledger.claim(CLAIM)

    async def drain(ledger: SqliteLedger) -> tuple[float, float]:
        claiming = settling = 0.0
        for _ in range(settled // CLAIM):
            started = time.perf_counter()
            tasks = await ledger.claim(CLAIM)
            claimed = time.perf_counter()
            await ledger.settle([_stored(task) for task in tasks])
            claiming += claimed - started
            settling += time.perf_counter() - claimed
        return claiming, settling

    started = time.perf_counter()
    with SqliteLedger.open(path, name="benchmark") as ledger:
        asyncio.run(first(ledger))
        until_first = time.perf_counter() - started
        claiming, settling = asyncio.run(drain(ledger))
    return [
        Figure("resume: open, leftovers, first batch claimed", until_first, "s", at_most=1.5),
        Figure(f"claimed, {CLAIM} at a time", settled / claiming, "rows/s"),
        Figure(f"settled, {CLAIM} at a time", settled / settling, "rows/s"),
    ]


def _stored(task: Task) -> Settlement:
    return Settlement(task, OUTCOME, attempts=1, seconds=0.05)


def of_items(folder: Path, items: int) -> list[Figure]:
    """One process's figures; runs in a process of its own, so that its memory is its own."""
    path = folder / f"{items}.db"
    figures = [plan(path, items), fill(path, items)]
    size = path.stat().st_size
    figures += [look(path), *resume(path, settled=min(items // 4, 100_000)), look(path)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    figures += [Figure("bytes a row", size / items, "B"), Figure("memory, peak", peak / MB, "MB")]
    path.unlink()
    return figures


def measure_items(folder: Path, items: int) -> list[Figure]:
    """Figures for `items`, and memory held against a tenth of them."""
    small, large = (_in_own_process(folder, count) for count in (items // 10, items))
    growth = large[-1].value - small[-1].value
    return [*large, Figure(f"memory, growth from {items // 10:,} items", growth, "MB", at_most=20)]


def _in_own_process(folder: Path, items: int) -> list[Figure]:
    command = [sys.executable, "-m", "benchmarks.ledger", "--one", str(items), "--folder", str(folder)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout
    return [Figure(**values) for values in json.loads(answer)]


def measure_plan(folder: Path) -> list[Figure]:
    """The real `migrator plan` over the auction collection, examples/auction-lots.toml as it stands."""
    write_lots(folder)
    command = [sys.executable, "-m", "migrator", "plan", "-c", str(ROOT / "examples" / "auction-lots.toml"), "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MIGRATOR_CHECKPOINT_DIR": str(folder / "checkpoints")}
    usage = measure(command, env=environment, cwd=folder, log=folder / "plan.log")
    with LedgerView.open(folder / "checkpoints" / "auction-lots.db") as view:
        found = sum(tally.items for tally in view.tallies())
    return [
        Figure("auction collection: items planned", found, "items", at_least=URLS, at_most=URLS),
        Figure(f"auction collection: planned, {LOTS:,} files", usage.seconds, "s", at_most=5),
        Figure("auction collection: memory, peak", usage.peak_rss / MB, "MB", at_most=150),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a line a figure; the exit status says whether all bounds were kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000_000, help="items in the ledger (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--only", choices=("items", "plan"), help="one half of it")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="bench-ledger-", dir=options.folder))
    try:
        if options.one:
            print(json.dumps([_values(figure) for figure in of_items(folder, options.one)]))
            return 0
        figures: list[Figure] = []
        if options.only in (None, "items"):
            figures += shown(measure_items(folder, options.items))
        if options.only in (None, "plan"):
            figures += shown(measure_plan(folder))
        return 0 if all(figure.kept for figure in figures) else 1
    finally:
        shutil.rmtree(folder)


def shown(figures: list[Figure]) -> list[Figure]:
    """Prints them as soon as they are known."""
    print(*figures, sep="\n", flush=True)
    return figures


def _values(figure: Figure) -> dict[str, object]:
    return {name: getattr(figure, name) for name in ("name", "value", "unit", "at_least", "at_most")}


if __name__ == "__main__":
    sys.exit(main())
