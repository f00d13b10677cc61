"""Rows 19-23: sources that lie, lead astray, or change while they are read."""

import os
import random
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.ended import Ended
from tests.faults import actions
from tests.faults.checker import Bucket, bucket_differences
from tests.faults.harness import Migration, lots_source, tree_source
from tests.faults.proxy import Proxy, Rule
from tests.faults.wire import Answer
from tests.faults.world import MIB, origin_of, small_tree, write_lot, write_tree
from tests.servers.s3 import ServerMissing
from tests.servers.sshfs import mounted

pytestmark = pytest.mark.faults

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + bytes(range(256)) * 20 + b"\xff\xd9"


def migration_of_urls(
    folder: Path, bucket: Bucket, urls: list[str], *, transfer: Mapping[str, object] | None = None, **keys: object
) -> Migration:
    """A migration of one lot with these URLs."""
    write_lot(folder / "lots" / "lot.json", urls)
    source = lots_source(str(folder / "lots" / "*.json"), **keys)
    return Migration(folder, bucket, sources=[source], transfer={"retries": 2, **(transfer or {})})


def test_row_19_a_body_that_ends_early_is_never_stored(folder: Path, bucket: Bucket) -> None:
    whole = {
        "img/once.jpg": b"x" * 50_000,
        "img/chunked-once.jpg": b"y" * 200_000,
        "img/large-once.bin": b"z" * 12 * MIB,
    }
    short = {
        "img/always.jpg": b"x" * 50_000,
        "img/chunked-always.jpg": b"y" * 200_000,
        "img/large.bin": b"z" * 12 * MIB,
    }
    with origin_of(whole | short) as origin:
        for rule in (
            Rule(actions.cut_answer(20_000), target="/img/once"),
            Rule(actions.cut_chunks(100_000), target="/img/chunked-once"),
            Rule(actions.cut_answer(10 * MIB), target="/img/large-once"),
            Rule(actions.cut_answer(20_000), target="/img/always", times=None),
            Rule(actions.cut_chunks(100_000), target="/img/chunked-always", times=None),
            Rule(actions.cut_answer(10 * MIB), target="/img/large.bin", times=None),
        ):
            origin.rules.append(rule)
        migration = migration_of_urls(folder, bucket, [f"{origin.url}/{key}" for key in whole | short])
        finished = migration.run()
    assert finished.status == 1, finished.words
    faults = {key: fault for key, (state, fault) in migration.items().items() if state == "failed"}
    assert set(faults) == set(short)
    assert set(faults.values()) <= {"invalid", "transient"}
    assert migration.check(whole, faults) == []


IMPOSTORS = {
    "soft-404.jpg": Answer(200, [("Content-Type", "text/html")], b"<!DOCTYPE html><title>Not found</title>"),
    "soft-404-as-image.jpg": Answer(200, [("Content-Type", "image/jpeg")], b"<html><body>Not found</body></html>"),
    "empty.jpg": Answer(200, [("Content-Type", "image/jpeg")], b""),
    "document.jpg": Answer(200, [("Content-Type", "image/jpeg")], b"%PDF-1.7\n" + b"x" * 500),
    "json.jpg": Answer(200, [("Content-Type", "image/jpeg")], b'{"error": "not found"}'),
    "moved.jpg": Answer(302, [("Location", "/login")]),
}


def test_row_20_what_is_no_image_is_not_stored(folder: Path, bucket: Bucket) -> None:
    login = Answer(200, [("Content-Type", "text/html")], b"<html><form action=/login></form></html>")
    pages = {f"/img/{name}": page for name, page in IMPOSTORS.items()} | {
        "/img/real.jpg": Answer(200, [("Content-Type", "image/jpeg")], JPEG),
        "/login": login,
    }
    with Proxy(pages) as origin:
        urls = [origin.url + path for path in pages if path != "/login"]
        migration = migration_of_urls(folder, bucket, urls, expect="image")
        finished = migration.run()
        assert origin.count(target="/img/") == len(urls), "it is not asked for again"
    assert finished.status == 1, finished.words
    assert migration.check({"img/real.jpg": JPEG}, {f"img/{name}": "invalid" for name in IMPOSTORS}) == []


