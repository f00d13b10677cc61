"""What rows of a database cost: (f) a million rows of PostgreSQL planned, a hundred thousand updated.

python -m benchmarks.tables [--rows N] [--updates N] [--rounds N] [--only plan|update]
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import psycopg
from sqlalchemy import make_url

from benchmarks.ledger import MB, ROOT, Figure, shown
from benchmarks.measuring import measure, wait_for_quiet
from migrator.cli import COLLECT_EVERY
from migrator.cli.observers.several import Silent
from migrator.core.loading import load
from migrator.core.model import Settlement, Stored
from migrator.core.records import RecordState
from migrator.engine.recording import Recording
from migrator.engine.stopping import Stop
from migrator.ledger.view import LedgerView
from migrator.wiring.adapters import make_records, make_source, naming_of, open_ledger
from tests.servers.postgresql import administrator

ROWS = 1_000_000
UPDATES = 100_000

_TABLE = """
    CREATE TABLE s3_images AS SELECT
      number::bigint AS image_id, 'demeter-photos-viz'::varchar(128) AS s3_bucket,
      format('session-%s/viz_IMG_%s.jpg', number / 40, number)::varchar(1024) AS s3_key_original,
      now() AS taken_at, NULL::varchar(512) AS s3_key_processed, NULL::varchar(16) AS image_type
    FROM generate_series(1, {rows}) AS number
"""

_CONFIG = """
name = "tables"

[destination]
bucket = "demeter-photos-original"
endpoint_url = "http://127.0.0.1:1"

[[sources]]
name = "visualizations"
type = "table"
database_url_env = "DATABASE_URL"
query = "SELECT image_id, s3_key_original FROM s3_images WHERE s3_bucket = 'demeter-photos-viz'"
primary_key = ["image_id"]
location = "s3://demeter-photos-viz/{s3_key_original}"
match = '^(?P<session_id>[^/]+)/viz_(?P<file>.+)\\.(?P<extension>[^./]+)$'
key = "{session_id}/processed/{file}.{extension}"

[sources.update]
table = "s3_images"
set = { s3_bucket = "{destination.bucket}", s3_key_processed = "{key}", image_type = "processed" }
"""
"""The table of examples/two-buckets.toml, forty objects a session. Nothing answers at the endpoint: nothing moves."""


@contextlib.contextmanager
def database(rows: int) -> Iterator[str]:
    """A PostgreSQL database of its own with `rows` rows; its URL."""
    name = f"migrator_bench_{secrets.token_hex(4)}"
    url = make_url(administrator()).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}".encode())
        try:
            own = url.set(database=name).render_as_string(hide_password=False)
            with psycopg.connect(own, autocommit=True) as connection:
                connection.execute(_TABLE.format(rows=rows).encode())
                connection.execute("ALTER TABLE s3_images ADD PRIMARY KEY (image_id)")
                connection.execute("VACUUM ANALYZE s3_images")
                connection.execute("CHECKPOINT")
            yield own
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def plan(url: str, rows: int, folder: Path) -> tuple[float, float, float]:
    """(seconds, CPU seconds, peak bytes) of `migrator plan` over all rows, from the start of the process to its end."""
    folder.mkdir()
    (folder / "migrator.toml").write_text(_CONFIG)
    command = [sys.executable, "-m", "migrator", "plan", "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DATABASE_URL": url}
    environment |= {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    usage = measure(command, env=environment, cwd=folder, log=folder / "plan.log")
    with LedgerView.open(folder / "checkpoints" / "tables.db") as view:
        found = sum(tally.items for tally in view.tallies())
        records = sum(tally.records for tally in view.record_tallies())
    if (found, records) != (rows, rows):
        raise SystemExit(f"{found} items and {records} records planned of {rows} rows")
    return usage.seconds, usage.cpu, usage.peak_rss


def measure_plan(url: str, rows: int, rounds: int, folder: Path) -> list[Figure]:
    """Medians of some rounds; memory the worst of them."""
    runs = []
    for number in range(rounds):
        wait_for_quiet(30)
        runs.append(plan(url, rows, folder / f"plan-{number}"))
    seconds, cpu = (statistics.median(run[place] for run in runs) for place in (0, 1))
    return [
        Figure(f"(f) {rows:,} rows of PostgreSQL planned", rows / seconds, "rows/s", at_least=50_000),
        Figure("(f) CPU of planning a row", cpu / rows * 1e6, "us"),
        Figure("(f) memory, peak", max(run[2] for run in runs) / MB, "MB", at_most=150),
    ]


async def update(url: str, rows: int, folder: Path) -> float:
    """CPU seconds of this process while `rows` rows are updated: both looks, the ledger's writes, the transactions."""
    config = load(_configured(folder), {**os.environ, "DATABASE_URL": url}, {})
    with mock.patch.dict(os.environ, {"DATABASE_URL": url}):
        records = make_records(config, config.sources, config.destination.bucket)
        source = make_source(config.sources[0], config, config.destination.bucket, naming_of(config, None))
    assert records
    async with open_ledger(config) as ledger:
        for page in source.scan(None):
            await ledger.add(source.name, page)
        await ledger.finish_scan(source.name)
        while tasks := await ledger.claim(5_000):
            stored = Stored(1, b"0" * 32, "image/jpeg", "etag", None)
            await ledger.settle([Settlement(task, stored, 1, 0.0) for task in tasks])
        await records.prepare()
        stop = Stop()
        recording = Recording(ledger, records, records.names, Silent(), stop, stop.event, 0)
        recording.finish()
        before = time.process_time()
        await recording.run()
        used = time.process_time() - before
        done = {tally.state: tally.records for tally in await ledger.record_tallies()}
    await records.close()
    if done != {RecordState.RECORDED: rows}:
        raise SystemExit(f"not every row of {rows} was updated: {done}")
    return used


def _configured(folder: Path) -> Path:
    folder.mkdir()
    path = folder / "migrator.toml"
    path.write_text(f"checkpoint_dir = {json.dumps(str(folder / 'checkpoints'))}\n{_CONFIG}")
    return path


def measure_update(rows: int, rounds: int, folder: Path) -> list[Figure]:
    """The median of some rounds, each on a table of its own."""
    gc.set_threshold(COLLECT_EVERY)  # as the command itself does
    used = []
    for number in range(rounds):
        with database(rows) as url:
            wait_for_quiet(30)
            used.append(asyncio.run(update(url, rows, folder / f"update-{number}")))
    cpu = statistics.median(used) / rows * 1e3
    return [Figure(f"(f) CPU of updating one of {rows:,} rows", cpu, "ms", at_most=0.1)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a line a figure; the exit status says whether all bounds were kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the table (default: %(default)s)")
    parser.add_argument("--updates", type=int, default=UPDATES, help="rows to update (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of which the median counts (default: %(default)s)")
    parser.add_argument("--only", choices=("plan", "update"), help="one part of it")
    options = parser.parse_args(arguments)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="bench-tables-") as name:
        if options.only != "update":
            with database(options.rows) as url:
                figures += shown(measure_plan(url, options.rows, options.rounds, Path(name)))
        if options.only != "plan":
            figures += shown(measure_update(options.updates, options.rounds, Path(name)))
    return 0 if all(figure.kept for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
