"""`python -m benchmarks.startup`: how long `migrator --help` takes, and that it imports nothing heavy.

Exit status 0 when both targets were met, else 1.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.servers import SCRIPTS

LIMIT = 0.3
"""Seconds, median."""
FORBIDDEN = ("boto3", "botocore", "aiobotocore", "aiohttp", "sqlalchemy", "PIL", "moto")
"""Packages that `--help` has no use for."""


def help_seconds(runs: int) -> list[float]:
    """Wall time of `migrator --help`, each in a fresh process."""
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run([SCRIPTS / "migrator", "--help"], check=True, stdout=subprocess.DEVNULL)
        found.append(time.perf_counter() - started)
    return found


def imported_modules() -> list[tuple[str, int]]:
    """(module, own microseconds) of everything that `python -X importtime -m migrator --help` imports."""
    command = [sys.executable, "-X", "importtime", "-m", "migrator", "--help"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stderr.splitlines()
    rows = [line.removeprefix("import time:").split("|") for line in lines if line.startswith("import time:")]
    return [(name.strip(), int(own)) for own, _, name in rows if own.strip().isdigit()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args(arguments)
    help_seconds(1)
    seconds = statistics.median(help_seconds(options.runs))
    modules = imported_modules()
    heavy = sorted({name.partition(".")[0] for name, _ in modules} & set(FORBIDDEN))
    print(f"{'PASS' if seconds <= LIMIT else 'FAIL'}  migrator --help: {seconds:.3f} s, median of {options.runs}")
    print(f"{'FAIL' if heavy else 'PASS'}  of {len(modules)} modules, heavy: {', '.join(heavy) or 'none'}")
    print("slowest imports: " + ", ".join(f"{name} {own / 1000:.1f} ms" for name, own in top(modules)))
    return 0 if seconds <= LIMIT and not heavy else 1


def top(modules: list[tuple[str, int]], count: int = 5) -> list[tuple[str, int]]:
    """The modules that took the most time of their own."""
    return sorted(modules, key=lambda module: -module[1])[:count]


if __name__ == "__main__":
    sys.exit(main())
