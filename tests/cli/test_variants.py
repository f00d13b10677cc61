"""Variants as an operator meets them: in plan, migrate, status and report, and added after everything has moved."""

import io
import json
import os
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from PIL import Image

from benchmarks.photographs import photograph_jpeg
from tests.cli.conftest import Project

PHOTOS = {name: photograph_jpeg(seed, (200, 150)) for seed, name in enumerate(("a", "b", "c"))}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'

SOURCE = '[[sources]]\nname = "photos"\ntype = "directory"\nroot = "photos"\nkey = "{stem}/original.{ext}"\n'
THUMB = '\n[[variants]]\nname = "thumb"\nkey = "{stem}/thumb.jpg"\nwidth = 40\nheight = 40\n'
WIDE = '\n[[variants]]\nname = "wide"\nkey = "{stem}/wide.{format}"\nwidth = 100\nformats = ["webp", "png"]\n'


def fill(project: Project, **others: bytes) -> None:
    """Three photographs, and other files by name without its dot."""
    folder = project.folder / "photos"
    folder.mkdir(exist_ok=True)
    for name, body in PHOTOS.items():
        (folder / f"{name}.jpg").write_bytes(body)
    for name, body in others.items():
        (folder / name.replace("_", ".")).write_bytes(body)


def versions(project: Project) -> dict[str, int]:
    """How often each key was stored."""
    counted: dict[str, int] = {}
    for each in project.server.client().list_object_versions(Bucket=project.bucket).get("Versions", []):
        counted[each["Key"]] = counted.get(each["Key"], 0) + 1
    return counted


def version(project: Project) -> None:
    """From now on nothing that is stored twice can hide."""
    project.server.client().put_bucket_versioning(Bucket=project.bucket, VersioningConfiguration={"Status": "Enabled"})


def seen(project: Project, *arguments: str) -> dict[str, Any]:
    """The last line of a command with --json."""
    found: dict[str, Any] = json.loads(project.run(*arguments, "--json").out.splitlines()[-1])
    return found


def counted(tree: dict[str, Any]) -> dict[str, tuple[int, dict[str, int]]]:
    """Stored and failed variants by label."""
    return {f"{each['name']}.{each['format']}": (each["stored"], each["failed"]) for each in tree["variants"]}


def test_a_plan_says_how_many_variants_and_what_they_take(project: Project) -> None:
    fill(project, notes_txt=b"hello")
    project.configure(SOURCE + THUMB + WIDE)
    said = project.run("plan")
    assert said.status == 0, said.err
    assert "variants  3 for each image among 4 objects (3 of 4 looked at are images): about 9 to make" in said.out
    assert "requests  about 13: 4 PUT, 9 PUT of variants" in said.out
    assert "s of CPU an image (4 looked at): less than 0.01 CPU hours" in said.out
    (plan,) = seen(project, "plan")["planned_variants"]
    assert (plan["variants_each"], plan["objects"], plan["images"], plan["to_make"]) == (3, 4, 3, 9)
    assert plan["sample"] == {"objects": 4, "images": 3, "failed_variants": 0}
    assert 0 < plan["cpu_seconds_an_image"] < 5
    assert 0 < plan["bytes_an_image"] < 100_000
    assert project.objects() == {}


def test_a_dry_run_says_the_same_and_a_sample_that_cannot_be_read_fails_nothing(project: Project) -> None:
    lots = '[[sources]]\nname = "lots"\ntype = "manifest"\nfiles = "urls.txt"\nkey = "{path}"\nallow_private = true\n'
    (project.folder / "urls.txt").write_text("http://127.0.0.1:9/a.jpg\nhttp://127.0.0.1:9/b.jpg\n")
    project.configure(lots + THUMB)
    said = project.run("migrate", "--dry-run")
    assert said.status == 0, said.err
    assert "variants  1 for each image among 2 objects: up to 2 to make\n" in said.out


