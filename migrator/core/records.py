"""The values of records: rows of the user's database, what becomes of them, how many there are. Frozen, picklable."""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from migrator.core.model import Failed


class RecordState(StrEnum):
    """Where a record stands. Text in the ledger."""

    PLANNED = "planned"
    """It waits for its object."""
    READY = "ready"
    """Everything that it refers to stands in the destination."""
    INTENDED = "intended"
    """Its before-image is in the ledger; the update may have been made."""
    RECORDED = "recorded"
    FAILED = "failed"
    ROLLED_BACK = "rolled-back"
    """The row holds its before-image again."""


class Row(Struct, frozen=True):
    """The database row in which a location stood, as the scan read it.

    primary_key  JSON array of its key's values, spelled by core/row_values.py: the same text for the same row
    seen         JSON object of the columns that location and key are made of; they must still hold when it is updated
    fields       text of the names that `update.set` wants, or None
    """

    primary_key: str
    seen: str
    fields: Mapping[str, str] | None = None


class RecordTask(Struct, frozen=True):
    """One row to update: its item has arrived.

    values  what templates may use of the stored object: key, sha256, size, content_type; a value may be None
    before  the before-image (JSON object, column -> value) that an earlier attempt kept, or None
    variants  keys of the variants that the rows of this source refer to, by (name, format)
    """

    id: int
    source: str
    row: Row
    values: Mapping[str, str | None]
    before: str | None = None
    variants: Mapping[tuple[str, str], str] = field(default_factory=dict)


class RowChange(Struct, frozen=True):
    """What is about to be written: JSON objects, column -> value, spelled by core/row_values.py."""

    task: RecordTask
    before: str
    after: str


class Recorded(Struct, frozen=True):
    """The row holds the new values. `adopted`: it held them before this attempt."""

    adopted: bool = False


RecordOutcome = Recorded | Failed


class RecordTally(Struct, frozen=True):
    """Records of one source in one state: how many. `reason` is the fault of failed ones, else empty."""

    source: str
    state: RecordState
    reason: str
    records: int