def test_row_21_addresses_within_are_refused(folder: Path, bucket: Bucket) -> None:
    with Proxy({"/x.jpg": Answer(200, body=JPEG)}) as origin:
        port = origin.port
        hosts = [
            "127.0.0.1",
            "127.1",
            "localhost",
            "0177.0.0.1",
            "0x7f000001",
            "2130706433",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[64:ff9b::7f00:1]",
            "0.0.0.0",
            "169.254.169.254",
            "[fe80::1]",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.0.1",
            "100.100.100.200",
        ]
        urls = [f"http://{host}:{port}/{i}/x.jpg" for i, host in enumerate(hosts)]
        urls += [
            "file:///etc/passwd",
            "file://localhost/etc/passwd",
            "ftp://127.0.0.1/x",
            "gopher://127.0.0.1:1/x",
            "data:,x",
        ]
        migration = migration_of_urls(folder, bucket, urls, allow_private=False)
        finished = migration.run()
        assert finished.status == 1, finished.words
        assert origin.seen == [], "nobody was asked"
    assert bucket_differences(bucket, {}) == []
    reasons = migration.rows(
        "select location, fault, message from items union all select position, fault, message from problems"
    )
    assert len(reasons) == len(urls)
    assert {fault for _, fault, _ in reasons} <= {"forbidden", "invalid"}, reasons
    assert all(message for _, _, message in reasons)


def test_row_21_redirects_lead_to_http_only_and_end(folder: Path, bucket: Bucket) -> None:
    targets = ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1:1/x", "/loop/5", "//", "http://"]
    pages = {f"/hop/{i}": Answer(302, [("Location", target)]) for i, target in enumerate(targets)}
    pages["/loop/5"] = Answer(302, [("Location", "/loop/5")])
    with Proxy(pages) as origin:
        migration = migration_of_urls(folder, bucket, [f"{origin.url}/hop/{i}" for i in range(len(targets))])
        finished = migration.run()
        assert origin.count(target="/loop") < 100
    assert finished.status == 1, finished.words
    assert bucket_differences(bucket, {}) == []
    assert {state for state, _ in migration.items().values()} == {"failed"}


def test_row_22_a_tree_full_of_traps(folder: Path, bucket: Bucket) -> None:
    contents = small_tree(folder)
    tree = folder / "tree"
    (folder / "secret.txt").write_text("outside")
    (folder / "outside").mkdir()
    (folder / "outside" / "x.txt").write_text("outside")
    (tree / "out.txt").symlink_to(folder / "secret.txt")
    (tree / "out-relative.txt").symlink_to("../secret.txt")
    (tree / "out-dir").symlink_to(folder / "outside")
    (tree / "loop").symlink_to(tree)
    (tree / "self").symlink_to("self")
    (tree / "dangling").symlink_to("nowhere")
    os.mkfifo(tree / "fifo")
    (tree / "device").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(tree)  # the path of a socket may have 107 bytes
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        for follow in (False, True):
            migration = Migration(folder, bucket, sources=[tree_source(tree, follow_symlinks=follow)])
            finished = migration.run("migrate", "--rescan") if follow else migration.run()
            assert finished.status in (0, 1), finished.words
            differences = bucket_differences(bucket, contents)
            assert all(line.startswith("nobody asked for it in the bucket: 'loop/") for line in differences), (
                differences
            )
            assert follow or not differences


def test_row_22_local_paths_of_a_manifest_stay_under_their_root(folder: Path, bucket: Bucket) -> None:
    contents = small_tree(folder)
    (folder / "secret.txt").write_text("outside")
    (folder / "tree" / "out.txt").symlink_to(folder / "secret.txt")
    paths = ["../secret.txt", "dir0/../../secret.txt", str(folder / "secret.txt"), "out.txt", "/etc/passwd", "dir0"]
    paths += ["%2e%2e/secret.txt", "..\\secret.txt", *contents]
    migration = migration_of_urls(folder, bucket, paths, root=str(folder / "tree"))
    finished = migration.run()
    assert finished.status == 1, finished.words
    assert bucket_differences(bucket, contents) == []
    problems = len(migration.rows("select 1 from problems"))
    failed = sum(state == "failed" for state, _ in migration.items().values())
    assert problems + failed == len(paths) - len(contents)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads what nobody may read")
def test_row_22_an_unreadable_file_is_forbidden(folder: Path, bucket: Bucket) -> None:
    contents = small_tree(folder)
    shut = folder / "tree" / "shut.bin"
    shut.write_bytes(b"x")
    shut.chmod(0)
    migration = Migration(folder, bucket)
    assert migration.run().status == 1
    assert migration.check(contents, {"shut.bin": "forbidden"}) == []