def test_every_variant_is_counted_and_what_failed_is_explained(project: Project) -> None:
    fill(project, broken_jpg=PHOTOS["a"][:2000], notes_txt=b"hello")
    project.configure(SOURCE + THUMB + WIDE)
    said = project.run("migrate")
    assert said.status == 1
    assert "and made 9 variants in" in said.out
    assert "  variants failed  3           render 3\n" in said.out
    assert "such as     thumb.jpeg of broken/original.jpg: " in said.out
    assert "next    `migrator retry --fault render`, then `migrator migrate`" in said.out
    objects = project.objects()
    assert {key for key in objects if not key.endswith(("original.jpg", "original.txt"))} == {
        f"{name}/{variant}" for name in PHOTOS for variant in ("thumb.jpg", "wide.webp", "wide.png")
    }
    assert {Image.open(io.BytesIO(objects[f"{name}/thumb.jpg"])).size for name in PHOTOS} == {(40, 30)}
    status = seen(project, "status")
    assert counted(status) == {label: (3, {"render": 1}) for label in ("thumb.jpeg", "wide.webp", "wide.png")}
    page = project.run("report").out
    assert "**Finished with gaps:** 0 objects failed, 3 variants not made" in page
    assert "| thumb.jpeg | 3 |" in page
    report = json.loads(project.run("report", "--format", "json").out)
    assert [(each["variant"], each["original"], each["fault"]) for each in report["unmade_variants"]] == [
        (name, "broken/original.jpg", "render") for name in ("thumb", "wide", "wide")
    ]
    assert "migrator retry --fault render" in report["unmade_variants"][0]["what_to_do"]
    assert {each["quality"] for each in report["variants"]} == {85, None}
    log = (project.folder / "checkpoints" / "trial.log").read_text()
    assert log.count('"event": "variant_failed"') == 3


def test_progress_for_machines_counts_variants(project: Project) -> None:
    fill(project, broken_jpg=PHOTOS["a"][:2000])
    project.configure(SOURCE + THUMB)
    lines = [json.loads(line) for line in project.run("migrate", "--json").out.splitlines()]
    (failed,) = [line for line in lines if line["event"] == "variant_failed"]
    assert (failed["variant"], failed["original"], failed["fault"]) == ("thumb", "broken/original.jpg", "render")
    assert lines[-1]["made_variants"] == 3


def test_variants_that_are_configured_later_are_made_of_what_was_stored(project: Project) -> None:
    version(project)
    fill(project, drawing_svg=SVG, notes_txt=b"hello")
    project.configure(SOURCE)
    assert project.run("migrate").status == 0
    originals = versions(project)
    # What the files hold now, behind the back of every scan, must not matter any more.
    for name, body in PHOTOS.items():
        path = project.folder / "photos" / f"{name}.jpg"
        then = path.stat()
        path.write_bytes(bytes(len(body)))
        os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns))
    project.configure(SOURCE + THUMB)
    assert "variants  4 more for 4 images that arrived without: `migrator migrate --only-variants`" in (
        project.run("plan").out
    )
    said = project.run("migrate", "--only-variants")
    assert said.status == 0, said.err + said.out
    assert "Made 3 variants in" in said.out
    thumbs = {f"{name}/thumb.jpg": 1 for name in PHOTOS}
    assert versions(project) == originals | thumbs
    again = seen(project, "migrate", "--only-variants")
    assert (again["made_variants"], again["run_requests"].get("GET", 0)) == (0, 0), "the drawing is looked at once"
    assert versions(project) == originals | thumbs
    assert "more for" not in project.run("plan").out
    report = seen(project, "status")
    assert [(each["stored"], each["no_image"]) for each in report["variants"]] == [(3, 1)]


def test_a_plain_run_does_not_make_what_was_never_asked_for(project: Project) -> None:
    fill(project)
    project.configure(SOURCE)
    assert project.run("migrate").status == 0
    project.configure(SOURCE + THUMB)
    assert project.run("migrate").status == 0
    assert len(project.objects()) == 3


