"""Pieces of raw statements that sources and records share: the operator's query as a table, and rows by their keys."""

from collections.abc import Sequence

from migrator.clients.database import Database


def as_table(database: Database, query: str) -> str:
    """The operator's query in place of a table. On lines of its own: it may end in a comment."""
    return f"(\n{database.escaped(query.strip().rstrip(';'))}\n) AS migrator_rows"


def among(database: Database, names: Sequence[str], keys: int) -> str:
    """The condition that the columns `names` are one of `keys` rows of parameters."""
    marks = ", ".join([_row([database.mark] * len(names))] * keys)
    # SQLite compares rows of values with a list of them only when that is spelled as a query.
    values = "VALUES " if database.dialect == "sqlite" and len(names) > 1 else ""
    return f"{_row([database.quoted(name) for name in names])} IN ({values}{marks})"


def _row(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"
