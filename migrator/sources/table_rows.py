"""From a row to an item: columns as text, the location, the key, and what the row's own update will want."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID

import orjson
from msgspec.structs import replace

from migrator.core.config import TableSource
from migrator.core.keys import STORED_NAMES, Naming, compile_template, names_in
from migrator.core.model import Fault, Item, Problem
from migrator.core.places import s3_parts
from migrator.core.records import Row
from migrator.core.row_values import spelled, spelled_key
from migrator.sources.locations import Locator, Refused
from migrator.sources.page import Result, shown

_MAX_INT = 2**63


class NoText(ValueError):
    """A value of a column that cannot be a part of a key or location."""


def text_of(value: object) -> str | None:
    """A value of a column as templates have it; None for NULL. Raises NoText for bytes that are no text."""
    if value is None:
        return None
    make = _TEXTS.get(type(value))
    if make is not None:
        return make(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _from_bytes(bytes(value))
    return orjson.dumps(value, default=str).decode() if isinstance(value, dict | list) else str(value)


def _from_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise NoText("holds bytes that are no text") from None


_TEXTS: Mapping[type, Callable[..., str]] = {
    str: str,
    int: str,
    bool: lambda value: "true" if value else "false",
    UUID: str,
    Decimal: lambda value: format(value, "f"),
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    bytes: _from_bytes,
}


class RowMaker:
    """Makes the results of the rows of one source. `columns` are those that the query has; only `read` are wanted.

    A raw row holds the values of `read`, in that order: the primary key first.
    """

    def __init__(
        self,
        config: TableSource,
        naming: Naming,
        columns: Collection[str],
        *,
        stands_here: Callable[[str], bool],
    ) -> None:
        self._source = config.name
        self._key_columns = config.primary_key
        self._key_length = len(config.primary_key)
        self._location = compile_template(config.location)
        self._stands_here = stands_here
        updated = config.update.set if config.update else {}
        self._row_names = frozenset(
            name for name in names_in(updated.values()) if name not in STORED_NAMES and not name.startswith("variant.")
        )
        self._carry = frozenset(naming.carry)
        self._updates = config.update is not None
        self._locator = Locator(config, replace(naming, carry={*naming.carry, *self._row_names}))
        fields = sorted(name for name in self._locator.field_names if name in columns)
        used = dict.fromkeys((*self._location.names, *fields))
        seen = dict.fromkeys((*used, *(name for name in updated if name in columns))) if self._updates else {}
        self.read: tuple[str, ...] = tuple(dict.fromkeys((*config.primary_key, *used, *seen)))
        place = {name: number for number, name in enumerate(self.read)}
        self._texts = tuple((name, place[name]) for name in used)
        self._seen = tuple((name, place[name]) for name in seen)
        self._fields = tuple(fields)
        self._one = self._only_column()
        self._rows = 0

    def _only_column(self) -> tuple[str, int, str] | None:
        """(before, place, after) where the location is one column within fixed text, as nearly all are."""
        if len(self._texts) == 1 and len(self._location.names) == 1:
            before, _, after = self._location.pieces
            return before, self._texts[0][1], after
        return None

    def result(self, row: Sequence[object]) -> Result:
        """What becomes of one raw row."""
        self._rows += 1
        try:
            return self._item(row)
        except Refused as error:
            return self._flaw(row, str(error), error.fault)
        except (ValueError, TypeError) as error:
            return self._flaw(row, str(error))

    def _item(self, row: Sequence[object]) -> Item | None:
        one = self._one
        if one is not None:
            value = row[one[1]]
            text = value if type(value) is str else self._text(self._texts[0][0], value)
            if text is None or not text.strip():
                raise self._missing({self._texts[0][0]: text})
            location = one[0] + text + one[2]
            fields: dict[str, str | None] = {self._texts[0][0]: text}
        else:
            fields = {name: self._text(name, row[place]) for name, place in self._texts}
            location = self._filled(fields)
        found = self._locator.found(location, fields)
        if found is None:
            return None
        carried, kept = found.carried, None
        if carried and self._row_names:
            kept = {name: value for name, value in carried.items() if name in self._row_names}
            carried = {name: value for name, value in carried.items() if name in self._carry} or None
        here = None
        if found.bucket and self._stands_here(found.bucket):
            here = s3_parts(found.location)[1]
        record = None
        if self._updates:
            record = Row(self._spelled(row), spelled({name: row[place] for name, place in self._seen}), kept)
        return Item(found.location, found.key, None, None, carried, found.signed, record, here)

    def _spelled(self, row: Sequence[object]) -> str:
        value = row[0]
        if self._key_length == 1 and type(value) is int and -_MAX_INT < value < _MAX_INT:
            return f"[{value}]"
        return spelled_key(row[: self._key_length])

    def _text(self, name: str, value: object) -> str | None:
        try:
            return text_of(value)
        except NoText as error:
            raise NoText(f"the column {name} {error}") from None

    def _filled(self, fields: Mapping[str, str | None]) -> str:
        names = self._location.names
        values = {name: fields[name] for name in names}
        if names and (None in values.values() or not "".join(filter(None, values.values())).strip()):
            raise self._missing(values)
        return self._location.fill(values)

    def _missing(self, values: Mapping[str, str | None]) -> Refused:
        null = [name for name, value in values.items() if value is None]
        what = f"{null[0]} is NULL" if null else f"{' and '.join(values)} {'is' if len(values) == 1 else 'are'} empty"
        return Refused(f"this row names no object: {what}")

    def _flaw(self, row: Sequence[object], message: str, fault: Fault = Fault.INVALID) -> Problem:
        return Problem(f"source {self._source}", self.position(row), fault, message)

    def position(self, row: Sequence[object]) -> str:
        """Where a row stands: `image_id=17`, or its number where there is no key."""
        if not self._key_columns:
            return f"row {self._rows}"
        return ", ".join(f"{name}={_shown_value(value)}" for name, value in zip(self._key_columns, row, strict=False))


def _shown_value(value: object) -> str:
    try:
        text = text_of(value)
    except NoText:
        text = str(value)
    return "NULL" if text is None else shown(text)
