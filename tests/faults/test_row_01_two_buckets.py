"""Row 1 with rows: two buckets become one, half of it by renaming, and each row follows its object, kill or no kill."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.faults import actions, servers
from tests.faults.checker import Bucket
from tests.faults.harness import TIMEOUT, kill
from tests.faults.kills import ANSWERS, fault_kills, fault_seed, run_killed
from tests.faults.line import Line
from tests.faults.proxy import Proxy, Rule
from tests.faults.servers import Server
from tests.faults.two_buckets import Stood, TwoBuckets, Watcher, everything_wrong
from tests.faults.two_buckets_database import Change, Database, database_missing, new_database
from tests.faults.two_buckets_oracle import Rows
from tests.faults.two_buckets_world import FIRST, MIB, SECOND, World, build_world, put_world, remove_bucket
from tests.faults.wire import Answer

pytestmark = pytest.mark.faults

WHOLE = 2000
"""Originals, and as many visualizations."""

# Every test has either database in `make faults`, and one of them in every check.
on_postgres = pytest.mark.parametrize("kind", ["postgres", pytest.param("mariadb", marks=pytest.mark.slow)])
on_mariadb = pytest.mark.parametrize("kind", [pytest.param("postgres", marks=pytest.mark.slow), "mariadb"])


@pytest.fixture
def best_server(request: pytest.FixtureRequest) -> Server:
    """The strictest server that is installed: Ceph RGW 20, else moto (rclone keeps neither tags nor versions)."""
    found: Server = request.getfixturevalue("moto" if servers.ceph_missing() else "ceph20")
    return found


@dataclass(frozen=True, slots=True)
class Stage:
    """A world on a real server and in a real database, and the migration of it, set up."""

    world: World
    migration: TwoBuckets
    second: Bucket
    database: Database
    before: tuple[Rows, set[tuple[str, ...]]]
    proxy: Proxy
    stood: Stood

    def wrong(self) -> list[str]:
        """What the oracle finds."""
        return everything_wrong(self.migration, self.world, self.second, self.database, self.before, self.stood)

    def run_again(self, *arguments: str) -> None:
        """One more run finds nothing to do: no new item, no write, no update."""
        seen, counts, changes = len(self.proxy.seen), self.migration.counts(), len(self.database.changes())
        again = self.migration.run("migrate", *arguments)
        assert again.status == 0, again.words
        assert self.migration.counts() == counts, "what the migration wrote is no item"
        writes = [
            s for s in self.proxy.seen[seen:] if s.method in ("PUT", "POST", "DELETE") and "_migrator/" not in s.target
        ]
        assert writes == [], "a finished migration moves nothing"
        assert len(self.database.changes()) == changes, "a finished migration updates nothing"


@contextmanager
def stage(
    folder: Path, server: Server, kind: str, seed: int, count: int, large: int = 12 * MIB, *, versioned: bool = True
) -> Iterator[Stage]:
    """Makes all of it, and removes the buckets and the database afterwards."""
    if missing := database_missing(kind):
        pytest.skip(missing)
    folder.mkdir(parents=True, exist_ok=True)
    world = build_world(seed, kind, count, large)
    first, second = (server.make_bucket(name, versioned=versioned) for name in (FIRST, SECOND))
    try:
        with new_database(kind) as database:
            put_world(world, database, first, second)
            before = (database.table(), database.structure())
            stood = Stood(FIRST)
            with Proxy(server.address, rules=[stood.rule()]) as proxy:
                migration = TwoBuckets(folder, first, database, endpoint=proxy.url)
                migration.set_up(database)
                yield Stage(world, migration, second, database, before, proxy, stood)
    finally:
        remove_bucket(first)
        remove_bucket(second)


def kill_until_done(folder: Path, server: Server, kind: str, kills: int, count: int, requests: int) -> None:
    """World after world, each killed until it is done and then judged, until `kills` kills are done."""
    seed = fault_seed()
    print(f"FAULT_SEED={seed}")
    draw = random.Random(seed)
    number = 0
    while kills > 0:
        number += 1
        with stage(folder / f"world{number}", server, kind, draw.randrange(2**32), count) as all_of_it:
            migration, proxy = all_of_it.migration, all_of_it.proxy
            with Watcher(all_of_it.database, migration.bucket, all_of_it.world) as watcher:
                done = run_killed(migration, proxy, draw, kills, requests, ANSWERS)
            differences = [*watcher.differences, *all_of_it.wrong()]
            assert differences == [], f"FAULT_SEED={seed}, world {number}: {differences[:20]}"
            assert watcher.looks == len(all_of_it.world.updates)
            print(f"world {number}: {done} kills, {len(all_of_it.world.moves)} objects, {watcher.looks} rows")
            kills -= done
            all_of_it.run_again()
            all_of_it.run_again("--rescan")


@on_postgres
@pytest.mark.timeout(300)
def test_row_01_two_buckets_killed_and_run_again(folder: Path, server: Server, kind: str) -> None:
    kill_until_done(folder, server, kind, min(3, fault_kills(3)), count=40, requests=60)


@pytest.mark.slow
@on_postgres
@pytest.mark.timeout(3600)
def test_row_01_two_buckets_killed_fifty_times(folder: Path, best_server: Server, kind: str) -> None:
    kill_until_done(folder, best_server, kind, max(50, fault_kills(300) // 6), count=WHOLE, requests=700)


@on_mariadb
def test_row_01_a_row_never_goes_before_its_object(folder: Path, server: Server, kind: str) -> None:
    with stage(folder, server, kind, seed=1, count=30, large=100) as all_of_it:
        refused = Rule(
            actions.answer(Answer(403, body=b"<Error><Code>AccessDenied</Code></Error>")),
            method="PUT",
            target="UPPER/processed",
            times=None,
        )
        all_of_it.proxy.rules.append(refused)
        finished = all_of_it.migration.run()
        assert finished.status == 1, finished.words
        assert refused.hits
        waiting = {row for row, key in all_of_it.world.updates.items() if key == "UPPER/processed.png"}
        written = {change.row for change in all_of_it.database.changes()}
        assert written == all_of_it.world.updates.keys() - waiting
        refused.times = 0
        assert all_of_it.migration.run("retry").status == 0
        finished = all_of_it.migration.run()
        assert finished.status == 0, finished.words
        assert all_of_it.wrong() == []


@on_postgres
def test_row_01_killed_after_a_commit_whose_answer_never_came(folder: Path, server: Server, kind: str) -> None:
    with stage(folder, server, kind, seed=3, count=30, large=100) as all_of_it:
        database, migration = all_of_it.database, all_of_it.migration
        with Line((database.host, database.port), hold_commit=True) as line:
            words = folder / "words.txt"
            with words.open("w") as file:
                through = {"DATABASE_URL": replace(database, port=line.port).url}
                process = migration.start(environment=through, stdout=file.fileno(), stderr=file.fileno())
            while not line.held.wait(0.1):
                assert process.poll() is None, words.read_text()
            written = await_changes(database)
            kill(process)
        states = migration.rows("SELECT DISTINCT state FROM records WHERE before_image IS NOT NULL")
        assert states == [("intended",)], "the ledger knew before the database did"
        finished = migration.run()
        assert finished.status == 0, finished.words
        assert database.changes()[: len(written)] == written
        assert all_of_it.wrong() == []


def await_changes(database: Database) -> list[Change]:
    """What the triggers noted, once the transaction that is on its way has ended."""
    deadline = time.monotonic() + TIMEOUT
    while not (changes := database.changes()):
        assert time.monotonic() < deadline, "nothing was committed"
        time.sleep(0.01)  # the database does not tell of changes by itself
    return changes


def test_row_29_what_was_renamed_inside_the_bucket_is_never_taken_for_an_item(folder: Path, server: Server) -> None:
    with stage(folder, server, "postgres", seed=2, count=30, large=100) as all_of_it:
        # A pattern that also fits what the migration itself puts into the folders of the sessions.
        loose = r"^(?P<session_id>[^/]+)/(?P<file>[^/]+)\.(?P<extension>[^./]+)$"
        all_of_it.migration.environment["MIGRATOR_SOURCES__0__MATCH"] = loose
        finished = all_of_it.migration.run()
        assert finished.status == 0, finished.words
        in_place = all_of_it.migration.rows("SELECT key, fault FROM items WHERE state = 'skipped'")
        assert in_place == [("done before/original.jpg", "in-place")]
        all_of_it.run_again("--rescan")
        all_of_it.run_again("--rescan")
        assert len(all_of_it.migration.rows("SELECT 1 FROM items")) == len(all_of_it.world.moves) + 1
