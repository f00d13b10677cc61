"""report.json: the overview, every failed item, variant and row that was not updated, streamed."""

import json
from collections.abc import Iterable, Mapping
from typing import TextIO

from migrator.core.secrets import mask_text
from migrator.reports.overview import FailedItem
from migrator.reports.rows import FailedRecord, Targets, failed_row
from migrator.reports.variants import FailedVariant, failed_tree


def write_json(
    tree: Mapping[str, object],
    failures: Iterable[FailedItem],
    failed_rows: Iterable[FailedRecord],
    targets: Targets,
    unmade: Iterable[FailedVariant],
    file: TextIO,
) -> None:
    """Writes one object: `tree`, then what failed as it comes: `failures`, `failed_rows`, `unmade_variants`."""
    file.write("{\n")
    for name, value in tree.items():
        file.write(f"  {json.dumps(name)}: {json.dumps(value, default=str)},\n")
    _write_list("failures", (_failed_item(item) for item in failures), file)
    file.write(",\n")
    _write_list("failed_rows", (failed_row(record, targets) for record in failed_rows), file)
    file.write(",\n")
    _write_list("unmade_variants", (failed_tree(variant) for variant in unmade), file)
    file.write("\n}\n")


def _write_list(name: str, rows: Iterable[Mapping[str, object]], file: TextIO) -> None:
    file.write(f"  {json.dumps(name)}: [")
    separator = "\n    "
    for row in rows:
        file.write(separator + json.dumps(row))
        separator = ",\n    "
    file.write("\n  ]")


def _failed_item(item: FailedItem) -> dict[str, object]:
    return {
        "source": item.source,
        "location": item.location,
        "key": item.key,
        "fault": item.fault,
        "attempts": item.attempts,
        "message": mask_text(item.message),
    }
