"""Rows 11 and 12: keys of every kind arrive byte for byte or are refused by name, and two of one name never mix."""

import json
import unicodedata
from pathlib import Path

import pytest

from tests.faults.checker import Bucket, bucket_differences
from tests.faults.harness import Migration, finish, lots_source, tree_source
from tests.faults.servers import Server
from tests.faults.world import ODD_NAMES, origin_of, write_lot, write_tree

pytestmark = pytest.mark.faults

GOOD_KEYS = (
    "a+b%41%2f#c?d&e=f;g,h:i@j$k!l*m(n)",
    "double//slash///x",
    "space s/ leading/trailing ",
    "trailing/slash/",
    unicodedata.normalize("NFC", "é/nfc"),
    unicodedata.normalize("NFD", "é/nfd"),
    "emoji/\U0001f4f7\U0001f468‍\U0001f469‍\U0001f467.jpg",
    "中文/עברית/ไทย",
    "quotes'\"`<>&amp;",
    "back\\slash",
    ".hidden/..three.../a..b",
    "k" * 200 + "/" + "l" * 200 + "/" + "m" * 200 + "/" + "n" * 200 + "/" + "o" * 220,
    "/".join(["é" * 102] * 5),
)
MERGED_BY_RCLONE = unicodedata.normalize("NFD", "é/nfd")
"""It finds the folder in its other form and takes that, for whoever reads it, too."""
BAD_KEYS = ("/leading", "a/../b", "..", "./a", "a/.", "k" * 1025, "é" * 512 + "k", "nul\0", "")


def keyed_lots(folder: Path, origin: str, keys: tuple[str, ...]) -> dict[str, object]:
    """A manifest source in which every item says its own key."""
    folder.mkdir()
    images = [{"key": key, "image_url": f"{origin}/img/{i}"} for i, key in enumerate(keys)]
    (folder / "lot.json").write_text(json.dumps(images))
    return lots_source(str(folder / "*.json"), key="{key}")


@pytest.mark.parametrize(
    "server", ["moto", *(pytest.param(name, marks=pytest.mark.slow) for name in ("rclone", "ceph20"))], indirect=True
)
def test_row_11_odd_keys_arrive_byte_for_byte_or_are_refused_by_name(
    folder: Path, server: Server, bucket: Bucket
) -> None:
    good = [key for key in GOOD_KEYS if server.name != "rclone" or key != MERGED_BY_RCLONE]
    keys = (*good, *BAD_KEYS)
    pages = {f"img/{i}": f"body {i}".encode() for i in range(len(keys))}
    with origin_of(pages) as origin:
        source = keyed_lots(folder / "lots", origin.url, keys)
        migration = Migration(folder, bucket, sources=[source])
        plan = migration.run("plan", "--json")
        finished = migration.run()
    assert plan.status == 1, plan.words
    assert finished.status == 1, finished.words
    rows = migration.rows("select message from problems union all select message from items where state = 'failed'")
    stored = {key for key, (state, _) in migration.items().items() if state == "stored"}
    refused = len(good) - len(stored)
    assert len(rows) == len(BAD_KEYS) + refused
    expected = {key: pages[f"img/{i}"] for i, key in enumerate(keys) if key in stored}
    assert bucket_differences(bucket, expected) == []
    if server.name != "rclone":
        assert stored == set(GOOD_KEYS)
        return
    # It alters them or takes none such. What it alters is known by now, so the plan names it.
    assert set(good) - stored == {"double//slash///x", "trailing/slash/"}
    assert migration.run("plan").status == 1
    assert "a key with / at the end" in str(migration.rows("select message from problems"))


@pytest.mark.parametrize("server", ["moto", pytest.param("rclone", marks=pytest.mark.slow)], indirect=True)
def test_row_11_odd_file_names_arrive_byte_for_byte(folder: Path, bucket: Bucket) -> None:
    contents = write_tree(folder / "tree", {name: name.encode() for name in ODD_NAMES})
    (Path(str(folder / "tree")) / "bad-\udcff.jpg").write_bytes(b"no UTF-8")
    migration = Migration(folder, bucket)
    finished = migration.run()
    assert finished.status == 1, finished.words
    assert "UTF-8" in "".join(str(row) for row in migration.rows("select message from problems"))
    assert migration.check(contents) == []


def test_row_11_keys_are_the_same_under_another_locale(folder: Path, bucket: Bucket) -> None:
    contents = write_tree(folder / "tree", {name: name.encode() for name in ODD_NAMES})
    (Path(str(folder / "tree")) / "bad-\udcff.jpg").write_bytes(b"no UTF-8")
    migration = Migration(folder, bucket)
    old = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # names are ASCII, says the system
    moved = finish(migration.start(environment=old))
    assert moved.status == 1, moved.words
    assert migration.check(contents) == []
    assert migration.run().status == 1
    assert migration.check(contents) == []


def test_row_12_two_locations_for_one_key(folder: Path, bucket: Bucket) -> None:
    first = write_tree(folder / "first", {"a/x.jpg": b"the first", "a/y.jpg": b"alone"})
    write_tree(folder / "second", {"b/x.jpg": b"the second"})
    sources = [tree_source(folder / "first", key="{name}"), tree_source(folder / "second", key="{name}")]
    migration = Migration(folder, bucket, sources=sources)
    plan = migration.run("plan")
    assert plan.status == 1, plan.words
    assert "a/x.jpg" in plan.words
    assert "b/x.jpg" in plan.words
    finished = migration.run()
    assert finished.status == 1, finished.words
    assert migration.check({"x.jpg": first["a/x.jpg"], "y.jpg": b"alone"}, {"x.jpg": "conflict"}) == []
    again = migration.run("migrate", "--retry-failed")
    assert again.status == 1, again.words
    assert migration.check({"x.jpg": first["a/x.jpg"], "y.jpg": b"alone"}, {"x.jpg": "conflict"}) == []


def test_row_12_the_same_location_twice_is_one_item(folder: Path, bucket: Bucket) -> None:
    pages = {"img/1.jpg": b"once"}
    with origin_of(pages) as origin:
        for lot in range(3):
            write_lot(folder / "lots" / f"{lot}.json", [f"{origin.url}/img/1.jpg"] * 2)
        migration = Migration(folder, bucket, sources=[lots_source(str(folder / "lots" / "*.json"))])
        finished = migration.run()
        assert origin.count("GET") == 1
    assert finished.status == 0, finished.words
    assert migration.check(pages) == []
