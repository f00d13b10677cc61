"""What `Inventory` promises: objects with size, ETag and time, and open uploads; on every server and in a folder."""

import fcntl
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from migrator.core.config import Destination, Transfer
from migrator.core.objects import Digest, Guards, Upload
from migrator.core.orphans import Listed, Unfinished
from migrator.stores.folder import FolderStore
from migrator.stores.s3 import S3Store
from tests.servers.endless import endless, key_of
from tests.servers.s3 import S3Server
from tests.servers.scripted import scripted

KEYS = ("p/a b+c.jpg", "p/d&e'f.jpg", "p/ä.jpg", "q/g.jpg")
GUARDS = Guards(absent=False, digest=Digest.SIGNED)
AnyStore = S3Store | FolderStore


@pytest.fixture
async def bucket(server: S3Server) -> AsyncIterator[S3Store]:
    """A bucket of its own on each server."""
    destination = Destination(bucket=server.new_bucket(), endpoint_url=server.endpoint)
    store = await S3Store.open(destination, Transfer())
    yield store
    await store.close()


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[FolderStore]:
    """A folder of its own."""
    store = FolderStore(tmp_path)
    yield store
    await store.close()


def upload(key: str, size: int | None = None) -> Upload:
    return Upload(key, size, None, "image/jpeg", {})


async def listed(store: AnyStore, prefix: str, position: str = "") -> list[Listed]:
    return [one async for page, _ in store.listed(prefix, position) for one in page]


async def unfinished(store: AnyStore, prefix: str) -> list[Unfinished]:
    return [one async for page in store.unfinished(prefix) for one in page]


async def tells_objects(store: AnyStore) -> None:
    for number, key in enumerate(KEYS):
        await store.put(upload(key, number), b"x" * number, GUARDS)
    found = await listed(store, "p/")
    assert [(one.key, one.size) for one in found] == [(key, KEYS.index(key)) for key in sorted(KEYS[:3])]
    for one in found:
        standing = await store.head(one.key)
        assert standing
        assert one.etag == standing.etag
        assert one.modified is not None
        assert abs(one.modified - time.time()) < 900
    assert await listed(store, "nothing/") == []


async def goes_on_behind_any_page(store: AnyStore, keys: list[str]) -> None:
    pages = [page async for page in store.listed("")]
    assert len(pages) >= 3
    assert [one.key for page, _ in pages for one in page] == keys
    for number, (_, position) in enumerate(pages[:-1], 1):
        assert await listed(store, "", position) == [one for page, _ in pages[number:] for one in page]


async def tells_uploads(store: AnyStore) -> None:
    one, other = await store.begin(upload("p/film.mov")), await store.begin(upload("q/film.mov"))
    found = await unfinished(store, "p/")
    assert [(each.key, each.upload_id) for each in found] == [("p/film.mov", one)]
    assert {each.upload_id for each in await unfinished(store, "")} == {one, other}
    await store.abort("p/film.mov", one)
    assert await unfinished(store, "p/") == []


async def test_objects_of_a_bucket(bucket: S3Store) -> None:
    await tells_objects(bucket)


async def test_objects_of_a_folder(folder: FolderStore) -> None:
    await tells_objects(folder)


async def test_a_bucket_of_many_pages() -> None:
    async with scripted(endless(2_300)) as server:
        store = await S3Store.open(Destination(bucket="endless", endpoint_url=server.endpoint), Transfer())
        await goes_on_behind_any_page(store, [key_of(number) for number in range(2_300)])
        await store.close()


async def test_a_folder_of_many_pages(folder: FolderStore, tmp_path: Path) -> None:
    keys = [f"{number:04}.jpg" for number in range(2_300)]
    for key in keys:
        (tmp_path / key).touch()
    await goes_on_behind_any_page(folder, keys)


async def test_uploads_of_a_bucket(bucket: S3Store, server: S3Server) -> None:
    if server.name == "rclone":
        assert await unfinished(bucket, "") == []
    await tells_uploads(bucket)


async def test_uploads_of_a_folder(folder: FolderStore) -> None:
    await tells_uploads(folder)


async def test_temporary_files_of_a_folder_while_nobody_writes_them(folder: FolderStore, tmp_path: Path) -> None:
    session = tmp_path / "_migrator" / "tmp" / "0123456789abcdef"
    session.mkdir(parents=True)
    (session / "half").write_text("half")
    assert [one.key for one in await listed(folder, "_migrator/tmp/")] == ["_migrator/tmp/0123456789abcdef/half"]
    assert await listed(folder, "") == [], "no object is below them"
    held = os.open(session, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert await listed(folder, "_migrator/tmp/") == []
    finally:
        os.close(held)
