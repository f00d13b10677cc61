"""What a row is to hold: the templates of `update.set`, filled for one object, as values of its columns."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from migrator.core.config import Destination, Update
from migrator.core.keys import TemplateError, compile_template
from migrator.core.records import RecordTask
from migrator.core.variants import names_of
from migrator.records.columns import Column


class Unfit(ValueError):
    """A template lacks a value, or its column cannot hold what came out. Names the column."""


class NewValues:
    """Compiled once for a source. `bucket` is the destination in use, which may be a fallback."""

    def __init__(self, update: Update, destination: Destination, bucket: str) -> None:
        self._templates = {column: compile_template(text) for column, text in update.set.items()}
        self._public_url = destination.public_url.rstrip("/")
        self._bucket = bucket

    def texts(self, task: RecordTask, columns: Sequence[str]) -> dict[str, str]:
        """The text of each column. Raises Unfit."""
        key = task.values.get("key")
        values: dict[str, str | None] = {
            **(task.row.fields or {}),
            **task.values,
            **names_of(task.variants, self._public_url),
            "url": f"{self._public_url}/{quote(key)}" if self._public_url and key is not None else None,
            "destination.bucket": self._bucket or None,
        }
        filled = {}
        for column in columns:
            try:
                filled[column] = self._templates[column].fill(values)
            except TemplateError as error:
                raise Unfit(f"{column} cannot be set: {error}") from None
        return filled

    def fitting(self, task: RecordTask, columns: Sequence[Column]) -> tuple[object, ...]:
        """The value of each column, as the driver takes it. Raises Unfit."""
        texts: Mapping[str, str] = self.texts(task, [column.name for column in columns])
        values = []
        for column in columns:
            try:
                values.append(column.parse(texts[column.name]))
            except ValueError as error:
                raise Unfit(f"{column.name} ({column.kind}) cannot hold the new value: {error}") from None
        return tuple(values)
