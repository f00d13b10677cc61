"""The store's contract on a folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from migrator.core.objects import Digest
from migrator.core.ports import Store
from migrator.stores.folder import FolderStore

from .contract import ODD_KEYS, Expected, StoreContract

NO_FILE_NAMES = ("double slash", "trailing slash")
"""Odd keys that S3 holds and no file system can."""


@pytest.fixture
def expected() -> Expected:
    """SHA-256 is the one digest that a folder checks."""
    return Expected(digests=frozenset({Digest.SHA256}), part_digests=frozenset({Digest.SHA256}))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FolderStore]:
    """A store on a folder of its own."""
    store = FolderStore(tmp_path)
    yield store
    await store.close()


class TestFolderStore(StoreContract):
    """Every promise, with files."""

    @pytest.mark.parametrize("name", [name for name in ODD_KEYS if name not in NO_FILE_NAMES])
    async def test_odd_keys_are_kept_byte_for_byte(self, store: Store, expected: Expected, name: str) -> None:
        await super().test_odd_keys_are_kept_byte_for_byte(store, expected, name)

    @pytest.mark.parametrize("name", NO_FILE_NAMES)
    async def test_keys_that_name_no_file_are_refused(self, store: Store, name: str) -> None:
        assert store.refuses(ODD_KEYS[name])
