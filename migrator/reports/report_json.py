"""report.json: the overview and every failed item, streamed."""

import json
from collections.abc import Iterable, Mapping
from typing import TextIO

from migrator.core.secrets import mask_text
from migrator.reports.overview import FailedItem


def write_json(tree: Mapping[str, object], failures: Iterable[FailedItem], file: TextIO) -> None:
    """Writes one object: `tree` and, in `failures`, the failed items as they come."""
    file.write("{\n")
    for name, value in tree.items():
        file.write(f"  {json.dumps(name)}: {json.dumps(value, default=str)},\n")
    file.write('  "failures": [')
    separator = "\n    "
    for item in failures:
        row = {
            "source": item.source,
            "location": item.location,
            "key": item.key,
            "fault": item.fault,
            "attempts": item.attempts,
            "message": mask_text(item.message),
        }
        file.write(separator + json.dumps(row))
        separator = ",\n    "
    file.write("\n  ]\n}\n")
