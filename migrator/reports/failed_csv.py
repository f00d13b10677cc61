"""failed.csv: every failed item as a row that a manifest source can read again (column `url`)."""

import csv
from collections.abc import Iterable
from typing import TextIO

from migrator.core.secrets import MASK, mask_text
from migrator.reports.overview import FailedItem

COLUMNS = ("url", "key", "source", "fault", "attempts", "message", "note")

HIDDEN = "the URL holds a secret that is not shown, so it cannot be read from here; `migrator retry` tries it again"


def write_failed(failures: Iterable[FailedItem], file: TextIO) -> None:
    """Writes one row a failed item, as they come."""
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(COLUMNS)
    for item in failures:
        note = HIDDEN if MASK in item.location else ""
        message = mask_text(item.message)
        rows.writerow((item.location, item.key, item.source, item.fault, item.attempts, message, note))
