"""Pieces of raw statements that sources and records share: the operator's query as a table, and rows by their keys."""

import re
from collections.abc import Sequence

from migrator.clients.database import Database
from migrator.core.errors import PreflightError

_PIECES = re.compile(
    r"""
      (?P<text>    '(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
    | (?P<comment> --[^\n]* | /\*.*?\*/ )
    | (?P<space>   \s+ )
    | (?P<other>   . )
    """,
    re.DOTALL | re.VERBOSE,
)
_MYSQL_PIECES = re.compile(
    r"""
      (?P<text>    '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `[^`]*` )
    | (?P<comment> --(?=\s|$)[^\n]* | \#[^\n]* | /\*(?!!).*?\*/ )
    | (?P<space>   \s+ )
    | (?P<other>   . )
    """,
    re.DOTALL | re.VERBOSE,
)


def trimmed(query: str, dialect: str) -> str:
    """`query` without what ends it: semicolons, with white space and comments around them."""
    end, semicolon = 0, False
    for piece in (_MYSQL_PIECES if dialect == "mysql" else _PIECES).finditer(query):
        if piece["other"] == ";":
            semicolon = True
        elif piece["other"] or piece["text"]:
            if semicolon:
                raise PreflightError("the query holds more than one statement", "leave one SELECT of it")
            end = piece.end()
    return query[:end]


def as_table(database: Database, query: str) -> str:
    """The operator's query in place of a table. The line break ends a comment that it may hold in its last line."""
    return f"({database.escaped(trimmed(query, database.dialect))}\n) AS q"


def among(database: Database, names: Sequence[str], keys: int) -> str:
    """The condition that the columns `names` are one of `keys` rows of parameters."""
    marks = ", ".join([_row([database.mark] * len(names))] * keys)
    # SQLite compares rows of values with a list of them only when that is spelled as a query.
    values = "VALUES " if database.dialect == "sqlite" and len(names) > 1 else ""
    return f"{_row([database.quoted(name) for name in names])} IN ({values}{marks})"


def _row(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"
