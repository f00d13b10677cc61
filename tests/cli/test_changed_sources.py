"""retry --changed: what has changed at its source since it was stored takes the place of what was stored."""

from pathlib import Path

import pytest

from benchmarks.photographs import photograph_jpeg
from tests.cli.conftest import Project
from tests.cli.test_variants import PHOTOS, SOURCE, THUMB, fill, version, versions
from tests.ended import Ended
from tests.servers import databases
from tests.servers.s3 import S3Server


def renew(project: Project) -> Ended:
    """Looks, plans what has changed, and moves it."""
    seen = project.run("plan")
    assert seen.status == 1
    assert "has changed since; what was stored is what it was then (`migrator retry --changed`" in seen.out
    assert "planned again" in project.run("retry", "--changed").out
    return project.run("migrate")


@pytest.fixture
def moved(project: Project) -> Project:
    """Three objects that stand as they were stored, of which one is another file by now."""
    project.files(a="photo a", b="photo b", c="photo c")
    assert project.run("migrate").status == 0
    (project.folder / "photos" / "b.txt").write_text("another photo")
    return project


def test_it_takes_the_place_of_what_was_stored(moved: Project) -> None:
    ended = renew(moved)
    assert ended.status == 0, ended.out + ended.err
    assert moved.objects() == {"a.txt": b"photo a", "b.txt": b"another photo", "c.txt": b"photo c"}
    assert moved.run("verify", "--sources").status == 0
    assert "nothing that is stored was seen to have changed" in moved.run("retry", "--changed").out
    assert moved.run("rollback", "--yes").status == 0
    assert moved.objects() == {}


def test_on_rclone_too(project: Project, rclone_server: S3Server) -> None:
    project = Project(project.folder, rclone_server, rclone_server.new_bucket())
    project.files(a="photo a", b="photo b")
    assert project.run("migrate").status == 0
    (project.folder / "photos" / "b.txt").write_text("another photo")
    assert renew(project).status == 0
    assert project.objects() == {"a.txt": b"photo a", "b.txt": b"another photo"}


def test_under_versions_the_former_one_stays_beneath(project: Project) -> None:
    version(project)
    project.files(a="photo a", b="photo b")
    assert project.run("migrate").status == 0
    (project.folder / "photos" / "b.txt").write_text("another photo")
    assert renew(project).status == 0
    assert project.objects()["b.txt"] == b"another photo"
    assert versions(project) == {"a.txt": 1, "b.txt": 2}
    assert project.run("rollback", "--yes").status == 0
    assert project.objects() == {}


def test_large_ones_too(project: Project) -> None:
    project.files(a="photo a")
    large = project.folder / "photos" / "film.bin"
    large.write_bytes(b"1" * 20_000_000)
    assert project.run("migrate").status == 0
    large.write_bytes(b"2" * 21_000_000)
    assert renew(project).status == 0
    assert project.objects() == {"a.txt": b"photo a", "film.bin": b"2" * 21_000_000}


def test_what_somebody_wrote_over_ours_is_left_alone(moved: Project) -> None:
    client = moved.server.client()
    mark = client.head_object(Bucket=moved.bucket, Key="b.txt")["Metadata"]
    client.put_object(Bucket=moved.bucket, Key="b.txt", Body=b"an edition", Metadata=mark)
    ended = renew(moved)
    assert ended.status == 1
    assert "b.txt was written again since it was stored" in ended.out
    assert moved.objects()["b.txt"] == b"an edition"


def test_a_source_that_is_gone_by_then_leaves_what_was_stored(moved: Project) -> None:
    assert moved.run("plan").status == 1
    assert moved.run("retry", "--changed").status == 0
    (moved.folder / "photos" / "b.txt").unlink()
    ended = moved.run("migrate")
    assert ended.status == 1
    assert "gone 1" in ended.out
    assert moved.objects()["b.txt"] == b"photo b"
    assert moved.run("rollback", "--yes").status == 0
    assert moved.objects() == {}