class Rewriter:
    """Gives a file other bytes of the same length, as often as it is called."""

    def __init__(self, path: Path, bodies: list[bytes]) -> None:
        self.path = path
        self.bodies = bodies

    def __call__(self) -> None:
        if self.bodies:
            self.path.write_bytes(self.bodies.pop(0))


@pytest.mark.parametrize("stays", [True, False], ids=["then-stays", "changes-again"])
def test_row_23_a_file_rewritten_while_it_is_read(folder: Path, bucket: Bucket, proxy: Proxy, stays: bool) -> None:
    draw = random.Random(23)
    bodies = [draw.randbytes(40 * MIB) for _ in range(3)]
    contents = write_tree(folder / "tree", {"recording.bin": bodies[0]})
    later = bodies[1:2] if stays else bodies[1:]
    rewrite = Rewriter(folder / "tree" / "recording.bin", later)
    # The upload begins with the file's first bytes in hand and its last ones unread.
    proxy.rules.append(
        Rule(actions.call(rewrite), method="POST|PUT", target=r"recording.*(uploads|partNumber=1)", times=None)
    )
    proxy.rules.append(Rule(actions.delay(0.2), method="PUT", target="recording", times=None))
    migration = Migration(folder, bucket, endpoint=proxy.url)
    finished = migration.run()
    if finished.status == 0:
        assert migration.check(contents | {"recording.bin": (folder / "tree" / "recording.bin").read_bytes()}) == []
    else:
        assert migration.items() == {"recording.bin": ("failed", "changed")}, finished.words
        assert migration.check({}, {"recording.bin": "changed"}) == []
    if stays:
        assert finished.status == 0, "it is read once more"
    assert not rewrite.bodies, "the file did change"


def test_row_23_files_of_a_share_that_is_mounted_again_have_not_changed(folder: Path, bucket: Bucket) -> None:
    contents = small_tree(folder, count=30, size=20)
    share = folder / "share"
    migration = Migration(folder, bucket, sources=[tree_source(share)])

    def on_the_share(*arguments: str, first: str) -> Ended:
        """A command while it is mounted; `first` is looked up first, so all inodes are others each time."""
        with mounted(folder / "tree", share):
            sorted((share / first).iterdir())
            return migration.run(*arguments, environment={"MIGRATOR_CLEANUP__GRACE": "0s"})

    try:
        assert on_the_share("plan", first="dir0").status == 0
    except ServerMissing as missing:
        pytest.skip(str(missing))
    moved = on_the_share("migrate", first="dir2")
    assert moved.status == 0, moved.words
    assert migration.check(contents) == []
    assert migration.rows("select distinct attempts from items") == [(1,)]
    again = on_the_share("migrate", first="dir1")
    assert again.status == 0, again.words
    assert migration.rows("select count(*) from problems") == [(0,)]
    assert migration.run("verify").status == 0
    taken = on_the_share("cleanup", "--yes", first="dir2")
    assert taken.status == 0, taken.words
    assert not list((folder / "tree").glob("dir*/*"))


def test_a_share_whose_program_ends_stops_the_run(folder: Path, bucket: Bucket) -> None:
    contents = small_tree(folder, count=30, size=20)
    share = folder / "share"
    migration = Migration(folder, bucket, sources=[tree_source(share)])
    try:
        with mounted(folder / "tree", share) as kill:
            assert migration.run("plan").status == 0
            kill()
            stopped = migration.run()
    except ServerMissing as missing:
        pytest.skip(str(missing))
    assert stopped.status == 3, stopped.words
    assert "Transport endpoint is not connected" in stopped.words
    assert "unforeseen" not in stopped.words
    assert {state for state, _ in migration.items().values()} <= {"planned", "intended"}
    with mounted(folder / "tree", share):
        finished = migration.run()
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []


def test_a_disk_that_is_not_mounted_makes_no_file_gone(folder: Path, bucket: Bucket) -> None:
    """All that is left of it is the empty folder that it belongs on."""
    contents = small_tree(folder, count=30, size=20)
    migration = Migration(folder, bucket)
    assert migration.run("migrate", "--limit", "5").status == 5
    root = folder / "tree"
    root.rename(folder / "disk")
    root.mkdir()
    stopped = migration.run()
    assert stopped.status == 3, stopped.words
    assert f"the source's root '{root}' is empty" in stopped.words
    assert {state for state, _ in migration.items().values()} <= {"planned", "intended", "stored"}
    root.rmdir()
    (folder / "disk").rename(root)
    finished = migration.run()
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []
