"""Row 24, and row 20 where variants are wanted: images that are bombs, broken, hostile or none at all."""

import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.photographs import photograph_jpeg
from tests.ended import Ended
from tests.faults.checker import Bucket
from tests.faults.harness import Migration, lots_source, table, tree_source
from tests.faults.proxy import Proxy
from tests.faults.test_rows_sources import IMPOSTORS
from tests.faults.wire import Answer
from tests.faults.world import write_lot, write_tree
from tests.images import hostile

pytestmark = pytest.mark.faults

GOOD = {f"good/{seed}.jpg": photograph_jpeg(seed, (320, 240)) for seed in range(6)}
SMALL = {"name": "small", "key": "variants/{path}.{format}", "width": 64, "formats": ["jpeg", "webp"]}
MADE = {f"variants/{path}.{form}" for path in GOOD for form in ("jpeg", "webp")}

MEASURE = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""
"""Runs a command and writes down the KiB of the largest of all its processes."""

SABOTAGE = """
import os, sys, time
if "migrator.images.worker" in sys.orig_argv:
    from PIL import Image, ImageFile
    opened, load = Image.open, ImageFile.ImageFile.load

    def noted(*arguments, **options):
        image = opened(*arguments, **options)
        image.sabotage = image.width
        return image

    def sabotaged(image):
        width = getattr(image, "sabotage", 0)
        if width == 321:
            os.abort()
        while width == 322:
            time.sleep(3600)
        if width == 323:
            bytearray(3 << 30)
        return load(image)

    Image.open, ImageFile.ImageFile.load = noted, sabotaged
"""
"""Loaded by every Python that starts: decoders of images of these widths crash, hang, or take 3 GiB."""


def with_variants(migration: Migration) -> Migration:
    """Its images have variants."""
    migration.config.write_text(migration.config.read_text() + table("[[variants]]", SMALL))
    return migration


def bodies(bucket: Bucket) -> dict[str, bytes]:
    """Everything that stands in the bucket."""
    client: Any = bucket.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket.name)
    keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
    return {key: client.get_object(Bucket=bucket.name, Key=key)["Body"].read() for key in keys}


def unmade(migration: Migration) -> dict[str, list[tuple[str, str]]]:
    """Fault and message of the variants that were not made, by the key of their image."""
    found: dict[str, list[tuple[str, str]]] = {}
    for key, fault, message in migration.rows(
        "select items.key, variants.fault, variants.message from variants join items on items.id = variants.item"
        " where variants.state <> 'stored'"
    ):
        found.setdefault(key, []).append((fault, message))
    return found


def run_measured(migration: Migration, largest: int, **environment: str) -> Ended:
    """A run of which no process may ever hold more than `largest` bytes."""
    peak = migration.folder / "peak"
    finished = migration.run(before=(sys.executable, "-c", MEASURE, str(peak)), environment=environment)
    assert int(peak.read_text()) * 1024 < largest
    return finished


def test_row_24_hostile_images_cost_their_variants_only(folder: Path, bucket: Bucket) -> None:
    cases = hostile.cases()
    files = GOOD | {f"bad/{name}": data for name, (data, _) in cases.items()}
    write_tree(folder / "tree", files)
    migration = with_variants(Migration(folder, bucket, sources=[tree_source(folder / "tree")]))
    finished = run_measured(migration, 700 << 20)
    assert finished.status == 1, finished.words
    assert "Traceback" not in finished.words
    standing = bodies(bucket)
    assert {key: standing[key] for key in files} == files, "a failed variant never costs its original"
    assert standing.keys() - files.keys() == MADE
    assert {Image.open(io.BytesIO(standing[key])).size for key in MADE} == {(64, 48)}
    failed = unmade(migration)
    assert not failed.keys() & GOOD.keys()
    for key, faults in failed.items():
        assert {fault for fault, _ in faults} == {"render"}
        pattern = cases[key.removeprefix("bad/")][1]
        assert all(re.search(pattern, message) for _, message in faults), (key, faults)
    images = {f"bad/{name}" for name in hostile.cut() | hostile.bombs() | hostile.liars()}
    assert failed.keys() >= images - {"bad/bomb.webp"}, "what begins like an image is told of"
    assert "Variants not made" in finished.out


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("crash", "its process died (SIGABRT)"),
        pytest.param("hang", "30 s went by", marks=pytest.mark.slow),
        ("gorge", "MiB of memory"),
    ],
)
@pytest.mark.timeout(300)
def test_row_24_a_decoder_that_breaks_costs_its_image_only(
    folder: Path, bucket: Bucket, how: str, message: str
) -> None:
    width = {"crash": 321, "hang": 322, "gorge": 323}[how]
    files = GOOD | {f"bad/{seed}.jpg": photograph_jpeg(seed, (width, 240)) for seed in range(2)}
    write_tree(folder / "tree", files)
    (folder / "sitecustomize.py").write_text(SABOTAGE)
    migration = with_variants(Migration(folder, bucket, sources=[tree_source(folder / "tree")]))
    finished = run_measured(migration, 700 << 20, PYTHONPATH=str(folder))
    assert finished.status == 1, finished.words
    standing = bodies(bucket)
    assert {key: standing[key] for key in files} == files
    assert standing.keys() - files.keys() == MADE
    failed = unmade(migration)
    assert {key: len(faults) for key, faults in failed.items()} == {"bad/0.jpg": 2, "bad/1.jpg": 2}
    assert all(fault == "render" and message in said for faults in failed.values() for fault, said in faults), failed
    # The decoder is well again: what failed is made, and nothing else is touched.
    assert migration.run("retry", "--fault", "render").status == 0
    assert migration.run().status == 0
    assert bodies(bucket).keys() - standing.keys() == {
        f"variants/bad/{seed}.jpg.{form}" for seed in range(2) for form in ("jpeg", "webp")
    }


@pytest.mark.parametrize("expect", ["image", "any"])
def test_row_20_what_is_no_image_has_no_variants(folder: Path, bucket: Bucket, expect: str) -> None:
    login = Answer(200, [("Content-Type", "text/html")], b"<html><form action=/login></form></html>")
    photos = {f"img/{path}": body for path, body in GOOD.items()}
    pages = {f"/img/{name}": page for name, page in IMPOSTORS.items()} | {
        f"/{path}": Answer(200, [("Content-Type", "image/jpeg")], body) for path, body in photos.items()
    }
    with Proxy(pages | {"/login": login}) as origin:
        write_lot(folder / "lots" / "lot.json", [origin.url + path for path in pages])
        source = lots_source(str(folder / "lots" / "*.json"), expect=expect)
        migration = with_variants(Migration(folder, bucket, sources=[source], transfer={"retries": 2}))
        finished = migration.run()
    made = {f"variants/{path}.{form}" for path in photos for form in ("jpeg", "webp")}
    standing = bodies(bucket)
    if expect == "image":
        assert finished.status == 1, finished.words
        assert standing.keys() == photos.keys() | made
        assert {key for key, (_, fault) in migration.items().items() if fault == "invalid"} == {
            f"img/{name}" for name in IMPOSTORS
        }
    else:
        assert finished.status == 0, finished.words
        assert standing.keys() == photos.keys() | made | {f"img/{name}" for name in IMPOSTORS}
    assert unmade(migration) == {}
