"""The statements that read a query of the operator's page by page: keyset over the primary key, never OFFSET."""

from collections.abc import Sequence

from migrator.clients.database import Database
from migrator.clients.queries import as_table


class Query:
    """The operator's query as a subquery; `columns` are those that are read, the first of them `primary_key`."""

    def __init__(self, text: str, database: Database) -> None:
        self._database = database
        self._body = f"FROM {as_table(database, text)}"

    @property
    def look(self) -> str:
        """No row, but the columns."""
        return f"SELECT * {self._body} LIMIT 0"

    def everything(self, columns: Sequence[str]) -> str:
        """All rows in whatever order."""
        return f"SELECT {self._listed(columns)} {self._body}"

    def without_key(self, key: Sequence[str]) -> str:
        """How many rows have no whole key."""
        missing = " OR ".join(f"{self._named(name)} IS NULL" for name in key)
        return f"SELECT count(*) {self._body} WHERE {missing}"

    def page(self, columns: Sequence[str], key: Sequence[str], comparison: str) -> str:
        """Rows in the order of their keys; takes the parameters of `after`, if there is a comparison, and a limit."""
        return f"{self._ordered(columns, key, comparison)} LIMIT {self._database.mark}"

    def rest(self, columns: Sequence[str], key: Sequence[str]) -> str:
        """All rows from one on, in the order of their keys; takes the parameters of `>=`."""
        return self._ordered(columns, key, ">=")

    def _ordered(self, columns: Sequence[str], key: Sequence[str], comparison: str) -> str:
        conditions = [f"{self._named(name)} IS NOT NULL" for name in key]
        if comparison:
            conditions.append(self._compared(key, comparison))
        order = ", ".join(map(self._named, key))
        return f"SELECT {self._listed(columns)} {self._body} WHERE {' AND '.join(conditions)} ORDER BY {order}"

    def same(self, columns: Sequence[str], key: Sequence[str]) -> str:
        """Rows that have one key in common; takes its values."""
        return f"SELECT {self._listed(columns)} {self._body} WHERE {self._compared(key, '=')}"

    def parameters(self, after: Sequence[object], comparison: str) -> tuple[object, ...]:
        """The parameters of a comparison with the key `after`."""
        if self._rows_compare or comparison == "=" or len(after) == 1:
            return tuple(after)
        return tuple(value for length in range(1, len(after) + 1) for value in after[:length])

    @property
    def _rows_compare(self) -> bool:
        """MySQL compares rows too, but reads the whole table for it."""
        return self._database.dialect != "mysql"

    def _compared(self, key: Sequence[str], comparison: str) -> str:
        names = [self._named(name) for name in key]
        mark = self._database.mark
        if comparison == "=":
            return " AND ".join(f"{name} = {mark}" for name in names)
        if self._rows_compare or len(names) == 1:
            marks = ", ".join(mark for _ in names)
            return (
                f"{names[0]} {comparison} {mark}" if len(names) == 1 else f"({', '.join(names)}) {comparison} ({marks})"
            )
        strict = comparison.rstrip("=")
        steps = []
        for last, name in enumerate(names):
            equal = "".join(f"{earlier} = {mark} AND " for earlier in names[:last])
            steps.append(f"({equal}{name} {comparison if last == len(names) - 1 else strict} {mark})")
        return f"({' OR '.join(steps)})"

    def _listed(self, columns: Sequence[str]) -> str:
        return ", ".join(map(self._named, columns)) or "1"

    def _named(self, column: str) -> str:
        return f"q.{self._database.quoted(column)}"
