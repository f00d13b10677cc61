"""What a folder as destination promises beyond the contract: plain files, nothing outside, kills survived."""

import asyncio
import errno
import hashlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from migrator.core.errors import Conflict, Fatal, Gone, Invalid, ObjectError, PreflightError, Transient
from migrator.core.model import MIB, Side
from migrator.core.objects import PUT_ID, Digest, Guards, Placed, Standing, Taken, Upload
from migrator.stores import folder_tree
from migrator.stores.folder import FolderStore
from tests.servers.s3 import ServerMissing
from tests.servers.sshfs import mounted
from tests.small_disk import small_disk_at

ABSENT = Guards(absent=True, digest=Digest.SHA256)
FREE = Guards(absent=False, digest=Digest.SHA256)
BODY = b"The bytes of one object.\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The destination."""
    folder = tmp_path / "destination"
    folder.mkdir()
    return folder


@pytest.fixture
async def store(root: Path) -> AsyncIterator[FolderStore]:
    """A store on it."""
    store = FolderStore(root)
    yield store
    await store.close()


def upload_of(key: str, body: bytes = BODY, **metadata: str) -> Upload:
    """An Upload of `body`."""
    return Upload(key, len(body), hashlib.sha256(body).digest(), "image/jpeg", {PUT_ID: "ledger/1", **metadata})


async def stands(store: FolderStore, key: str) -> Standing:
    """What stands there; something must."""
    standing = await store.head(key)
    assert standing is not None
    return standing


async def all_keys(store: FolderStore, prefix: str = "") -> list[str]:
    """The whole listing."""
    return [key async for page in store.keys(prefix) for key in page]


