"""rollback: where the sources are gone it would delete the last copies, and refuses."""

import shutil
from collections.abc import Callable

import pytest

from tests.cli.conftest import Project


@pytest.fixture
def moved(project: Project) -> Project:
    """A dozen objects that stand as they were stored."""
    project.files(**{f"photo-{n}": f"photo {n}" for n in range(12)})
    assert project.run("migrate").status == 0
    return project


def test_it_refuses_where_all_sources_are_gone(moved: Project) -> None:
    for path in (moved.folder / "photos").glob("photo-*"):
        path.unlink()
    (moved.folder / "photos" / "another.txt").touch()
    before = moved.objects()
    for command in (["rollback", "--dry-run"], ["rollback", "--yes"], ["rollback", "--source", "photos", "--yes"]):
        ended = moved.run(*command)
        assert ended.status == 3
        assert "would delete the last copies" in ended.err
        assert moved.objects() == before
    assert moved.run("rollback", "--yes", "--sources-gone").status == 0
    assert moved.objects() == {}


def test_a_disk_that_is_not_mounted_is_one_way_of_being_gone(moved: Project) -> None:
    shutil.rmtree(moved.folder / "photos")
    assert moved.run("rollback", "--yes").status == 3
    (moved.folder / "photos").mkdir()
    assert moved.run("rollback", "--yes").status == 3
    assert len(moved.objects()) == 12


def test_one_that_stands_is_enough(moved: Project) -> None:
    for path in sorted((moved.folder / "photos").glob("photo-*"))[1:]:
        path.unlink()
    assert moved.run("rollback", "--yes").status == 0
    assert moved.objects() == {}


def test_urls_that_are_gone_refuse_until_one_is_back(project: Project, site: Callable[[dict[str, bytes]], str]) -> None:
    pages = {f"/{n}.jpg": b"%d" % n for n in range(12)}
    base = site(pages)
    project.lots([f"{base}{path}" for path in pages])
    assert project.run("migrate").status == 0
    pages.clear()
    ended = project.run("rollback", "--yes")
    assert ended.status == 3
    assert f"such as {base}/" in ended.err
    pages["/3.jpg"] = b"3"
    assert project.run("rollback", "--yes").status == 0
    assert project.objects() == {}


def test_what_a_cleanup_took_comes_back_first(moved: Project) -> None:
    with (moved.folder / "migrator.toml").open("a") as file:
        file.write('\n[cleanup]\ngrace = "0s"\n')
    assert moved.run("verify").status == 0
    assert moved.run("cleanup", "--yes").status == 0
    assert moved.run("rollback", "--yes").status == 0
    assert moved.objects() == {}
    assert len(list((moved.folder / "photos").glob("photo-*"))) == 12
