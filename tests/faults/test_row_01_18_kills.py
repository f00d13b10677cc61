"""Rows 1 and 18: SIGKILL at any moment, any number of times, and the uploads that it orphans."""

import random
from pathlib import Path

import pytest

from tests.faults import actions
from tests.faults.checker import Bucket
from tests.faults.harness import Migration, kill, lots_source, tree_source
from tests.faults.kills import fault_kills, fault_seed, run_killed
from tests.faults.proxy import Proxy, Rule
from tests.faults.servers import Server
from tests.faults.world import MIB, World, build_world, write_tree

pytestmark = pytest.mark.faults

PART = "partNumber="


def migration_of(world: World, folder: Path, bucket: Bucket, proxy: Proxy) -> Migration:
    """The whole world as one migration through `proxy`."""
    sources = [tree_source(world.tree, name="tree"), lots_source(world.lots, name="lots")]
    return Migration(folder, bucket, endpoint=proxy.url, sources=sources)


def kill_over_whole_runs(folder: Path, server: Server, seed: int, kills: int, files: int = 90) -> None:
    """World after world, each killed until it is done, until `kills` kills are done."""
    draw = random.Random(seed)
    number = 0
    while kills > 0:
        number += 1
        place = folder / f"world{number}"
        world = build_world(place, draw.randrange(2**32), files=files, urls=files // 4 * 2)
        bucket = server.make_bucket(
            f"kills-{seed}-{number}-{folder.name[-20:].replace('_', '-').lower()}", versioned=True
        )
        with Proxy(server.address) as proxy, Proxy(world.pages) as origin:
            world.write_lots(origin.url)
            migration = migration_of(world, place, bucket, proxy)
            kills -= run_killed(migration, proxy, draw, min(kills, 12), requests=2 * len(world.expected))
            differences = migration.check(world.expected)
            assert differences == [], f"FAULT_SEED={seed}, world {number}: {differences}"
            seen = len(proxy.seen)
            again = migration.run()
            assert again.status == 0, again.words
            writes = [s for s in proxy.seen[seen:] if s.method in ("PUT", "POST") and "_migrator/" not in s.target]
            assert writes == [], "a finished migration moves nothing"


@pytest.mark.timeout(300)
def test_row_01_killed_and_run_again_leaves_the_model(server: Server, folder: Path) -> None:
    seed = fault_seed()
    print(f"FAULT_SEED={seed}")
    kill_over_whole_runs(folder, server, seed, min(6, fault_kills(6)), files=30)


SHARDS = ["moto"] * 4 + ["rclone"] * 4
"""Share the kills among themselves. Ceph's come on top, because it is not installed everywhere."""


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("server", "shard"),
    [pytest.param(name, shard, id=f"{name}-{shard}") for shard, name in enumerate([*SHARDS, "ceph20"])],
    indirect=["server"],
)
def test_row_01_killed_hundreds_of_times(server: Server, folder: Path, shard: int) -> None:
    seed = fault_seed()
    print(f"FAULT_SEED={seed}")
    kill_over_whole_runs(folder, server, seed + shard, -(-fault_kills(320) // len(SHARDS)))


def killed_in_the_middle_of_an_upload(folder: Path, bucket: Bucket, proxy: Proxy) -> tuple[Migration, dict[str, bytes]]:
    """A migration of one large object, killed when the destination holds two of its parts."""
    contents = write_tree(folder / "tree", {"recording.bin": random.Random(18).randbytes(40 * MIB)})
    migration = Migration(folder, bucket, endpoint=proxy.url)
    proxy.rules += [
        # Nothing after the second part arrives before the kill.
        Rule(actions.delay(60), method="PUT", target=f"recording.*{PART}[345]", times=None),
        Rule(actions.delay(60), method="POST", target="recording.*uploadId=", times=None),
    ]
    process = migration.start()
    proxy.wait("PUT", f"recording.*{PART}[12]", number=2)
    kill(process)
    proxy.rules.clear()
    assert len(bucket.client().list_multipart_uploads(Bucket=bucket.name).get("Uploads", [])) == 1
    return migration, contents


@pytest.mark.parametrize("server", ["moto", pytest.param("ceph20", marks=pytest.mark.slow)], indirect=True)
def test_row_18_an_orphaned_upload_is_continued(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    migration, contents = killed_in_the_middle_of_an_upload(folder, bucket, proxy)
    finished = migration.run()
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []


def test_row_18_an_orphaned_upload_whose_source_is_gone_is_aborted(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    migration, _ = killed_in_the_middle_of_an_upload(folder, bucket, proxy)
    (folder / "tree" / "recording.bin").unlink()
    (folder / "tree" / "others").mkdir()  # an empty root would be that of a disk that is not mounted
    finished = migration.run()
    assert finished.status == 1, finished.words
    assert migration.check({}, failed={"recording.bin": "gone"}) == []


def test_row_18_an_orphaned_upload_whose_source_has_changed_is_not_mixed(
    folder: Path, bucket: Bucket, proxy: Proxy
) -> None:
    migration, _ = killed_in_the_middle_of_an_upload(folder, bucket, proxy)
    contents = write_tree(folder / "tree", {"recording.bin": random.Random(19).randbytes(40 * MIB)})
    finished = migration.run()
    items = migration.items()
    if finished.status == 0:
        assert migration.check(contents) == []
    else:
        assert items == {"recording.bin": ("failed", "changed")}, finished.words
        assert migration.check({}, failed={"recording.bin": "changed"}) == []


def test_row_18_an_upload_whose_beginning_went_unanswered_is_not_forgotten(
    folder: Path, bucket: Bucket, proxy: Proxy
) -> None:
    contents = write_tree(folder / "tree", {"recording.bin": random.Random(20).randbytes(20 * MIB)})
    lost = Rule(actions.lose_answer, method="POST", target=r"recording.*\?uploads", times=2)
    proxy.rules.append(lost)
    migration = Migration(folder, bucket, endpoint=proxy.url)
    finished = migration.run()
    assert finished.status == 0, finished.words
    assert lost.hits == 2
    assert migration.check(contents) == []


def test_row_18_an_orphaned_upload_whose_source_has_shrunk_is_aborted(
    folder: Path, bucket: Bucket, proxy: Proxy
) -> None:
    migration, _ = killed_in_the_middle_of_an_upload(folder, bucket, proxy)
    contents = write_tree(folder / "tree", {"recording.bin": b"short now"})
    finished = migration.run()
    if finished.status == 0:
        assert migration.check(contents) == []
    else:
        assert migration.check({}, failed={"recording.bin": "changed"}) == []


def test_row_01_killed_while_it_plans_and_plans_again(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    seed = fault_seed()
    print(f"FAULT_SEED={seed}")
    draw = random.Random(seed)
    contents = write_tree(folder / "tree", {f"{n}.jpg": b"%d" % n for n in range(120)})
    # What two sources have is told apart only when the plan ends.
    sources = [tree_source(folder / "tree", name=name) for name in ("first", "again")]
    migration = Migration(folder, bucket, endpoint=proxy.url, sources=sources)
    migration.words = ("plan",)
    for _ in range(fault_kills(3)):
        run_killed(migration, proxy, draw, 3, requests=1)
        assert migration.items() == dict.fromkeys(contents, ("planned", "")), f"FAULT_SEED={seed}"
    migration.words = ("migrate",)
    assert migration.run().status == 0
    assert migration.check(contents) == [], f"FAULT_SEED={seed}"


@pytest.mark.parametrize("server", ["moto", pytest.param("ceph20", marks=pytest.mark.slow)], indirect=True)
def test_row_01_killed_while_a_changed_plan_replaces_the_old(folder: Path, bucket: Bucket, proxy: Proxy) -> None:
    seed = fault_seed()
    print(f"FAULT_SEED={seed}")
    draw = random.Random(seed)
    names = [f"{folder}/{n}.jpg" for folder in "abc" for n in range(40)]
    contents = write_tree(folder / "tree", {name: name.encode() for name in names})
    migration = Migration(folder, bucket, endpoint=proxy.url, sources=[tree_source(folder / "tree", key="old/{name}")])
    assert migration.run("migrate", "--limit", "20").status == 5
    before = {key for (key,) in migration.rows("select key from items where state = 'stored'")}
    assert len(before) == 20
    migration.configure([tree_source(folder / "tree", key="new/{path}", exclude=["c/**"])], {}, {})
    run_killed(migration, proxy, draw, fault_kills(5), requests=80)
    kept = {key: contents[f"a/{key.removeprefix('old/')}"] for key in before}
    wanted = {f"new/{name}": content for name, content in contents.items() if not name.startswith("c/")}
    assert migration.check(kept | wanted) == [], f"FAULT_SEED={seed}"
