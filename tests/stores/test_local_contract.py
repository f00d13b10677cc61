"""The store's contract on a folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from migrator.core.model import Digest
from migrator.stores.local_store import LocalStore

from .contract import Expected, StoreContract


@pytest.fixture
def expected() -> Expected:
    """A folder checks SHA-256 and has no names with an empty part."""
    return Expected(
        digests=frozenset({Digest.SHA256}),
        part_digests=frozenset({Digest.SHA256}),
        lost_keys=frozenset({"double slash", "trailing slash"}),
    )


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalStore]:
    """A store on a folder of its own."""
    store = LocalStore(tmp_path)
    yield store
    await store.close()


class TestLocalStore(StoreContract):
    """Every promise, with files."""
