"""A walk whose root goes away under it: a disk that is unmounted leaves an empty folder, or another one, behind."""

import shutil
from pathlib import Path

import pytest

from migrator.core.errors import Fatal
from migrator.core.model import Fault, Problem
from migrator.sources.walk import Folder, Walk


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three folders with a file each."""
    root = tmp_path / "root"
    for name in ("a", "b", "c"):
        (root / name).mkdir(parents=True)
        (root / name / "photo.jpg").write_bytes(b"1")
    return root


def walk(root: Path) -> Walk:
    """All of it."""
    return Walk(str(root), lambda _: True, follow=False)


def test_one_folder_that_is_gone_is_one_problem(root: Path) -> None:
    found = walk(root).folders(None)
    next(found)
    shutil.rmtree(root / "b")
    rest = list(found)
    assert [one.relative for one in rest if isinstance(one, Folder) and one.files] == ["a", "c"]
    assert [one.fault for one in rest if isinstance(one, Problem)] == [Fault.GONE]


@pytest.mark.parametrize("left", ["nothing", "an empty folder", "another folder"])
def test_a_root_that_is_gone_ends_the_walk(root: Path, left: str) -> None:
    found = walk(root).folders(None)
    next(found)
    root.rename(root.with_name("unmounted"))
    if left != "nothing":
        root.mkdir()
    if left == "another folder":
        (root / "something").touch()
    with pytest.raises(Fatal, match="the source's root"):
        list(found)


def test_a_root_that_is_emptied_ends_the_walk(root: Path) -> None:
    found = walk(root).folders(None)
    next(found)
    for name in ("a", "b", "c"):
        shutil.rmtree(root / name)
    with pytest.raises(Fatal, match="is empty"):
        list(found)
