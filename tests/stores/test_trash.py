"""Files that are taken away: what is moved is what was looked at, nothing is ever replaced, nothing else is deleted."""

import errno
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from migrator.clients.fingerprints import file_fingerprint
from migrator.core.cleaning import Candidate, Claim, Gone, Removal, Way, Where
from migrator.core.errors import Changed, Conflict, Forbidden
from migrator.core.files import file_location
from migrator.core.model import State, Task
from migrator.core.places import TrashRoot
from migrator.stores import folder_tree, trash
from migrator.stores.folder_tree import rename_new
from migrator.stores.trash import LocalRemover


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A source with one file in a folder."""
    folder = tmp_path / "photos"
    (folder / "a").mkdir(parents=True)
    (folder / "a/one.jpg").write_bytes(b"one")
    return folder


def remover(root: Path) -> LocalRemover:
    return LocalRemover({"photos": TrashRoot(str(root), str(root / ".trash"))}, None)


def removal(root: Path, name: str = "a/one.jpg") -> Removal:
    status = (root / name).stat()
    place = file_location(str(root / ".trash" / name))
    location = file_location(str(root / name))
    return Removal(location, "photos", (1,), Way.TRASH, status.st_size, file_fingerprint(status), place)


def candidate(root: Path, name: str) -> Candidate:
    location = file_location(str(root / name))
    return Candidate(
        location, (Claim(Task(1, "", "photos", location, name, 3, None), State.STORED, "", None, (), 0, 0),)
    )


async def test_there_and_back(root: Path) -> None:
    files, one = remover(root), removal(root)
    before = (root / "a/one.jpg").stat()
    assert (await files.find(one)).where is Where.SOURCE
    gone = await files.remove(one)
    assert (gone.state, (root / ".trash/a/one.jpg").read_bytes()) == (Gone.TRASHED, b"one")
    assert (await files.find(gone)).where is Where.TRASH
    await files.restore(gone)
    assert (await files.find(gone)).where is Where.SOURCE
    after = (root / "a/one.jpg").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not (root / ".trash").exists()


async def test_a_file_that_changed_since_it_was_looked_at_stays(root: Path) -> None:
    one = removal(root)
    (root / "a/one.jpg").write_bytes(b"two")
    with pytest.raises(Changed):
        await remover(root).remove(one)
    assert (root / "a/one.jpg").read_bytes() == b"two"


async def test_a_file_that_is_replaced_while_it_is_moved_goes_back(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = removal(root)

    def replaced(source: int, name: str, target: int, new: str) -> None:
        if not (root / ".trash/a/one.jpg").exists():
            (root / "new").write_bytes(b"new")
            (root / "new").replace(root / "a/one.jpg")
        rename_new(source, name, target, new)

    monkeypatch.setattr(trash, "rename_new", replaced)
    with pytest.raises(Changed, match="stands where it stood"):
        await remover(root).remove(one)
    assert (root / "a/one.jpg").read_bytes() == b"new"
    assert not (root / ".trash/a/one.jpg").exists()


@pytest.mark.parametrize("in_one_step", [True, False])
async def test_nothing_is_ever_replaced(root: Path, in_one_step: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(source: int, name: str, target: int, new: str) -> None:
        raise OSError(errno.EINVAL, "not on this filesystem")

    if not in_one_step:
        monkeypatch.setattr(folder_tree, "_rename_in_one_step", unable)
    files, one = remover(root), removal(root)
    (root / ".trash/a").mkdir(parents=True)
    (root / ".trash/a/one.jpg").write_bytes(b"theirs")
    with pytest.raises(Conflict):
        await files.remove(one)
    assert (root / ".trash/a/one.jpg").read_bytes() == b"theirs"
    (root / ".trash/a/one.jpg").unlink()
    gone = await files.remove(one)
    (root / "a/one.jpg").write_bytes(b"new")
    assert (await files.find(gone)).where is Where.COVERED
    with pytest.raises(Conflict):
        await files.restore(gone)
    assert ((root / "a/one.jpg").read_bytes(), (root / ".trash/a/one.jpg").read_bytes()) == (b"new", b"one")


async def test_only_what_was_put_there_is_purged(root: Path) -> None:
    files = remover(root)
    gone = await files.remove(removal(root))
    (root / ".trash/a/other.jpg").write_bytes(b"theirs")
    (root / ".trash/a/one.jpg").write_bytes(b"changed in the trash")
    assert (await files.find(gone)).where is Where.OTHER
    with pytest.raises(Changed):
        await files.purge(gone)
    (root / ".trash/a/one.jpg").unlink()
    assert (await files.find(gone)).where is Where.LOST
    assert [path.name for path in (root / ".trash/a").iterdir()] == ["other.jpg"]


async def test_a_purged_file_leaves_no_empty_folder_in_the_trash(root: Path) -> None:
    files = remover(root)
    gone = await files.remove(removal(root))
    await files.purge(gone)
    assert [path.name for path in root.iterdir()] == ["a"], "and its own folder stays"


async def test_links_and_what_lies_outside_are_named(root: Path) -> None:
    files = remover(root)
    (root / "link.jpg").symlink_to("a/one.jpg")
    (root / "folder").symlink_to("a")
    for name in ("link.jpg", "folder/one.jpg"):
        seen = await files.look(candidate(root, name))
        assert seen
        assert seen.link
    assert await files.look(candidate(root, "a/none.jpg")) is None
    outside = replace(candidate(root, "x"), location=file_location(str(root.parent / "outside.jpg")))
    with pytest.raises(Forbidden):
        await files.look(outside)


async def test_a_folder_that_somebody_beside_us_removes_once_it_is_empty(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = remover(root)
    gone = await files.remove(removal(root))
    unlink = os.unlink

    def unlinked(path: str, *, dir_fd: int | None = None) -> None:
        unlink(path, dir_fd=dir_fd)
        (root / ".trash/a").rmdir()

    monkeypatch.setattr(os, "unlink", unlinked)
    await files.purge(gone)
    assert not (root / ".trash/a").exists()
