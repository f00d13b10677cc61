"""A source of rows on a test database, and what its scan would have found."""

from collections.abc import Mapping
from typing import Any

from migrator.clients.database import Database
from migrator.clients.queries import as_table
from migrator.core.config import Destination, TableSource
from migrator.core.model import Failed
from migrator.core.records import RecordOutcome, RecordTask, Row, RowChange
from migrator.core.row_values import spelled, spelled_key
from migrator.records.rows import SourceRows
from migrator.records.values import NewValues
from tests.servers.databases import TestDatabase

VALUES: Mapping[str, str | None] = {
    "key": "new/a b.jpg",
    "sha256": "ab" * 32,
    "size": "17",
    "content_type": "image/jpeg",
}


class World:
    """One table and the source that updates it; `tasks` reads the rows as a scan would."""

    def __init__(
        self,
        database: TestDatabase,
        set_: Mapping[str, str],
        *,
        table: str = "images",
        query: str = "SELECT id, path FROM images",
        key: tuple[str, ...] = ("id",),
        url: str = "",
        **update: Any,
    ) -> None:
        self.server = database
        self.source = TableSource.model_validate(
            {
                "type": "table",
                "name": "photos",
                "database_url": url or database.url,
                "query": query,
                "primary_key": key,
                "location": "{path}",
                "key": "{path}",
                "update": {"table": table, "set": dict(set_), **update},
            }
        )
        destination = Destination(bucket="configured", public_url="https://cdn.example.com")
        assert self.source.update
        self.new_values = NewValues(self.source.update, destination, "in-use")
        self.client = Database(url or database.url, timeout=20, connect_timeout=5)
        self.rows = SourceRows(self.source, self.client, self.new_values)

    def tasks(self, seen: tuple[str, ...] = ("path",), fields: Mapping[str, str] | None = None) -> list[RecordTask]:
        """A record for each row of the query, in the order of its key."""
        names = [*self.source.primary_key, *seen]
        listed = ", ".join(map(self.client.quoted, names))
        query = as_table(self.client, self.source.query)
        found = self.server.rows(f"SELECT {listed} FROM {query} ORDER BY {listed}")
        width = len(self.source.primary_key)
        return [
            RecordTask(
                number,
                "photos",
                Row(spelled_key(row[:width]), spelled(dict(zip(seen, row[width:], strict=True))), fields),
                VALUES,
            )
            for number, row in enumerate(found, 1)
        ]

    def update(self, tasks: list[RecordTask]) -> list[RecordOutcome]:
        """Both steps for all tasks, as the engine takes them."""
        self.rows.prepare()
        outcomes: list[RecordOutcome] = []
        for found in self.rows.inspect(tasks):
            outcomes += self.rows.apply([found]) if isinstance(found, RowChange) else [found]
        return outcomes

    def close(self) -> None:
        self.rows.close()


def changes(found: list[RowChange | RecordOutcome]) -> list[RowChange]:
    """What is to be written; nothing else was found."""
    assert all(isinstance(change, RowChange) for change in found), found
    return [change for change in found if isinstance(change, RowChange)]


def complaint(outcome: object) -> str:
    """`fault: message` of a failure."""
    assert isinstance(outcome, Failed), outcome
    return f"{outcome.fault}: {outcome.message}"
