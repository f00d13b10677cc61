"""retry --verified: what verify found missing or damaged is stored again, and nothing is lost by it."""

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.cli.conftest import Project
from tests.cli.test_variants import SOURCE, THUMB, fill
from tests.ended import Ended
from tests.servers.s3 import S3Server

TABLE = """
[[sources]]
name = "rows"
type = "table"
database_url = "sqlite:///shop.sqlite"
query = "SELECT id, photo FROM images"
primary_key = ["id"]
location = "{photo}"
root = "photos"
key = "{photo}"

[sources.update]
table = "images"
set = { moved = "{key} {sha256}" }
"""


@pytest.fixture
def moved(project: Project) -> Project:
    """Three objects that stand as they were stored."""
    project.files(a="photo a", b="photo b", c="photo c")
    assert project.run("migrate").status == 0
    return project


def again(project: Project, *results: str) -> Ended:
    """Looks, plans what is wrong again, and moves it."""
    assert project.run("verify").status == 1
    asked = [word for result in results for word in ("--verified", result)]
    assert "planned again" in project.run("retry", *asked).out
    return project.run("migrate")


def mark(project: Project, key: str) -> dict[str, str]:
    """The mark of our put, as somebody carries it along who edits the object."""
    metadata: dict[str, str] = project.server.client().head_object(Bucket=project.bucket, Key=key)["Metadata"]
    return metadata


def put(project: Project, key: str, body: bytes, **more: Any) -> None:
    project.server.client().put_object(Bucket=project.bucket, Key=key, Body=body, **more)


def remove(project: Project, key: str) -> None:
    project.server.client().delete_object(Bucket=project.bucket, Key=key)


def version(project: Project) -> None:
    project.server.client().put_bucket_versioning(Bucket=project.bucket, VersioningConfiguration={"Status": "Enabled"})


def on_conflict(project: Project, policy: str) -> None:
    config = project.folder / "migrator.toml"
    config.write_text(config.read_text().replace("[destination]", f'[destination]\non_conflict = "{policy}"'))


def test_what_is_missing_is_stored_again_and_its_row_stays(project: Project) -> None:
    project.files(a="photo a", b="photo b")
    project.configure(TABLE)
    with closing(sqlite3.connect("shop.sqlite")) as shop:
        shop.execute("CREATE TABLE images (id INTEGER PRIMARY KEY, photo TEXT, moved TEXT)")
        shop.execute("INSERT INTO images (photo) VALUES ('a.txt'), ('b.txt')")
        shop.commit()
    assert project.run("migrate").status == 0
    with closing(sqlite3.connect("shop.sqlite")) as shop:
        rows = shop.execute("SELECT * FROM images").fetchall()
    remove(project, "a.txt")
    assert "`migrator retry --verified missing`, then `migrator migrate`" in project.run("verify").out
    ended = again(project, "missing")
    assert (ended.status, "Moved 1 object" in ended.out) == (0, True)
    assert project.objects() == {"a.txt": b"photo a", "b.txt": b"photo b"}
    assert project.run("verify").status == 0
    with closing(sqlite3.connect("shop.sqlite")) as shop:
        assert shop.execute("SELECT * FROM images").fetchall() == rows
    assert project.run("retry", "--verified", "missing").out.startswith("nothing that the last verify found missing")


def test_what_stood_there_already_is_looked_at_again_after_a_rollback(project: Project) -> None:
    """Nothing of it was undone but the row, and somebody may have removed it before the row points there again."""
    project.files(a="photo a", b="photo b")
    project.configure(TABLE)
    put(project, "a.txt", b"photo a")
    with closing(sqlite3.connect("shop.sqlite")) as shop:
        shop.execute("CREATE TABLE images (id INTEGER PRIMARY KEY, photo TEXT, moved TEXT)")
        shop.execute("INSERT INTO images (photo) VALUES ('a.txt'), ('b.txt')")
        shop.commit()
    assert project.run("migrate").status == 0
    assert project.run("rollback", "--yes").status == 0
    assert project.objects() == {"a.txt": b"photo a"}
    remove(project, "a.txt")
    assert "2 items and 2 rows planned again" in project.run("retry", "--rolled-back").out
    assert project.run("migrate").status == 0
    assert project.objects() == {"a.txt": b"photo a", "b.txt": b"photo b"}
    assert project.run("rollback", "--yes").status == 0
    assert project.objects() == {}


