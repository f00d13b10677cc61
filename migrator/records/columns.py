"""Columns that are set: how each is read exactly, and what the text of a template is as a value of its type.

Values are what the driver gives and takes, without SQLAlchemy's own conversions between.
"""

import json
import math
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from msgspec import Struct
from sqlalchemy import types as sql
from sqlalchemy.dialects import mysql, postgresql

_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})
_INTEGER_BITS = ((sql.SmallInteger, 16), (sql.BigInteger, 64), (sql.Integer, 32))
_MYSQL_BITS: dict[str, int] = {"TINYINT": 8, "SMALLINT": 16, "MEDIUMINT": 24, "INTEGER": 32, "BIGINT": 64}
_POSTGRES_EXACT = (
    sql.Integer,
    sql.Numeric,
    sql.Float,
    sql.String,
    sql.Boolean,
    sql.Uuid,
    sql.LargeBinary,
    sql.Date,
    sql.DateTime,
    sql.Time,
)
"""Types that psycopg reads without loss; others (JSON, intervals, arrays, ranges) are read as the server's own text."""


class Column(Struct, frozen=True):
    """One column of the table that is updated.

    as_text  it is read as the server's own text of it, which the server also takes back
    spelled  how a new value is spelled is known to the server alone (an interval, an address, an array)
    parse    text -> value; raises ValueError, which says why the column cannot hold it
    same     whether what stands there is this new value
    """

    name: str
    kind: str
    as_text: bool
    spelled: bool
    parse: Callable[[str], object]
    same: Callable[[object, object], bool]


def column_of(name: str, type_: sql.TypeEngine[Any], dialect: str) -> Column:
    """The column as reflection describes it; `dialect` is `sqlite`, `postgresql` or `mysql`."""
    if isinstance(type_, postgresql.DOMAIN):
        type_ = type_.data_type
    as_text = dialect == "postgresql" and (not isinstance(type_, _POSTGRES_EXACT) or isinstance(type_, sql.ARRAY))
    parse, same = (_sqlite_rules if dialect == "sqlite" else _rules)(type_, dialect)
    spelled = as_text and not isinstance(type_, sql.JSON)
    return Column(name, str(type_.__visit_name__).upper(), as_text, spelled, parse, same)


Rules = tuple[Callable[[str], object], Callable[[object, object], bool]]


def _sqlite_rules(type_: sql.TypeEngine[Any], _dialect: str) -> Rules:
    """SQLite holds anything in any column: only what clearly means a number becomes one."""
    match type_:
        case sql.Boolean():
            return _boolean, _equal
        case sql.Integer():
            return lambda text: _integer(text, -(2**63), 2**63 - 1), _equal
        case sql.Numeric() | sql.Float():
            return lambda text: _sqlite_number(_decimal(text)), _equal
        case sql.LargeBinary():
            return str.encode, _equal
        case sql.JSON():
            return _json, _equal_json
        case _:
            return str, _equal


def _rules(type_: sql.TypeEngine[Any], dialect: str) -> Rules:
    match type_:
        case sql.Enum() | mysql.ENUM():
            return _enum(list(type_.enums)), _equal
        case sql.JSON():
            return _json, _equal_json
        case sql.Boolean():
            return _boolean, _equal
        case sql.Integer():
            return _integer_of(type_), _equal
        case sql.Float():
            return _float, _equal
        case sql.Numeric():
            return _numeric(type_.precision, type_.scale), _equal
        case sql.Uuid():
            return (_uuid if dialect == "postgresql" else lambda text: str(_uuid(text))), _equal
        case (
            sql.LargeBinary()
            | sql.BINARY()
            | sql.VARBINARY()
            | mysql.TINYBLOB()
            | mysql.MEDIUMBLOB()
            | mysql.LONGBLOB()
        ):
            return str.encode, _equal
        case mysql.YEAR():
            return lambda text: _integer(text, 1901, 2155), _equal
        case mysql.BIT():
            return _bits(type_.length or 1), _equal
        case sql.DateTime() | sql.Date() | sql.Time():
            return _moment(type_, dialect), _equal
        case mysql.SET():
            return str, _equal
        case sql.String():
            padded = isinstance(type_, sql.CHAR) and dialect == "postgresql"
            return _text(type_.length), _equal_padded if padded else _equal
        case _:
            return str, _equal


def _equal(now: object, new: object) -> bool:
    return now is not None and now == new


def _equal_padded(now: object, new: object) -> bool:
    return isinstance(now, str) and isinstance(new, str) and now.rstrip(" ") == new.rstrip(" ")


def _equal_json(now: object, new: object) -> bool:
    if not isinstance(now, str) or not isinstance(new, str):
        return False
    try:
        return bool(json.loads(now, parse_float=Decimal) == json.loads(new, parse_float=Decimal))
    except ValueError:
        return False


