"""`examples/two-buckets.toml` as an operator runs it, watched from outside while it runs."""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from botocore.exceptions import ClientError

from tests.faults.checker import Bucket, audit_differences
from tests.faults.harness import Migration
from tests.faults.proxy import Forward, Rule
from tests.faults.two_buckets_database import Database
from tests.faults.two_buckets_oracle import (
    Rows,
    change_differences,
    ledger_differences,
    photo_differences,
    row_differences,
    structure_differences,
    thumbnail_differences,
)
from tests.faults.two_buckets_world import World
from tests.faults.wire import Answer, Request

EXAMPLE = Path(__file__).parents[2] / "examples" / "two-buckets.toml"


class TwoBuckets(Migration):
    """The example as it stands; what differs here (endpoint, database, short waits) comes from the environment."""

    def __init__(self, folder: Path, first: Bucket, database: Database, *, endpoint: str = "") -> None:
        super().__init__(folder, first, endpoint=endpoint)
        self.ledger = folder / "checkpoints" / "two-buckets.db"
        self.log = self.ledger.with_suffix(".log")
        self.environment |= {
            "DATABASE_URL": database.url,
            "MIGRATOR_TRANSFER__CONCURRENCY": "16",
            "MIGRATOR_TRANSFER__TIMEOUT": "10s",
            "MIGRATOR_TRANSFER__CONNECT_TIMEOUT": "5s",
            "MIGRATOR_TRANSFER__COPY_THRESHOLD": "8MiB",  # below the large objects: they are copied in parts
        }

    def configure(
        self, sources: Sequence[Mapping[str, Any]], destination: Mapping[str, Any], transfer: Mapping[str, Any]
    ) -> None:
        """Takes the example, which has all of these."""
        self.config.write_text(EXAMPLE.read_text())

    def set_up(self, database: Database) -> None:
        """Adds the missing columns as the how-to says, then has every change of a row noted."""
        finished = self.run("setup")
        assert finished.status == 0, finished.words
        database.watch_table()

    def counts(self) -> tuple[int, int]:
        """Items and records in the ledger."""
        ((items, records),) = self.rows("SELECT (SELECT count(*) FROM items), (SELECT count(*) FROM records)")
        return items, records


class Stood:
    """When the server first told the tool, through a proxy, that an object of `bucket` stands."""

    def __init__(self, bucket: str) -> None:
        self._prefix = f"/{bucket}/"
        self.since: dict[str, float] = {}

    def rule(self) -> Rule:
        """For the proxy; changes nothing."""
        return Rule(self._note, times=None)

    async def _note(self, request: Request, forward: Forward) -> Answer:
        answer = await forward(request)
        path, _, query = request.target.partition("?")
        whole = request.method in ("PUT", "HEAD", "GET") and "partNumber=" not in query
        whole |= request.method == "POST" and "uploadId=" in query
        if whole and path.startswith(self._prefix) and 200 <= answer.status < 300 and b"<Error>" not in answer.body:
            self.since.setdefault(unquote(path.removeprefix(self._prefix)), time.time())
        return answer


class Watcher:
    """Looks for the object of every row as soon as the row is updated, while the `with` block lasts."""

    def __init__(self, database: Database, bucket: Bucket, world: World) -> None:
        self._database = database
        self._s3 = bucket.client()
        self._bucket = bucket.name
        self._sizes = {key: len(photo.body) for key, photo in world.arrived().items()}
        self._looked: set[int] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.looks = 0
        self.differences: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            with closing(self._database.connect()) as connection:
                while not self._over.wait(0.03):  # the database does not tell of changes by itself
                    self._look(connection)
                self._look(connection)
        except Exception as error:
            self.differences.append(f"the watcher died: {error!r}")
            raise

    def _look(self, connection: Any) -> None:
        # Transactions end in another order than their numbers begin, so the last thousands are asked for again.
        after = max(self._looked, default=0) - 5000
        for change in self._database.changes(after, connection):
            if change.number not in self._looked and change.what == "update":
                self._looked.add(change.number)
                self._compare(change.row, change.bucket, change.key)

    def _compare(self, row: str, bucket: str | None, key: str | None) -> None:
        self.looks += 1
        if bucket != self._bucket or key not in self._sizes:
            self.differences.append(f"row {row} points to {bucket}, {key!r}")
            return
        try:
            size = self._s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
        except ClientError as error:
            self.differences.append(f"row {row} points to {key!r}, which does not stand: {error}")
            return
        if size != self._sizes[key]:
            self.differences.append(f"row {row} points to {key!r}, which has {size} bytes")


def everything_wrong(
    migration: TwoBuckets,
    world: World,
    second: Bucket,
    database: Database,
    before: tuple[Rows, set[tuple[str, ...]]],
    stood: Stood,
) -> list[str]:
    """All that the oracle finds after the last run; `before`: the table and the structure of the untouched database."""
    rows, structure = before
    grown = {row for row in database.structure() if row[0] != "audit"}
    wrong, thumbnails = thumbnail_differences(migration.bucket, world)
    return [
        *wrong,
        *photo_differences(migration.bucket, world.arrived() | thumbnails),
        *photo_differences(second, world.second),
        *row_differences(rows, database.table(), world.updates),
        *change_differences(database.changes(), world.updates, stood.since),
        *structure_differences(structure, grown),
        *ledger_differences(migration.ledger, world, rows),
        *audit_differences(migration.ledger),
    ]
