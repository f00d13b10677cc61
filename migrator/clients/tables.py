"""What reflection says of the operator's tables, for who updates their rows and who adds their columns."""

import warnings
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Inspector


def place_of(inspector: Inspector, text: str) -> tuple[str, str | None]:
    """(table, schema) of `name` or `schema.name`; a name may hold a dot itself."""
    schema, dot, name = text.rpartition(".")
    if not dot or inspector.has_table(text):
        return text, None
    return name, schema


def columns_of(inspector: Inspector, name: str, schema: str | None) -> Mapping[str, Mapping[str, Any]]:
    """What reflection says of each column; nothing when there is no such table."""
    if not inspector.has_table(name, schema=schema):
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of types that SQLAlchemy does not know; they are text to us
        return {column["name"]: column for column in inspector.get_columns(name, schema=schema)}
