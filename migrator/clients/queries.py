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
    quoted = [database.quoted(name) for name in names]
    if len(quoted) == 1:
        return f"{quoted[0]} IN ({', '.join([database.mark] * keys)})"
    # Not (a, b) IN ((1, 2), ...): for that SQLite reads the whole table; so does MariaDB, which locks what it reads,
    # where there are 1,000 values and the connection has another character set than a column.
    one = " AND ".join(f"{name} = {database.mark}" for name in quoted)
    return " OR ".join([f"({one})"] * keys)
