"""A ledger of its own for each test; when the test is over, its tallies must be what its rows add up to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from migrator.ledger.sqlite import SqliteLedger
from tests.ledger.making import recount, recount_records, tallied, tallied_records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints" / "job.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    with SqliteLedger.open(path, name="job") as ledger:
        yield ledger
    assert tallied(path) == recount(path)
    assert tallied_records(path) == recount_records(path)
