"""Row 34, whole circles: a migration and its rollback, each killed again and again, leave all as it was before."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import servers
from tests.faults.checker import Bucket
from tests.faults.kills import ANSWERS, fault_kills, fault_seed, run_killed
from tests.faults.local_photos import BUCKET, Album, LocalPhotos, build_album, table_of
from tests.faults.proxy import Proxy
from tests.faults.servers import Server
from tests.faults.test_row_01_two_buckets import stage
from tests.faults.test_row_34_rollback import Rolling, Snapshot, miscounted, put, snapshot
from tests.faults.two_buckets_database import Database, database_missing, new_database
from tests.faults.two_buckets_world import remove_bucket

pytestmark = pytest.mark.faults

either = pytest.mark.parametrize("versioned", [False, True], ids=["plain", "versioned"])


@pytest.fixture
def best_server(request: pytest.FixtureRequest) -> Server:
    """Ceph RGW 20 where it is installed, else moto."""
    found: Server = request.getfixturevalue("moto" if servers.ceph_missing() else "ceph20")
    return found


@dataclass(frozen=True, slots=True)
class Photos:
    """The example's world: photographs, their rows, and a bucket where other bytes stand under some of the keys."""

    migration: LocalPhotos
    album: Album
    bucket: Bucket
    database: Database
    proxy: Proxy

    def everything(self) -> tuple[Snapshot, dict[int, dict[str, object]], dict[str, bytes]]:
        """Bucket, rows and sources."""
        root = self.migration.folder / "public"
        files = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        return snapshot(self.bucket), table_of(self.database), files


@contextmanager
def photos(folder: Path, server: Server, count: int, seed: int, *, versioned: bool) -> Iterator[Photos]:
    """`count` photographs; every fourth has an original or a variant of somebody else's under one of its keys."""
    if missing := database_missing("postgres"):
        pytest.skip(missing)
    bucket = server.make_bucket(BUCKET, versioned=versioned)
    try:
        with new_database("postgres") as database, Proxy(server.address) as proxy:
            album = build_album(folder, seed, count, database)
            for number, photo in enumerate(album.photos[::4]):
                key = (photo.original, *photo.variants)[number % 7]
                put(bucket, key, b"stood here before", Metadata={"who": "them"}, Tagging="a=b")
            put(bucket, "items/bystander.txt", b"nobody's business")
            migration = LocalPhotos(folder, bucket, album, database, endpoint=proxy.url)
            migration.environment["MIGRATOR_DESTINATION__ON_CONFLICT"] = "overwrite"
            yield Photos(migration, album, bucket, database, proxy)
    finally:
        remove_bucket(bucket)


def photos_go_round(folder: Path, server: Server, kills: int, count: int, *, versioned: bool) -> None:
    """Snapshot, migrate, verify, roll back: the snapshot is the same."""
    seed = fault_seed()
    print(f"FAULT_SEED={seed}")
    draw = random.Random(seed)
    with photos(folder, server, count, draw.randrange(2**32), versioned=versioned) as world:
        migration = world.migration
        before = world.everything()
        done = run_killed(migration, world.proxy, draw, kills, 60, ANSWERS)
        finished = migration.run("verify")
        assert finished.status == 0, finished.words
        after = world.everything()
        keys = {key for photo in world.album.photos for key in (photo.original, *photo.variants)}
        assert keys <= {name.rsplit(" ", 2)[0] for name in after[0]}
        assert {photo.id: after[1][photo.id] for photo in world.album.photos} == {
            photo.id: before[1][photo.id] | photo.row for photo in world.album.photos
        }
        undone = run_killed(Rolling(migration), world.proxy, draw, kills, 100, ANSWERS)
        assert world.everything() == before, f"FAULT_SEED={seed}"
        assert miscounted(migration) == []
        print(f"{count} photographs: {done} kills of the migration, {undone} of its rollback")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_photos_and_their_rows_are_as_they_were_before(folder: Path, server: Server) -> None:
    photos_go_round(folder, server, min(2, fault_kills(2)), 8, versioned=True)


@pytest.mark.slow
@either
@pytest.mark.timeout(3600)
def test_photos_killed_forty_times_are_as_they_were_before(folder: Path, best_server: Server, versioned: bool) -> None:
    photos_go_round(folder, best_server, 20, 300, versioned=versioned)


@pytest.mark.slow
@either
@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
@pytest.mark.timeout(3600)
def test_two_buckets_killed_forty_times_are_as_they_were_before(
    folder: Path, best_server: Server, kind: str, versioned: bool
) -> None:
    seed = fault_seed()
    print(f"FAULT_SEED={seed}")
    draw = random.Random(seed)
    with stage(folder, best_server, kind, draw.randrange(2**32), 600, versioned=versioned) as all_of_it:
        migration, proxy, database = all_of_it.migration, all_of_it.proxy, all_of_it.database
        migration.environment["MIGRATOR_DESTINATION__ON_CONFLICT"] = "overwrite"
        for key in sorted(all_of_it.world.moves)[::7]:
            put(migration.bucket, key, b"stood here before", Metadata={"who": "them"}, Tagging="a=b")
        before = [snapshot(migration.bucket), snapshot(all_of_it.second)]
        done = run_killed(migration, proxy, draw, 20, 150, ANSWERS)
        assert migration.run("verify").status == 0
        undone = run_killed(Rolling(migration), proxy, draw, 20, 250, ANSWERS)
        assert [snapshot(migration.bucket), snapshot(all_of_it.second)] == before, f"FAULT_SEED={seed}"
        rows, structure = all_of_it.before
        assert database.table() == rows
        assert {row for row in database.structure() if row[0] != "audit"} == structure
        assert miscounted(migration) == []
        print(f"{len(all_of_it.world.moves)} objects: {done} kills of the migration, {undone} of its rollback")