def test_on_rclone_too(project: Project, rclone_server: S3Server) -> None:
    other = Project(project.folder, rclone_server, rclone_server.new_bucket())
    other.files(a="photo a", b="photo b")
    assert other.run("migrate").status == 0
    remove(other, "b.txt")
    assert again(other, "missing", "differ").status == 0
    assert other.objects() == {"a.txt": b"photo a", "b.txt": b"photo b"}


def test_what_somebody_else_wrote_is_not_replaced(moved: Project) -> None:
    put(moved, "a.txt", b"an edition", Metadata=mark(moved, "a.txt"))
    put(moved, "b.txt", b"another photo")
    ended = again(moved, "differ")
    assert ended.status == 1
    assert "was written again since it was stored" in moved.run("report", "--format", "csv").out, "with our mark"
    assert "other bytes already stand under b.txt" in moved.run("report", "--format", "csv").out
    assert moved.objects()["a.txt"] == b"an edition"
    assert moved.objects()["b.txt"] == b"another photo"


def test_with_overwrite_it_is_backed_up_and_rollback_brings_it_back(moved: Project) -> None:
    put(moved, "a.txt", b"an edition", Metadata=mark(moved, "a.txt"))
    put(moved, "b.txt", b"another photo")
    on_conflict(moved, "overwrite")
    assert again(moved, "differ").status == 0
    assert moved.run("verify").status == 0
    kept = {key.rpartition("/")[2]: body for key, body in moved.objects().items() if key.startswith("_migrator/")}
    assert kept == {"a.txt": b"an edition", "b.txt": b"another photo"}
    assert moved.run("rollback", "--yes").status == 0
    assert moved.objects() == {"a.txt": b"an edition", "b.txt": b"another photo"}


def test_a_conflict_does_not_hide_the_object_from_a_rollback(moved: Project) -> None:
    put(moved, "a.txt", b"another photo")
    assert again(moved, "differ").status == 1
    ended = moved.run("rollback", "--yes")
    assert (ended.status, "a.txt: left alone (somebody put something else there since)" in ended.out) == (1, True)
    assert moved.objects() == {"a.txt": b"another photo"}


def test_under_versions_what_differs_is_replaced_and_stays_beneath(project: Project) -> None:
    version(project)
    project.files(a="photo a", b="photo b")
    assert project.run("migrate").status == 0
    put(project, "a.txt", b"an edition", Metadata=mark(project, "a.txt"))
    put(project, "b.txt", b"photo b", Metadata=mark(project, "b.txt"), ContentType="text/html")
    assert again(project, "differ").status == 0
    assert project.run("verify").status == 0, "the content type too"
    client = project.server.client()
    found = client.list_object_versions(Bucket=project.bucket, Prefix="a.txt")["Versions"]
    bodies = [
        client.get_object(Bucket=project.bucket, Key="a.txt", VersionId=each["VersionId"])["Body"].read()
        for each in found
    ]
    assert sorted(bodies) == [b"an edition", b"photo a", b"photo a"]


def test_what_was_overwritten_in_the_first_place_still_comes_back(project: Project) -> None:
    put(project, "a.txt", b"before")
    project.files(a="photo a")
    on_conflict(project, "overwrite")
    assert project.run("migrate").status == 0
    remove(project, "a.txt")
    assert again(project, "missing").status == 0
    assert project.objects()["a.txt"] == b"photo a"
    assert project.run("rollback", "--yes").status == 0
    assert project.objects() == {"a.txt": b"before"}


