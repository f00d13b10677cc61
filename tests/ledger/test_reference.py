"""docs/reference/ledger.md names every table, view and column that a ledger has."""

import re
from pathlib import Path

from migrator.ledger.sqlite import SqliteLedger
from tests.ledger.making import query

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "ledger.md"


def test_the_reference_names_all_of_it(path: Path) -> None:
    SqliteLedger.open(path, name="job").close()
    said = set(re.findall(r"`([^`\s]+)`", PAGE.read_text(encoding="utf-8")))
    tables = {name for (name,) in query(path, "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")}
    columns = {
        column
        for table in tables - {"_sqlite_migrations", "pace"}
        for (column,) in query(path, "SELECT name FROM pragma_table_info(?)", table)
    }
    assert (tables | columns) - said == {"value"}