def test_no_source_goes_before_it_was_verified_again(moved: Project) -> None:
    moved.configure(
        '[[sources]]\nname = "photos"\ntype = "directory"\nroot = "photos"\nkey = "{path}"\n\n[cleanup]\ngrace = "0s"'
    )
    assert moved.run("verify").status == 0
    assert renew(moved).status == 0
    moved.run("cleanup", "--yes")
    assert [path.name for path in (moved.folder / "photos").glob("*.txt")] == ["b.txt"]


def test_an_object_of_a_bucket_that_the_server_had_copied(project: Project) -> None:
    client = project.server.client()
    old = project.server.new_bucket()
    for key in ("a", "b"):
        client.put_object(Bucket=old, Key=key, Body=key.encode())
    project.configure(f'[[sources]]\ntype = "bucket"\nbucket = "{old}"\nkey = "{{path}}"')
    assert project.run("migrate").status == 0
    client.put_object(Bucket=old, Key="b", Body=b"another")
    ended = renew(project)
    assert ended.status == 0, ended.out
    assert project.objects() == {"a": b"a", "b": b"another"}


def test_its_variants_follow_but_for_those_that_somebody_touched_up(project: Project) -> None:
    fill(project)
    project.configure(SOURCE + THUMB)
    assert project.run("migrate").status == 0
    before = project.objects()
    for name in ("a", "b"):
        (project.folder / "photos" / f"{name}.jpg").write_bytes(photograph_jpeg(77, (200, 150)))
    client = project.server.client()
    mark = client.head_object(Bucket=project.bucket, Key="b/thumb.jpg")["Metadata"]
    client.put_object(Bucket=project.bucket, Key="b/thumb.jpg", Body=b"touched up", Metadata=mark)
    ended = renew(project)
    assert "conflict 1" in ended.out
    after = project.objects()
    assert after["a/original.jpg"] == after["b/original.jpg"] == photograph_jpeg(77, (200, 150))
    assert after["a/thumb.jpg"] not in (before["a/thumb.jpg"], before["b/thumb.jpg"])
    assert after["b/thumb.jpg"] == b"touched up"
    assert (after["c/original.jpg"], after["c/thumb.jpg"]) == (PHOTOS["c"], before["c/thumb.jpg"])


@pytest.mark.parametrize("value", ["{key}", "{sha256}"])
def test_rows_that_hold_what_only_the_former_bytes_have_refuse_it(project: Project, tmp_path: Path, value: str) -> None:
    (project.folder / "photos").mkdir()
    (project.folder / "photos" / "b.txt").write_text("photo b")
    with databases.sqlite(tmp_path) as database:
        database.run("CREATE TABLE images (id INTEGER PRIMARY KEY, photo TEXT, moved TEXT)")
        database.run("INSERT INTO images VALUES (1, 'b.txt', NULL)")
        project.configure(
            f'[[sources]]\nname = "rows"\ntype = "table"\ndatabase_url = "{database.url}"\n'
            'query = "SELECT id, photo FROM images"\nprimary_key = ["id"]\nlocation = "{photo}"\nroot = "photos"\n'
            f'key = "{{photo}}"\n[sources.update]\ntable = "images"\nset = {{ moved = "{value}" }}'
        )
        assert project.run("migrate").status == 0
        (project.folder / "photos" / "b.txt").write_text("another photo")
        assert project.run("verify", "--sources").status == 1
        project.run("retry", "--verified", "differ")
        assert project.run("migrate").status == 1  # other bytes than those that were stored
        ended = project.run("retry", "--changed")
        if value == "{sha256}":
            assert ended.status == 2
            assert "rows hold {sha256} of the objects that were stored" in ended.err
            assert project.objects() == {"b.txt": b"photo b"}
        else:
            assert ended.status == 0
            assert project.run("migrate").status == 0
            assert project.objects() == {"b.txt": b"another photo"}
            assert database.value("SELECT moved FROM images") == "b.txt"


@pytest.mark.parametrize("other", [["--rolled-back"], ["--fault", "gone"], ["--verified", "missing"]])
def test_it_goes_with_no_other_choice(moved: Project, other: list[str]) -> None:
    ended = moved.run("retry", "--changed", *other)
    assert (ended.status, "exclude each other" in ended.err) == (2, True)
