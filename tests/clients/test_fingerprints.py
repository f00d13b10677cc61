"""What tells one version of a file from another, where inode numbers are the files' own and where they are not."""

import os
from pathlib import Path

import pytest

from migrator.clients import fingerprints
from migrator.clients.fingerprints import file_fingerprint, inode_of
from migrator.clients.mounts import Mount


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of one byte."""
    file = tmp_path / "a.jpg"
    file.write_bytes(b"1")
    return file


def mounted_as(kind: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file lies on a file system of this kind."""
    here = Mount(file.stat().st_dev, file.parent, kind)
    monkeypatch.setattr(fingerprints, "_drawn", {})
    monkeypatch.setattr(fingerprints, "mounts", lambda: [here])


def found_again(file: Path) -> os.stat_result:
    """The same bytes, size and time in another inode."""
    before, other = file.stat(), file.with_name("other")
    other.write_bytes(file.read_bytes())
    os.utime(other, ns=(before.st_mtime_ns, before.st_mtime_ns))
    other.replace(file)
    assert file.stat().st_ino != before.st_ino
    return file.stat()


@pytest.mark.parametrize("kind", ["fuse", "fuse.sshfs", "fuseblk", "vfat", "exfat", "cifs", "smb3"])
def test_an_inode_that_is_not_the_files_own_does_not_count(
    file: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted_as(kind, file, monkeypatch)
    before = file_fingerprint(file.stat())
    assert file_fingerprint(found_again(file)) == before
    file.write_bytes(b"12")
    assert file_fingerprint(file.stat()) != before


@pytest.mark.parametrize("kind", ["ext4", "xfs", "nfs4", "fusectl", "overlay", "zfs"])
def test_another_inode_is_another_file(file: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted_as(kind, file, monkeypatch)
    before = file_fingerprint(file.stat())
    assert file_fingerprint(found_again(file)) != before


def test_a_device_that_nothing_is_mounted_from_keeps_its_inodes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted_as("fuse.sshfs", file, monkeypatch)
    nowhere = Mount(0, Path("/"), "fuse.sshfs")
    monkeypatch.setattr(fingerprints, "mounts", lambda: [nowhere])
    assert [inode_of(file.stat()) for _ in range(2)] == [file.stat().st_ino] * 2
