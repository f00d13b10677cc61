"""report.json: the overview and the long lists (what failed, what differs), streamed."""

import json
from collections.abc import Iterable, Mapping
from typing import TextIO

from migrator.core.secrets import mask_text
from migrator.reports.overview import FailedItem

Rows = Iterable[Mapping[str, object]]


def write_json(tree: Mapping[str, object], lists: Mapping[str, Rows], file: TextIO) -> None:
    """Writes one object: `tree`, then each of `lists` as it comes."""
    file.write("{")
    separator = "\n"
    for name, value in tree.items():
        file.write(f"{separator}  {json.dumps(name)}: {json.dumps(value, default=str)}")
        separator = ",\n"
    for name, rows in lists.items():
        file.write(separator)
        _write_list(name, rows, file)
        separator = ",\n"
    file.write("\n}\n")


def _write_list(name: str, rows: Rows, file: TextIO) -> None:
    file.write(f"  {json.dumps(name)}: [")
    separator = "\n    "
    for row in rows:
        file.write(separator + json.dumps(row))
        separator = ",\n    "
    file.write("\n  ]")


def failed_item(item: FailedItem) -> dict[str, object]:
    """A failed item as plain values."""
    return {
        "source": item.source,
        "location": item.location,
        "key": item.key,
        "fault": item.fault,
        "attempts": item.attempts,
        "message": mask_text(item.message),
    }