def test_a_removed_variant_is_listed_and_stays(project: Project) -> None:
    fill(project, broken_jpg=PHOTOS["a"][:2000])
    project.configure(SOURCE + THUMB + WIDE)
    assert project.run("migrate").status == 1
    project.configure(SOURCE + THUMB)
    said = project.run("report").out
    assert "No longer configured; their objects stay where they are:" in said
    assert "- wide.webp: 3 objects, " in said
    assert "1 variant not made" in said
    assert "`select key from variants where name = 'wide' and format = 'webp'`" in said
    assert sum("/wide." in key for key in project.objects()) == 6
    states = {(each["name"], each["format"]): each["configured"] for each in seen(project, "status")["variants"]}
    assert states == {("thumb", "jpeg"): True, ("wide", "webp"): False, ("wide", "png"): False}
    project.configure(SOURCE)
    assert project.run("migrate").status == 0, "what nobody wants any more is no gap"


TABLE = """
[[sources]]
name = "photos"
type = "table"
database_url = "sqlite:///shop.db"
query = "SELECT id, file FROM photos"
primary_key = ["id"]
root = "photos"
location = "{file}"
key = "{stem}/original.{ext}"

[sources.update]
table = "photos"
set = { thumb = "{variant.thumb.key}" }
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """A table of the three photographs."""
    fill(project)
    with closing(sqlite3.connect(project.folder / "shop.db")) as database:
        database.execute("CREATE TABLE photos (id INTEGER PRIMARY KEY, file TEXT, thumb TEXT)")
        database.executemany("INSERT INTO photos (file) VALUES (?)", [(f"{name}.jpg",) for name in PHOTOS])
        database.commit()
    project.configure(TABLE + THUMB)
    return project


def rows(project: Project) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(project.folder / "shop.db")) as database:
        return database.execute("SELECT file, thumb FROM photos ORDER BY id").fetchall()


def test_a_row_waits_for_its_variant_which_is_made_after_a_retry(shop: Project) -> None:
    client = shop.server.client()
    client.put_object(Bucket=shop.bucket, Key="b/thumb.jpg", Body=b"somebody else's")
    said = shop.run("migrate")
    assert said.status == 1
    assert "1 row waits for variants that failed" in said.out
    assert "conflict 1: other bytes stand under its key" in said.out
    assert rows(shop) == [("a.jpg", "a/thumb.jpg"), ("b.jpg", None), ("c.jpg", "c/thumb.jpg")]
    assert "wait    1 row waits for variants that failed" in shop.run("status").out
    assert seen(shop, "status")["rows_waiting_for_variants"] == 1
    assert "1 row waits for variants that failed" in shop.run("report").out
    client.delete_object(Bucket=shop.bucket, Key="b/thumb.jpg")
    assert "1 variant planned again" in shop.run("retry", "--fault", "conflict").out
    assert "variants  1 to make again" in shop.run("plan").out
    said = shop.run("migrate")
    assert said.status == 0, said.err + said.out
    assert rows(shop)[1] == ("b.jpg", "b/thumb.jpg")
    assert seen(shop, "status")["rows_waiting_for_variants"] == 0


def test_variants_without_their_originals(project: Project) -> None:
    version(project)
    fill(project)
    project.configure(SOURCE + "keep_original = false\n" + THUMB)
    assert "requests  about 3: 0 PUT, 3 PUT of variants" in project.run("plan").out
    assert project.run("migrate").status == 0
    thumbs = {f"{name}/thumb.jpg": 1 for name in PHOTOS}
    assert versions(project) == thumbs
    project.configure(SOURCE + "keep_original = false\n" + THUMB + WIDE)
    assert project.run("migrate", "--only-variants").status == 0
    wide = {f"{name}/wide.{form}": 1 for name in PHOTOS for form in ("webp", "png")}
    assert versions(project) == thumbs | wide


def test_images_that_stand_in_their_place_get_their_variants(project: Project) -> None:
    version(project)
    client = project.server.client()
    for key, body in zip(("done/a.jpg", "b.jpg", "done/c.jpg"), PHOTOS.values(), strict=True):
        client.put_object(Bucket=project.bucket, Key=key, Body=body, ContentType="image/jpeg")
    source = f'[[sources]]\nname = "here"\ntype = "bucket"\nbucket = "{project.bucket}"\non_no_match = "skip"\n'
    source += "match = '^(?:done/)?(?P<name>[^/.]+)\\.jpg$'\nkey = \"done/{name}.jpg\"\n"
    project.configure(source + THUMB.replace("{stem}", "thumbs/{name}"))
    assert "variants  1 for each of 3 images: 3 to make" in project.run("plan").out
    assert seen(project, "status")["skipped"] == {"in-place": 2}
    said = project.run("migrate")
    assert said.status == 0, said.err + said.out
    originals = {"b.jpg": 1, "done/a.jpg": 1, "done/b.jpg": 1, "done/c.jpg": 1}
    assert versions(project) == originals | {f"thumbs/{name}/thumb.jpg": 1 for name in PHOTOS}
    assert seen(project, "migrate")["made_variants"] == 0


def width(body: bytes) -> int:
    with Image.open(io.BytesIO(body)) as image:
        return image.width


def test_variants_that_are_configured_otherwise_since_are_made_anew(project: Project) -> None:
    fill(project)
    project.configure(SOURCE + THUMB + WIDE)
    assert project.run("migrate").status == 0
    before = project.objects()
    client = project.server.client()
    mark = client.head_object(Bucket=project.bucket, Key="b/thumb.jpg")["Metadata"]
    client.put_object(Bucket=project.bucket, Key="b/thumb.jpg", Body=b"touched up", Metadata=mark)
    version(project)
    project.configure(SOURCE + THUMB.replace("40", "24") + WIDE)
    moved = project.run("migrate")
    assert "`migrator retry --variant thumb` makes them anew" in moved.err
    assert "changed since" not in project.run("migrate").err, "once is enough"
    assert width(project.objects()["a/thumb.jpg"]) == 40, "nobody asked for it"
    assert "3 variants planned again" in project.run("retry", "--variant", "thumb").out
    made = project.run("migrate")
    assert (made.status, "made 2 variants" in made.out.lower()) == (1, True)
    for fault in ("conflict", "conflict"):  # asked for again, it is somebody else's still
        project.run("retry", "--fault", fault)
        assert project.run("migrate").status == 1
    after = project.objects()
    assert (width(after["a/thumb.jpg"]), after["b/thumb.jpg"], width(after["c/thumb.jpg"])) == (24, b"touched up", 24)
    assert {key for key in after if after[key] != before[key]} == {"a/thumb.jpg", "b/thumb.jpg", "c/thumb.jpg"}
    assert {key: count for key, count in versions(project).items() if count > 1} == {"a/thumb.jpg": 2, "c/thumb.jpg": 2}
    assert counted(seen(project, "status"))["thumb.jpeg"] == (2, {"conflict": 1})


def test_a_retry_of_variants_names_those_that_there_are(project: Project) -> None:
    fill(project)
    project.configure(SOURCE + THUMB)
    ended = project.run("retry", "--variant", "thumbs")
    assert (ended.status, "there is no variant called 'thumbs'" in ended.err) == (2, True)
    assert "the variants are: thumb" in ended.err
    assert "nothing of thumb is stored; nothing changed" in project.run("retry", "--variant", "thumb").out
    ended = project.run("retry", "--variant", "thumb", "--changed")
    assert (ended.status, "--changed and --variant exclude each other" in ended.err) == (2, True)