def _text(length: int | None) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if length is not None and len(text) > length:
            raise ValueError(f"it has {len(text)} characters and the column holds {length}")
        if "\0" in text:
            raise ValueError("it holds a NUL character")
        return text

    return parse


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f'"{text}" is neither true nor false')
    return word in _TRUE


def _integer_of(type_: sql.Integer) -> Callable[[str], int]:
    name = str(type_.__visit_name__)
    bits = _MYSQL_BITS.get(name) if isinstance(type_, mysql.TINYINT | mysql.MEDIUMINT) else None
    bits = bits or next(bits for kind, bits in _INTEGER_BITS if isinstance(type_, kind))
    unsigned = bool(getattr(type_, "unsigned", False))
    lowest, highest = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    flag = isinstance(type_, mysql.TINYINT) and type_.display_width == 1  # how MySQL spells BOOLEAN
    return lambda text: (
        int(_boolean(text)) if flag and text.strip().lower() in _TRUE | _FALSE else _integer(text, lowest, highest)
    )


def _integer(text: str, lowest: int, highest: int) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,40}", text.strip(), re.ASCII):
        raise ValueError(f'"{text}" is no whole number')
    number = int(text)
    if not lowest <= number <= highest:
        raise ValueError(f"{number} is not within {lowest} and {highest}")
    return number


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError(f'"{text}" is no number') from None
    if not number.is_finite():
        raise ValueError(f'"{text}" is no finite number')
    return number


def _numeric(precision: int | None, scale: int | None) -> Callable[[str], Decimal]:
    """A server would round what has too many digits, without a word."""

    def parse(text: str) -> Decimal:
        number = _decimal(text)
        if precision is not None:
            kept = scale or 0
            exponent = number.normalize().as_tuple().exponent
            assert isinstance(exponent, int)
            if -exponent > kept:
                raise ValueError(f"{number} has {-exponent} decimals and the column keeps {kept}")
            if number and number.adjusted() >= precision - kept:
                raise ValueError(f"{number} has more than {precision - kept} digits before the point")
        return number

    return parse


def _float(text: str) -> float:
    number = float(_decimal(text))
    if math.isinf(number):
        raise ValueError(f'"{text}" is beyond every float')
    return number


def _sqlite_number(number: Decimal) -> int | float:
    whole = int(number)
    return whole if whole == number and abs(whole) < 2**63 else float(number)


def _enum(names: list[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f'"{text}" is none of {", ".join(names)}')
        return text

    return parse


def _json(text: str) -> str:
    try:
        json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    return text


def _uuid(text: str) -> UUID:
    try:
        return UUID(text.strip())
    except ValueError:
        raise ValueError(f'"{text}" is no UUID') from None


def _bits(length: int) -> Callable[[str], bytes]:
    def parse(text: str) -> bytes:
        word = text.strip().lower()
        number = int(_boolean(word)) if word in _TRUE | _FALSE else _integer(word, 0, 2**length - 1)
        return number.to_bytes((length + 7) // 8, "big")

    return parse


def _moment(type_: sql.TypeEngine[Any], dialect: str) -> Callable[[str], object]:
    """Dates and times in ISO 8601. A server would drop a zone that its column lacks, and digits, without a word."""
    kind: type[date] | type[time] = (
        datetime if isinstance(type_, sql.DateTime) else time if isinstance(type_, sql.Time) else date
    )
    digits = getattr(type_, "precision", None)
    if dialect == "mysql":
        digits = getattr(type_, "fsp", None) or 0
    zoned = bool(getattr(type_, "timezone", False))

    def parse(text: str) -> object:
        try:
            found = kind.fromisoformat(text.strip())
        except ValueError:
            raise ValueError(f'"{text}" is no {kind.__name__} such as {_EXAMPLES[kind]}') from None
        if isinstance(found, datetime | time):
            _check_zone(text, found, zoned)
            if digits is not None and digits < 6 and found.microsecond % 10 ** (6 - digits):
                raise ValueError(f'the column keeps {digits} digits of the second, "{text}" has more')
        if dialect == "mysql" and isinstance(found, time):
            return timedelta(
                hours=found.hour, minutes=found.minute, seconds=found.second, microseconds=found.microsecond
            )
        return found

    return parse


_EXAMPLES: dict[type, str] = {datetime: "2026-01-31T12:00:00", date: "2026-01-31", time: "12:00:00"}


def _check_zone(text: str, found: datetime | time, zoned: bool) -> None:
    if zoned and found.tzinfo is None:
        raise ValueError(f'"{text}" names no zone, such as +00:00, and the column has one')
    if not zoned and found.tzinfo is not None:
        raise ValueError(f'"{text}" names a zone, and the column has none')
