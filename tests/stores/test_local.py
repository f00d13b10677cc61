"""Reading local files: byte for byte, below the root only, never hanging, and never two versions mixed."""

import asyncio
import errno
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from migrator.clients.fingerprints import file_fingerprint
from migrator.core.config import Config
from migrator.core.errors import Changed, Fatal, Forbidden, Gone, Invalid, ObjectError, Transient
from migrator.core.files import file_location
from migrator.core.model import MIB, Side, Task
from migrator.core.ports import Reader
from migrator.stores import beneath
from migrator.stores.local import LocalReader
from migrator.stores.source_root import LocalRoot
from migrator.wiring.adapters import make_reader

pytestmark = pytest.mark.faults


@pytest.fixture(params=["openat2", "walk"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to stay below a folder: the system call, and the one for systems without it."""
    name: str = request.param
    if name == "walk":
        monkeypatch.setattr(beneath, "HAS_OPENAT2", False)
        monkeypatch.setattr(beneath, "HAS_CACHED", False)
    elif not beneath.HAS_OPENAT2:
        pytest.skip("this kernel has no openat2")
    return name


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of the source; what lies beside it is out of bounds."""
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    folder = tmp_path / "root"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "a.jpg").write_bytes(b"picture")
    return folder


@pytest.fixture
async def reader(root: Path) -> AsyncIterator[LocalReader]:
    """Follows no link in "plain" and inner ones in "linked"; the source "rootless" has no root."""
    reader = LocalReader({"plain": LocalRoot(str(root)), "linked": LocalRoot(str(root), follow_symlinks=True)})
    yield reader
    await reader.close()
    await reader.close()


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Whatever happens to a file, its descriptor is given back."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        yield
        return
    yield
    left = [name for name in os.listdir(folder) if "/root/" in _target(folder / name)]
    assert left == []


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def task_of(path: Path | str, source: str = "plain", fingerprint: str | None = None) -> Task:
    """A task that reads `path`."""
    return Task(1, "ledger/1", source, file_location(str(path)), "key", None, fingerprint)


async def read(reader: Reader, path: Path | str, source: str = "plain") -> bytes:
    """The whole file."""
    async with reader.open(task_of(path, source)) as body:
        assert body.size is not None
        data = await body.read(body.size)
        await body.check()
        return data


async def refusal(reader: LocalReader, path: Path | str, source: str = "plain") -> ObjectError:
    """The error with which `path` is refused, in time."""
    with pytest.raises(ObjectError) as caught:
        await asyncio.wait_for(read(reader, path, source), 30)
    assert caught.value.side is Side.SOURCE
    assert "secret" not in str(caught.value) or "secret" in str(path)
    return caught.value


async def test_a_file_and_what_is_known_of_it(reader: LocalReader, root: Path, way: str) -> None:
    path = root / "in" / "a.jpg"
    status = path.stat()
    async with reader.open(task_of(path, fingerprint=file_fingerprint(status))) as body:
        assert (body.size, body.content_type, body.modified) == (7, None, status.st_mtime_ns / 1e9)
        assert body.fingerprint == file_fingerprint(status)
        assert [await body.read(3), await body.read(100), await body.read(100)] == [b"pic", b"ture", b""]
        await body.check()


async def test_large_and_empty_files(reader: LocalReader, root: Path) -> None:
    data = os.urandom(3 * MIB + 17)
    (root / "large").write_bytes(data)
    (root / "empty").touch()
    assert await read(reader, root / "large") == data
    assert await read(reader, root / "empty") == b""
    async with reader.open(task_of(root / "large")) as body:
        pieces = [await body.read(MIB + 1) for _ in range(4)]
    assert b"".join(pieces) == data
    assert [len(piece) for piece in pieces] == [MIB + 1, MIB + 1, MIB + 1, 14]


async def test_a_file_that_is_not_in_memory(reader: LocalReader, root: Path) -> None:
    path = root / "cold"
    data = os.urandom(300_000)
    with path.open("wb") as file:
        file.write(data)
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert await read(reader, path) == data


@pytest.mark.parametrize("times", [1, 1000])
async def test_a_disk_that_takes_its_time(
    reader: LocalReader, root: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """In memory a moment later, or so much later that a thread waits for it."""
    refused, preadv = 0, os.preadv

    def refuse_at_first(*arguments: Any) -> int:
        nonlocal refused
        refused += 1
        if refused <= times:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return preadv(*arguments)

    monkeypatch.setattr(os, "preadv", refuse_at_first)
    assert await read(reader, root / "in" / "a.jpg") == b"picture"
    assert refused == min(times + 1, 3)


async def test_a_file_system_that_knows_no_reading_without_waiting(
    reader: LocalReader, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "preadv", refuse)
    assert await read(reader, root / "in" / "a.jpg") == b"picture"


@pytest.mark.parametrize(
    "name", [b"100% #1?.jpg", b"caf\xc3\xa9.jpg", b"latin-\xe9.jpg", b"new\nline", b"%41.jpg", b"a b+c&d;e"]
)
async def test_names_of_any_bytes(reader: LocalReader, root: Path, name: bytes) -> None:
    path = root / os.fsdecode(name)
    path.write_bytes(name)
    assert await read(reader, path) == name


async def test_gone(reader: LocalReader, root: Path, way: str) -> None:
    assert isinstance(await refusal(reader, root / "in" / "b.jpg"), Gone)
    assert isinstance(await refusal(reader, root / "in" / "a.jpg" / "b.jpg"), Gone)


@pytest.mark.parametrize("path", ["../secret.jpg", "in/../../secret.jpg", "/etc/passwd", "../root2/x"])
async def test_places_outside_the_root(reader: LocalReader, root: Path, path: str, way: str) -> None:
    (root.parent / "root2").mkdir()
    (root.parent / "root2" / "x").touch()
    for source in ("plain", "linked"):
        assert isinstance(await refusal(reader, path if path[0] == "/" else f"{root}/{path}", source), Forbidden)


async def test_a_source_without_a_root_reads_no_files(reader: LocalReader, root: Path) -> None:
    assert "no root" in str(await refusal(reader, root / "in" / "a.jpg", "rootless"))


async def test_a_root_that_is_not_there_stops_everything(root: Path) -> None:
    reader = LocalReader({"plain": LocalRoot(str(root / "absent"))})
    with pytest.raises(Fatal, match="root"):
        await read(reader, root / "absent" / "a.jpg")
    await reader.close()


async def test_a_root_that_is_empty_stops_everything(reader: LocalReader, root: Path, way: str) -> None:
    """As the place of a disk is that is not mounted."""
    (root / "in" / "a.jpg").unlink()
    assert isinstance(await refusal(reader, root / "in" / "a.jpg"), Gone), "other files may be there"
    (root / "in").rmdir()
    error = await refusal(reader, root / "in" / "a.jpg")
    assert isinstance(error, Fatal)
    assert "is empty" in error.message


async def test_a_root_that_is_replaced_stops_everything(reader: LocalReader, root: Path, way: str) -> None:
    assert await read(reader, root / "in" / "a.jpg") == b"picture"
    root.rename(root.parent / "old")
    assert await read(reader, root / "in" / "a.jpg") == b"picture"
    (root.parent / "old" / "in" / "a.jpg").unlink()
    error = await refusal(reader, root / "in" / "a.jpg")
    assert isinstance(error, Fatal)
    assert "cannot be opened any more" in error.message
    (root / "in").mkdir(parents=True)
    error = await refusal(reader, root / "in" / "a.jpg")
    assert isinstance(error, Fatal)
    assert "is another folder" in error.message


async def test_a_root_that_does_not_answer_is_silent(
    reader: LocalReader, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a share is whose server has gone for a while. No such share can be had here."""

    def dead(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EHOSTDOWN, os.strerror(errno.EHOSTDOWN))

    assert await read(reader, root / "in" / "a.jpg") == b"picture"
    monkeypatch.setattr("migrator.stores.local.open_cached", dead)
    error = await refusal(reader, root / "in" / "a.jpg")
    assert isinstance(error, Transient)
    assert not error.silent, "the root answers"
    monkeypatch.setattr(os, "scandir", dead)
    error = await refusal(reader, root / "in" / "a.jpg")
    assert isinstance(error, Transient)
    assert error.silent


async def test_a_root_that_is_itself_a_link(root: Path) -> None:
    (root.parent / "alias").symlink_to(root)
    reader = LocalReader({"plain": LocalRoot(str(root.parent / "alias"))})
    assert await read(reader, root.parent / "alias" / "in" / "a.jpg") == b"picture"
    assert await read(reader, root / "in" / "a.jpg") == b"picture"
    await reader.close()


async def test_a_file_swapped_for_a_link_after_the_scan(reader: LocalReader, root: Path, way: str) -> None:
    path = root / "in" / "a.jpg"
    path.unlink()
    path.symlink_to(root.parent / "secret.jpg")
    assert isinstance(await refusal(reader, path), Forbidden)
    assert isinstance(await refusal(reader, path, "linked"), Forbidden)


async def test_a_folder_swapped_for_a_link_after_the_scan(reader: LocalReader, root: Path, way: str) -> None:
    (root.parent / "elsewhere").mkdir()
    (root.parent / "elsewhere" / "a.jpg").write_bytes(b"secret")
    (root / "in" / "a.jpg").unlink()
    (root / "in").rmdir()
    (root / "in").symlink_to("../elsewhere")
    assert isinstance(await refusal(reader, root / "in" / "a.jpg"), Forbidden)
    assert isinstance(await refusal(reader, root / "in" / "a.jpg", "linked"), Forbidden)


@pytest.mark.parametrize("absolute", [False, True])
async def test_links_inside_the_root(reader: LocalReader, root: Path, absolute: bool, way: str) -> None:
    (root / "link.jpg").symlink_to(root / "in" / "a.jpg" if absolute else "in/a.jpg")
    (root / "folder").symlink_to(root / "in" if absolute else "in")
    assert isinstance(await refusal(reader, root / "link.jpg"), Forbidden)
    assert isinstance(await refusal(reader, root / "folder" / "a.jpg"), Forbidden)
    assert await read(reader, root / "link.jpg", "linked") == b"picture"
    assert await read(reader, root / "folder" / "a.jpg", "linked") == b"picture"


async def test_links_in_a_circle(reader: LocalReader, root: Path, way: str) -> None:
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    assert isinstance(await refusal(reader, root / "one", "linked"), Forbidden)
    assert isinstance(await refusal(reader, root / "one" / "a.jpg"), Forbidden)


async def test_what_is_no_regular_file(reader: LocalReader, root: Path, way: str) -> None:
    os.mkfifo(root / "pipe")
    short = root.parent / "s"
    listening = socket.socket(socket.AF_UNIX)
    # A socket's path may have 108 bytes only; a test's folder may be longer.
    listening.bind(os.path.relpath(short)) if len(str(short)) > 100 else listening.bind(str(short))
    short.rename(root / "socket")
    listening.close()
    for name, word in (("pipe", "FIFO"), ("socket", "socket"), ("in", "folder")):
        error = await refusal(reader, root / name)
        assert isinstance(error, Invalid)
        assert word in str(error)


UNPRIVILEGED = """
import asyncio, os, sys
from migrator.core.errors import Forbidden
from migrator.core.files import file_location
from migrator.core.model import Task
from migrator.stores.local import LocalReader
from migrator.stores.source_root import LocalRoot

async def main(root):
    reader = LocalReader({"plain": LocalRoot(root)})
    try:
        async with reader.open(Task(1, "p", "plain", file_location(root + "/a.jpg"), "key", None, None)):
            print("read")
    except Forbidden as error:
        print(error)
    await reader.close()

root = sys.argv[1]
os.chmod(root + "/a.jpg", 0)
if os.getuid() == 0:
    os.setuid(65534)
asyncio.run(main(root))
"""


async def test_an_unreadable_file() -> None:
    # Not below tmp_path: that is open to its owner only, and root, who may read anything, must become someone else.
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o755)
        Path(base, "a.jpg").write_bytes(b"picture")
        command = [sys.executable, "-c", UNPRIVILEGED, base]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    assert "may not be read" in done.stdout, done.stderr


async def test_not_what_the_scan_saw(reader: LocalReader, root: Path) -> None:
    path = root / "in" / "a.jpg"
    seen = file_fingerprint(path.stat())
    path.write_bytes(b"another picture")
    with pytest.raises(Changed, match="scan"):
        async with reader.open(task_of(path, fingerprint=seen)):
            pass


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _rewrite(path: Path) -> None:
    path.write_bytes(b"PICTURE")
    os.utime(path, (1, 1))


def _touch(path: Path) -> None:
    os.utime(path, (1, 1))


@pytest.mark.parametrize("change", [_grow, _rewrite, _touch])
async def test_changed_while_it_is_read(reader: LocalReader, root: Path, change: Callable[[Path], None]) -> None:
    path = root / "in" / "a.jpg"
    async with reader.open(task_of(path)) as body:
        await body.read(3)
        change(path)
        assert len(await body.read(100)) == 4
        with pytest.raises(Changed, match="while it was read"):
            await body.check()


@pytest.mark.parametrize("size", [100_000, 3 * MIB])
async def test_shortened_while_it_is_read(reader: LocalReader, root: Path, size: int) -> None:
    path = root / "long"
    path.write_bytes(b"x" * size)
    async with reader.open(task_of(path)) as body:
        await body.read(10)
        os.truncate(path, 50)
        with pytest.raises(Changed, match="shorter"):
            await body.read(size)


async def test_a_reading_that_is_given_up_closes_its_file(
    reader: LocalReader, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beneath, "HAS_CACHED", False)
    for _ in range(20):
        reading = asyncio.create_task(read(reader, root / "in" / "a.jpg"))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    assert await read(reader, root / "in" / "a.jpg") == b"picture"


@pytest.mark.parametrize("location", ["file://host/a.jpg", "file:relative", "file:///a%00b"])
async def test_locations_that_name_no_path(reader: LocalReader, location: str) -> None:
    task = Task(1, "ledger/1", "plain", location, "key", None, None)
    with pytest.raises((Invalid, Forbidden)):
        async with reader.open(task):
            pass


async def test_as_many_files_are_waited_for_as_there_are_transfers(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a share of the network each of them waits for a server."""
    together = threading.Barrier(40, timeout=10)
    opening = beneath.open_beneath

    def slowly(*arguments: Any, **options: Any) -> int:
        together.wait()
        return opening(*arguments, **options)

    monkeypatch.setattr(beneath, "HAS_CACHED", False)
    monkeypatch.setattr("migrator.stores.local.open_beneath", slowly)
    source = {"type": "directory", "name": "plain", "root": str(root), "key": "{path}"}
    values = {"name": "w", "destination": {"bucket": "bucket"}, "sources": [source], "transfer": {"concurrency": 40}}
    reader = make_reader(Config.model_validate(values))
    try:
        assert await asyncio.gather(*[read(reader, root / "in" / "a.jpg") for _ in range(40)]) == [b"picture"] * 40
    finally:
        await reader.close()