def files_below(folder: Path) -> set[str]:
    """Everything that lies in a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


async def test_an_object_is_a_plain_file(store: FolderStore, root: Path) -> None:
    os.umask(mask := os.umask(0))
    await store.put(upload_of("photos/one.jpg", mtime="784111777.25"), BODY, ABSENT)
    path = root / "photos" / "one.jpg"
    status = path.stat()
    assert path.read_bytes() == BODY
    assert status.st_mtime_ns == 784111777_250000000
    assert status.st_mode & 0o777 == 0o666 & ~mask
    assert status.st_nlink == 1
    await store.close()
    assert files_below(root) == {"photos", "photos/one.jpg"}


async def test_bytes_are_on_the_disk_before_their_name_is(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """No power can be cut here, so the order of the system calls stands for it."""
    await store.put(upload_of("a/first.jpg"), BODY, ABSENT)
    calls: list[str] = []
    real_fsync, real_link = os.fsync, os.link

    def fsync(descriptor: int) -> None:
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_fsync(descriptor)

    def link(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int, follow_symlinks: bool) -> None:
        calls.append("name")
        real_link(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    await store.put(upload_of("a/b.jpg"), BODY, ABSENT)
    assert calls == ["file", "name", "folder"]


@pytest.mark.parametrize("mtime", ["yesterday", "", "1e400", "nan", "-1"])
async def test_times_that_are_none(store: FolderStore, root: Path, mtime: str) -> None:
    assert isinstance(await store.put(upload_of("a.jpg", mtime=mtime), BODY, ABSENT), Placed)


async def test_a_file_edited_in_place_is_no_longer_ours(store: FolderStore, root: Path) -> None:
    await store.put(upload_of("a.jpg"), BODY, ABSENT)
    with (root / "a.jpg").open("r+b") as file:
        file.write(b"Ten")
    os.utime(root / "a.jpg", (1, 1))
    standing = await stands(store, "a.jpg")
    assert (standing.put_id, standing.sha256, standing.size) == (None, None, len(BODY))


async def test_files_of_others_and_damaged_attributes(store: FolderStore, root: Path) -> None:
    (root / "b.avif").write_bytes(b"theirs")
    standing = await stands(store, "b.avif")
    assert (standing.put_id, standing.sha256, standing.content_type) == (None, None, "image/avif")
    assert isinstance(await store.put(upload_of("b.avif"), BODY, ABSENT), Taken)
    for raw in (b"", b"{", b"[]", b"null", b'{"size":6}'):
        try:
            os.setxattr(root / "b.avif", "user.migrator", raw)
        except OSError:
            pytest.skip("this file system keeps no attributes")
        assert (await stands(store, "b.avif")).put_id is None


def _unsupported(*_: object, **__: object) -> bytes:
    raise OSError(errno.EOPNOTSUPP, "Operation not supported")


async def test_a_file_system_without_attributes(
    store: FolderStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "setxattr", _unsupported)
    monkeypatch.setattr(os, "getxattr", _unsupported)
    assert isinstance(await store.put(upload_of("a.jpg"), BODY, ABSENT), Placed)
    standing = await stands(store, "a.jpg")
    assert (standing.put_id, standing.sha256, standing.content_type) == (None, None, "image/jpeg")
    await store.copy("a.jpg", "b.jpg", standing.etag)
    assert (root / "b.jpg").read_bytes() == BODY


async def test_a_file_system_without_hard_links(
    store: FolderStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", _unsupported)
    answers = await asyncio.gather(*(store.put(upload_of("a.jpg"), BODY, ABSENT) for _ in range(8)))
    assert sorted(type(answer).__name__ for answer in answers) == ["Placed"] + ["Taken"] * 7
    assert (await stands(store, "a.jpg")).put_id == "ledger/1"
    await store.close()
    assert files_below(root) == {"a.jpg"}


def _invalid(*_: object) -> None:
    raise OSError(errno.EINVAL, "Invalid argument")


async def test_a_mount_that_cannot_rename_with_care_either(
    store: FolderStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", _unsupported)
    monkeypatch.setattr(folder_tree, "_rename_in_one_step", _invalid)
    assert isinstance(await store.put(upload_of("a.jpg"), BODY, ABSENT), Placed)
    inode = (root / "a.jpg").stat().st_ino
    assert isinstance(await store.put(upload_of("a.jpg"), BODY, ABSENT), Taken)
    await store.close()
    assert files_below(root) == {"a.jpg"}
    assert (root / "a.jpg").stat().st_ino == inode, "never put over something"


async def test_a_folder_where_a_file_should_be_and_the_reverse(store: FolderStore, root: Path) -> None:
    (root / "a").mkdir()
    (root / "b").write_bytes(b"")
    for guards in (ABSENT, FREE):
        with pytest.raises(Conflict, match="a folder stands where"):
            await store.put(upload_of("a"), BODY, guards)
        with pytest.raises(Conflict, match="a file stands where"):
            await store.put(upload_of("b/c/d.jpg"), BODY, guards)
    assert await store.head("a") is None
    assert await store.head("b/c") is None
    await store.delete("a")
    await store.delete("b/c")
    assert files_below(root) >= {"a", "b"}


@pytest.mark.faults
async def test_no_link_is_followed(store: FolderStore, root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "theirs.jpg").write_bytes(b"theirs")
    (root / "way").symlink_to(outside)
    (root / "file.jpg").symlink_to(outside / "theirs.jpg")
    (root / "dangling.jpg").symlink_to(outside / "new.jpg")
    for guards in (ABSENT, FREE):
        with pytest.raises(Conflict, match="symbolic link"):
            await store.put(upload_of("way/new.jpg"), BODY, guards)
    for key in ("file.jpg", "dangling.jpg"):
        assert isinstance(await store.put(upload_of(key), BODY, ABSENT), Taken)
        with pytest.raises(Conflict, match="symbolic link"):
            await store.head(key)
    with pytest.raises(Conflict, match="symbolic link"):
        await store.delete("way/theirs.jpg")
    assert files_below(outside) == {"theirs.jpg"}
    assert (outside / "theirs.jpg").read_bytes() == b"theirs"
    assert await all_keys(store) == []


async def test_something_else_under_a_key(store: FolderStore, root: Path) -> None:
    os.mkfifo(root / "pipe.jpg")
    assert isinstance(await store.put(upload_of("pipe.jpg"), BODY, ABSENT), Taken)
    with pytest.raises(Conflict, match="no regular file"):
        await store.head("pipe.jpg")
    assert await all_keys(store) == []


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("a//b", "//"),
        ("a/", "at its end"),
        ("a/" + "é" * 128, "255"),
        ("_migrator/x", "kept for the tool"),
        ("a/../b", "segment"),
        ("", "empty"),
    ],
)
def test_keys_that_no_file_can_have(root: Path, key: str, words: str) -> None:
    assert words in (FolderStore(root).refuses(key) or "")


def test_a_path_that_is_too_long() -> None:
    deep = Path("/" + "/".join(["d" * 200] * 20))
    assert "4095" in (FolderStore(deep).refuses("k/" * 100 + "k") or "")


async def test_keys_come_in_the_order_of_s3(store: FolderStore, root: Path) -> None:
    keys = ["a-b", "a.c", "a/b", "a/c/d", "a0", "B", "é", "ａ", "\U0001f4f7"]
    for key in keys:
        await store.put(upload_of(key), BODY, ABSENT)
    await store.begin(upload_of("z"))
    (root / os.fsdecode(b"latin-\xe9")).touch()
    assert await all_keys(store) == sorted(keys, key=str.encode)
    assert await all_keys(store, "a") == ["a-b", "a.c", "a/b", "a/c/d", "a0"]
    assert await all_keys(store, "a/") == ["a/b", "a/c/d"]
    assert await all_keys(store, "a/c") == ["a/c/d"]
    assert await all_keys(store, "absent/x") == []
    assert await all_keys(store, "a-b/x") == []


async def test_our_own_objects_are_listed_but_not_our_work(store: FolderStore, root: Path) -> None:
    await store.put(upload_of("_migrator/backup/1/a.jpg"), BODY, ABSENT)
    upload_id = await store.begin(upload_of("b.jpg"))
    await store.put_part("b.jpg", upload_id, 1, BODY, hashlib.sha256(BODY).digest(), Digest.SHA256)
    assert await all_keys(store) == ["_migrator/backup/1/a.jpg"]


async def test_delete_leaves_no_empty_folders(store: FolderStore, root: Path) -> None:
    for key in ("a/b/c/one.jpg", "a/two.jpg"):
        await store.put(upload_of(key), BODY, ABSENT)
    await store.delete("a/b/c/one.jpg")
    assert files_below(root / "a") == {"two.jpg"}
    await asyncio.gather(
        *(store.put(upload_of(f"deep/er/{i}"), BODY, ABSENT) for i in range(20)),
        *(store.delete(f"deep/er/{i}") for i in range(20)),
    )


async def test_missing_and_unusable_destinations(tmp_path: Path) -> None:
    absent = FolderStore(tmp_path / "absent")
    with pytest.raises(PreflightError, match="cannot be used"):
        await absent.check_bucket()
    with pytest.raises(Fatal) as caught:
        await absent.put(upload_of("a.jpg"), BODY, ABSENT)
    assert caught.value.side is Side.DESTINATION
    await absent.close()
    assert not (tmp_path / "absent").exists()


async def test_looking_writes_nothing(store: FolderStore, root: Path) -> None:
    await store.check_bucket()
    await store.head("a.jpg")
    await all_keys(store)
    await store.open_uploads("a.jpg")
    assert files_below(root) == set()


@pytest.fixture
def small_disk(root: Path) -> Iterator[Path]:
    """A file system of 1 MiB mounted on the destination."""
    with small_disk_at(root, 1) as place:
        yield place


@pytest.mark.faults
async def test_a_mount_whose_program_has_ended_stops_everything(root: Path) -> None:
    share = root.parent / "share"
    try:
        with mounted(root, share) as kill:
            store = FolderStore(share)
            assert isinstance(await store.put(upload_of("a/one.jpg"), BODY, ABSENT), Placed)
            kill()
            with pytest.raises(Fatal, match="mount is gone") as caught:
                for _ in range(3):
                    with suppress(Transient):  # what is on the way as it ends is broken off
                        await store.put(upload_of("a/two.jpg"), BODY, ABSENT)
            assert "mount it again" in caught.value.hint
            await store.close()
    except ServerMissing as missing:
        pytest.skip(str(missing))
    assert (root / "a/one.jpg").read_bytes() == BODY
    assert not (root / "a/two.jpg").exists()


async def test_a_full_disk_stops_everything_and_leaves_nothing(small_disk: Path) -> None:
    store = FolderStore(small_disk)
    big = b"x" * (2 * MIB)
    with pytest.raises(Fatal, match="full") as caught:
        await store.put(upload_of("a/big.jpg", big), big, ABSENT)
    assert not caught.value.ambiguous
    assert await store.head("a/big.jpg") is None
    upload_id = await store.begin(upload_of("c.jpg"))
    with pytest.raises(Fatal, match="full"):
        await store.put_part("c.jpg", upload_id, 1, big, hashlib.sha256(big).digest(), Digest.SHA256)
    await store.abort("c.jpg", upload_id)
    assert isinstance(await store.put(upload_of("b.jpg"), BODY, ABSENT), Placed)
    await store.close()
    assert files_below(small_disk) == {"b.jpg"}


def _make_read_only(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)


@pytest.mark.faults
async def test_a_read_only_disk_stops_everything(small_disk: Path) -> None:
    (small_disk / "a.jpg").write_bytes(BODY)
    await asyncio.to_thread(_make_read_only, small_disk)
    store = FolderStore(small_disk)
    with pytest.raises(Fatal, match="read-only"):
        await store.put(upload_of("b.jpg"), BODY, ABSENT)
    assert (await stands(store, "a.jpg")).size == len(BODY)
    await store.close()


@pytest.mark.faults
async def test_another_disk_below_the_destination(small_disk: Path) -> None:
    store = FolderStore(small_disk.parent)
    with pytest.raises(Invalid, match="another file system"):
        await store.put(upload_of("destination/a.jpg"), BODY, ABSENT)
    await store.close()


KILLED = """
import asyncio, hashlib, os, signal, sys
from pathlib import Path
from migrator.core.objects import Digest, Guards, Upload
from migrator.stores.folder import FolderStore

