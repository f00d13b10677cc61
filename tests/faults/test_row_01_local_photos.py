"""Row 1 with variants: photographs, six variants of each and their rows, kill or no kill."""

import random
from pathlib import Path

import pytest

from tests.faults import servers
from tests.faults.kills import ANSWERS, fault_kills, fault_seed, run_killed
from tests.faults.local_photos import (
    BUCKET,
    LocalPhotos,
    build_album,
    ledger_differences,
    object_differences,
    render_differences,
    row_differences,
)
from tests.faults.proxy import Proxy
from tests.faults.servers import Server
from tests.faults.two_buckets import Stood
from tests.faults.two_buckets_database import database_missing, new_database
from tests.faults.two_buckets_world import remove_bucket

pytestmark = pytest.mark.faults


def kill_until_done(folder: Path, server: Server, kills: int, count: int, requests: int) -> None:
    """World after world of `count` photographs, each killed until it is done and judged, until `kills` are done."""
    if missing := database_missing("postgres"):
        pytest.skip(missing)
    seed = fault_seed()
    print(f"FAULT_SEED={seed}")
    draw = random.Random(seed)
    number = 0
    while kills > 0:
        number += 1
        world = folder / f"world{number}"
        world.mkdir()
        bucket = server.make_bucket(BUCKET, versioned=True)
        stood = Stood(BUCKET)
        try:
            with new_database("postgres") as database, Proxy(server.address, rules=[stood.rule()]) as proxy:
                album = build_album(world, draw.randrange(2**32), count, database)
                migration = LocalPhotos(world, bucket, album, database, endpoint=proxy.url)
                done = run_killed(migration, proxy, draw, kills, requests, ANSWERS)
                differences = [
                    *object_differences(bucket, album),
                    *row_differences(album, database, stood.since),
                    *ledger_differences(migration.ledger, album),
                    *render_differences(migration, album),
                ]
                assert differences == [], f"FAULT_SEED={seed}, world {number}: {differences[:20]}"
                opened = sum(map(len, migration.opened()))
                print(f"world {number}: {done} kills, {count} photographs, {opened} of them rendered")
                writes = sum(each.method in ("PUT", "POST", "DELETE") for each in proxy.seen)
                assert migration.run().status == 0
                assert sum(each.method in ("PUT", "POST", "DELETE") for each in proxy.seen) == writes
                assert not migration.opened()[-1], "a finished migration renders nothing"
                # What the oracle is worth: it finds what is wrong.
                key = album.photos[0].referred[1]
                bucket.client().put_object(Bucket=BUCKET, Key=key, Body=b"once more")
                database.execute(f"UPDATE item_photos SET note = 'another' WHERE id = {album.photos[1].id}")
                assert object_differences(bucket, album) == [f"stored 2 times: {key}"]
                assert f"row {album.photos[1].id} was updated 2 times" in row_differences(album, database, stood.since)
                stood.since.pop(key)
                late = f"row {album.photos[0].id} was updated before {key} stood"
                assert late in row_differences(album, database, stood.since)
                migration.settled[0] |= set(migration.opened()[0])
                assert not migration.opened()[0] or "whose variants all stood" in str(
                    render_differences(migration, album)
                )
        finally:
            remove_bucket(bucket)
        kills -= done


@pytest.mark.timeout(300)
def test_row_01_local_photos_killed_and_run_again(folder: Path, server: Server) -> None:
    kill_until_done(folder, server, min(2, fault_kills(2)), count=16, requests=60)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_row_01_local_photos_killed_thirty_times(folder: Path, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue("moto" if servers.ceph_missing() else "ceph20")
    kill_until_done(folder, server, max(30, fault_kills(300) // 10), count=500, requests=300)