def test_under_versions_a_rollback_tells_what_a_deletion_hides(project: Project) -> None:
    version(project)
    put(project, "a.txt", b"before")
    project.files(a="photo a")
    on_conflict(project, "overwrite")
    assert project.run("migrate").status == 0
    remove(project, "a.txt")
    assert again(project, "missing").status == 0
    ended = project.run("rollback", "--yes")
    assert ended.status == 1, "the marker of that deletion lies between ours and what it had covered"
    assert "that it covered is no longer there" in ended.out


def test_a_rollback_between_retry_and_migrate_leaves_what_others_wrote(moved: Project) -> None:
    put(moved, "a.txt", b"an edition", Metadata=mark(moved, "a.txt"))
    moved.run("verify")
    moved.run("retry", "--verified", "differ")
    assert moved.run("rollback", "--yes").status == 1
    assert moved.objects() == {"a.txt": b"an edition"}


def test_a_source_with_other_bytes_is_not_stored_in_its_place(moved: Project) -> None:
    (moved.folder / "photos" / "a.txt").write_text("a later photo")
    (moved.folder / "photos" / "b.txt").write_text("a later photo")
    remove(moved, "a.txt")
    moved.run("verify", "--sources")
    moved.run("retry", "--verified", "missing", "--verified", "differ")
    assert moved.run("migrate").status == 1
    assert "has other bytes than those which were stored under a.txt" in moved.run("report", "--format", "csv").out
    assert moved.objects() == {"b.txt": b"photo b", "c.txt": b"photo c"}


def test_variants_that_are_missing_are_made_again(project: Project) -> None:
    fill(project)
    project.configure(SOURCE + THUMB)
    assert project.run("migrate").status == 0
    before = project.objects()
    remove(project, "a/thumb.jpg")
    remove(project, "b/thumb.jpg")
    remove(project, "b/original.jpg")
    assert again(project, "missing").status == 0
    assert project.objects() == before
    assert project.run("verify").status == 0


@pytest.mark.parametrize("other", [["--rolled-back"], ["--fault", "gone"]])
def test_it_goes_with_no_other_choice(moved: Project, other: list[str]) -> None:
    ended = moved.run("retry", "--verified", "missing", *other)
    assert (ended.status, "exclude each other" in ended.err) == (2, True)


def test_headers_that_the_configuration_asks_for_since_come_to_what_is_stored(project: Project) -> None:
    def caching(seconds: int) -> None:
        project.files(a="photo a", b="photo b", c="photo c")
        config = project.folder / "migrator.toml"
        wanted = f'[destination]\ncache_control = "max-age={seconds}"'
        config.write_text(config.read_text().replace("[destination]", wanted))

    caching(60)
    assert project.run("migrate", "--limit", "2").status == 5
    caching(3600)
    moved = project.run("migrate")
    assert "cache_control changed since 2 objects were stored" in moved.err
    assert moved.status == 0
    edited = "a.txt"
    put(project, edited, b"photo a", CacheControl="max-age=7", ContentType="text/plain", Metadata=mark(project, edited))
    with closing(sqlite3.connect("checkpoints/trial.db")) as ledger:
        # The edition came a while later than it does here.
        ledger.execute("UPDATE items SET settled_at = settled_at - 60 WHERE key = ?", (edited,))
        ledger.commit()
    moved = again(project, "differ")
    assert moved.status == 1
    assert "changed since" not in moved.err
    assert "a.txt may have been written again since it was stored (its cache-control is max-age=7" in moved.out
    client = project.server.client()
    said = {k: client.head_object(Bucket=project.bucket, Key=k)["CacheControl"] for k in project.objects()}
    assert said == {edited: "max-age=7", "b.txt": "max-age=3600", "c.txt": "max-age=3600"}