async def main(root):
    store = FolderStore(Path(root))
    body = b"part"
    upload = Upload("big.jpg", None, None, "image/jpeg", {})
    upload_id = await store.begin(upload)
    await store.put_part("big.jpg", upload_id, 1, body, hashlib.sha256(body).digest(), Digest.SHA256)
    print(upload_id, flush=True)
    # Dies between the bytes and their name: the worst moment for a put.
    os.link = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    small = Upload("small.jpg", 4, hashlib.sha256(body).digest(), "image/jpeg", {})
    await store.put(small, body, Guards(absent=True, digest=Digest.SHA256))

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.faults
async def test_what_a_kill_leaves(root: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(root)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    upload_id = done.stdout.strip()
    assert len(files_below(root / "_migrator" / "tmp")) == 2
    store = FolderStore(root)
    assert await store.head("small.jpg") is None
    assert await all_keys(store) == []
    assert [found for found, _ in await store.open_uploads("big.jpg")] == [upload_id]
    (part,) = await store.parts("big.jpg", upload_id)
    assert (part.number, part.size, part.sha256) == (1, 4, hashlib.sha256(b"part").digest())
    whole = replace(upload_of("big.jpg", b"part"), size=4)
    assert isinstance(await store.complete(whole, upload_id, [part], ABSENT), Placed)
    assert (await stands(store, "big.jpg")).sha256 == whole.sha256
    await store.close()
    assert files_below(root) == {"big.jpg"}


async def test_two_stores_leave_each_other_alone(store: FolderStore, root: Path) -> None:
    other = FolderStore(root)
    for i in range(5):
        await store.put(upload_of(f"a{i}"), BODY, ABSENT)
        await other.put(upload_of(f"b{i}"), BODY, ABSENT)
    await other.close()
    assert isinstance(await store.put(upload_of("last"), BODY, ABSENT), Placed)
    await store.close()
    assert files_below(root) == {*(f"{letter}{i}" for letter in "ab" for i in range(5)), "last"}


@pytest.mark.parametrize("upload_id", ["", "..", "../..", "x", "0" * 32 + "-1-" + "0" * 16])
async def test_upload_ids_that_are_none_of_ours(store: FolderStore, root: Path, upload_id: str) -> None:
    (root / "keep").mkdir()
    with pytest.raises(Gone):
        await store.parts("a.jpg", upload_id)
    with pytest.raises(Gone):
        await store.put_part("a.jpg", upload_id, 1, BODY, hashlib.sha256(BODY).digest(), Digest.SHA256)
    await store.abort("a.jpg", upload_id)
    assert "keep" in files_below(root)


async def test_parts_that_are_not_what_was_sent(store: FolderStore) -> None:
    upload = upload_of("a.jpg", b"onetwo")
    upload_id = await store.begin(upload)
    parts = [
        await store.put_part("a.jpg", upload_id, number, body, hashlib.sha256(body).digest(), Digest.SHA256)
        for number, body in ((1, b"one"), (2, b"two"), (2, b"TWO"))
    ]
    with pytest.raises(Invalid, match="part 2"):
        await store.complete(upload, upload_id, parts[:2], ABSENT)
    with pytest.raises(ObjectError, match="3 bytes"):
        await store.complete(upload, upload_id, parts[:1], ABSENT)
    assert await store.head("a.jpg") is None
    assert isinstance(await store.complete(upload, upload_id, [parts[0], parts[2]], ABSENT), Placed)


async def test_joining_on_a_kernel_that_copies_nothing(
    store: FolderStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "copy_file_range", _unsupported)
    body = os.urandom(3 * MIB + 1)
    await store.put(upload_of("a.jpg", body), body, ABSENT)
    await store.copy("a.jpg", "b.jpg", (await stands(store, "a.jpg")).etag)
    assert (root / "b.jpg").read_bytes() == body


async def test_requests_are_counted(store: FolderStore) -> None:
    await store.put(upload_of("a.jpg"), BODY, ABSENT)
    await store.head("a.jpg")
    assert [piece async for piece in store.read("a.jpg")] == [BODY]
    assert await all_keys(store) == ["a.jpg"]
    assert not await store.versioned()
    assert store.requests == {"PUT": 1, "HEAD": 1, "GET": 1, "LIST": 1}
