"""init, test-connection, smoke, setup: what makes ready."""

import contextlib
import json
import os
import pty
import sqlite3
from pathlib import Path

import pytest

from migrator.cli.preparing import SOURCE_TYPES
from migrator.cli.samples import samples
from migrator.cli.template import KINDS
from migrator.core.loading import load
from tests.cli.conftest import Project


def test_init_writes_a_file_that_loads(project: Project) -> None:
    ended = project.run("init", "--type", "manifest")
    assert ended.status == 0
    assert ended.out.startswith("wrote migrator.toml\nnext: ")
    assert 'type = "manifest"' in Path("migrator.toml").read_text()
    ended = project.run("plan")
    assert (ended.status, "no file matches" in ended.err) == (3, True)


def test_init_writes_over_nothing_unless_told(project: Project) -> None:
    Path("migrator.toml").write_text("mine")
    ended = project.run("init", "--type", "directory")
    assert (ended.status, Path("migrator.toml").read_text()) == (2, "mine")
    assert "--yes" in ended.err
    assert project.run("init", "--type", "directory", "--yes").status == 0
    assert 'type = "directory"' in Path("migrator.toml").read_text()


def test_init_without_anybody_to_ask(project: Project) -> None:
    ended = project.run("init")
    assert (ended.status, "give --type" in ended.err) == (2, True)
    assert project.run("init", "--type", "cloud").status == 2
    assert not Path("migrator.toml").exists()


def test_init_asks_whoever_is_there(project: Project) -> None:
    ours, theirs = pty.openpty()
    asking = project.start("init", stdin=theirs)
    os.write(ours, b"manifest\n")
    out, err = asking.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert asking.returncode == 0
    assert "What is the source? (directory/manifest/bucket/table)" in err
    assert out.startswith("wrote migrator.toml")
    assert 'type = "manifest"' in Path("migrator.toml").read_text()


def test_init_where_nothing_can_be_written(project: Project) -> None:
    ended = project.run("init", "--type", "directory", "-c", "absent/migrator.toml")
    assert (ended.status, ended.err.startswith("error: absent/migrator.toml cannot be written")) == (1, True)


def test_init_offers_what_there_is() -> None:
    assert SOURCE_TYPES == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_init_writes_what_can_be_filled_in(project: Project, kind: str) -> None:
    assert project.run("init", "--type", kind).status == 0
    text = Path("migrator.toml").read_text()
    assert load(Path("migrator.toml"), {}, {}).sources[0].type == kind
    Path("migrator.toml").write_text(text.replace("#   ", ""))
    assert (load(Path("migrator.toml"), {}, {}).variants[0].name, "[sources.update]" in text) == (
        "thumbnail",
        kind == "table",
    )


def test_connection_names_the_columns_of_a_query(project: Project) -> None:
    with contextlib.closing(sqlite3.connect("shop.db")) as shop:
        shop.execute("CREATE TABLE images (id INTEGER PRIMARY KEY, photo TEXT)")
        shop.execute("INSERT INTO images VALUES (1, 'a.jpg')")
        shop.commit()
    project.files(a="1")
    table = '[[sources]]\nname = "shop"\ntype = "table"\ndatabase_url = "sqlite:///shop.db"\nprimary_key = ["id"]\n'
    table += f'location = "s3://{project.bucket}/{{photo}}"\nkey = "{{photo}}"\n'
    project.configure(table + 'query = "SELECT id, photo FROM images"')
    project.server.client().put_object(Bucket=project.bucket, Key="a.jpg", Body=b"a")
    ended = project.run("test-connection")
    assert ended.status == 0, ended
    assert "its columns are id, photo" in ended.out
    project.configure(table + 'query = "SELECT id, foto FROM images"')
    ended = project.run("test-connection")
    assert ended.status == 3
    assert "no such column: foto" in ended.out
    project.configure(table.replace('"sqlite:///shop.db"', '"sqlite:///show.db"') + 'query = "SELECT 1"')
    assert "unable to open database file" in project.run("test-connection").out


def test_connection_is_a_table_that_ends_with_0(project: Project) -> None:
    project.files(a="1")
    ended = project.run("test-connection")
    assert ended.status == 0
    assert f"{project.bucket}  reach" in ended.out
    assert "photos" in ended.out
    assert ", 0 failed" in ended.out.splitlines()[-1]
    assert project.objects() == {}


def test_connection_to_a_bucket_that_is_not_there_ends_with_3(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.files(a="1")
    monkeypatch.setenv("MIGRATOR_DESTINATION__BUCKET", "no-such-bucket-here")
    ended = project.run("test-connection")
    assert ended.status == 3
    assert "FAILED" in ended.out
    checks = json.loads(project.run("test-connection", "--json").out)["checks"]
    assert [check["ok"] for check in checks if check["subject"] == "no-such-bucket-here"] == [False]


def test_setup_says_what_it_does_and_is_safe_to_repeat(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.files(a="1")
    monkeypatch.setenv("MIGRATOR_DESTINATION__BUCKET", f"{project.bucket}-new")
    planned = project.run("setup", "--dry-run", "--versioning")
    assert planned.status == 0
    assert f"would bucket {project.bucket}-new" in planned.out
    assert planned.out.endswith("nothing was changed; `migrator setup` does it\n")
    names = [each["Name"] for each in project.server.client().list_buckets()["Buckets"]]
    assert f"{project.bucket}-new" not in names
    done = project.run("setup", "--versioning")
    assert f"done  bucket {project.bucket}-new" in done.out
    told = project.server.client().get_bucket_versioning(Bucket=f"{project.bucket}-new")
    assert told["Status"] == "Enabled"
    again = project.run("setup", "--versioning")
    assert again.out == "all is right as it is; nothing to change\n"
    assert json.loads(project.run("setup", "--json").out) == {"changes": []}


def test_smoke_moves_ten_images_and_leaves_nothing(project: Project) -> None:
    project.files(a="1")
    ended = project.run("smoke")
    assert ended.status == 0, ended
    assert "11 checks passed, 0 failed" in ended.out
    assert project.objects() == {}


def test_smoke_makes_the_variants_of_its_samples_and_leaves_none(project: Project) -> None:
    project.files(a="1")
    config = project.folder / "migrator.toml"
    small = (
        '[[variants]]\nname = "small"\nkey = "{nobody_knows}/{stem}.{format}"\nwidth = 64\nformats = ["webp", "jpeg"]\n'
    )
    config.write_text(
        config.read_text().replace('key = "{path}"', 'key = "{path}"\nmatch = "(?P<nobody_knows>.)"') + small
    )
    ended = project.run("smoke")
    assert ended.status == 0, ended
    assert ended.out.count("10 of 10 made") == 2
    assert "13 checks passed, 0 failed" in ended.out
    assert project.objects() == {}


def test_samples_are_of_the_kinds_that_they_say() -> None:
    from io import BytesIO

    from PIL import Image

    opened = {name: Image.open(BytesIO(data)) for name, data in samples().items()}
    shapes = {name: (image.format, image.mode) for name, image in opened.items()}
    assert shapes == {
        "orientation.jpg": ("JPEG", "RGB"),
        "transparent.png": ("PNG", "RGBA"),
        "palette.png": ("PNG", "P"),
        "photo.webp": ("WEBP", "RGB"),
        "photo.avif": ("AVIF", "RGB"),
        "animated.gif": ("GIF", "P"),
        "cmyk.jpg": ("JPEG", "CMYK"),
        "sixteen-bit.png": ("PNG", "I;16"),
        "progressive.jpg": ("JPEG", "RGB"),
        "tiny.png": ("PNG", "RGB"),
    }
    assert opened["orientation.jpg"].getexif()[0x0112] == 6
    assert getattr(opened["animated.gif"], "n_frames") == 3  # noqa: B009 - a property that Pillow's types do not know
    assert opened["progressive.jpg"].info["progressive"]
    assert opened["tiny.png"].size == (1, 1)
