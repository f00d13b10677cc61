"""Values of database rows as JSON text and back, exactly: the same value is always the same text.

What JSON has stands as it is; everything else is an object of one member whose name begins with `$`:
`{"$decimal": "1.10"}`. Objects that could be taken for that are spelled as `{"$object": [[name, value], ...]}`.
"""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Any, NamedTuple
from uuid import UUID

import orjson

_LARGEST = 2**63 - 1
"""Integers beyond it are not read alike by everything that reads JSON: they travel as text."""

_PLAIN = frozenset({str, bool, type(None)})


def spelled(values: Mapping[str, object]) -> str:
    """Column -> value as a JSON object, names sorted. Raises TypeError, naming the column, for a type no column has."""
    try:
        return _dumped(_object(values))
    except _Foreign as error:
        column = next(name for name, value in values.items() if not _known(value))
        raise TypeError(f"the column {column} holds {error}") from None


def spelled_key(values: Sequence[object]) -> str:
    """Values as a JSON array. Raises TypeError for a type that no column has."""
    try:
        return _dumped([value if type(value) in _PLAIN else _tagged(value) for value in values])
    except _Foreign as error:
        raise TypeError(f"the key holds {error}") from None


def read_values(text: str) -> dict[str, object]:
    """What `spelled` was given."""
    found = _read(orjson.loads(text))
    assert isinstance(found, dict)
    return found


def read_key(text: str) -> tuple[object, ...]:
    """What `spelled_key` was given."""
    found = _read(orjson.loads(text))
    assert isinstance(found, list)
    return tuple(found)


class _Foreign(TypeError):
    """A value of a type that is not spelled here."""


def _known(value: object) -> bool:
    try:
        _tagged(value)
    except _Foreign:
        return False
    return True


def _dumped(tree: object) -> str:
    try:
        return orjson.dumps(tree, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:  # text that is no Unicode (a lone surrogate)
        return orjson.dumps(_safe(tree), option=orjson.OPT_SORT_KEYS).decode()


def _object(values: Mapping[str, object]) -> dict[str, object]:
    tree = {name: value if type(value) in _PLAIN else _tagged(value) for name, value in values.items()}
    if len(tree) == 1 and next(iter(tree)).startswith("$"):
        return {"$object": [[name, value] for name, value in tree.items()]}
    return tree


def _tagged(value: object) -> object:
    """The JSON tree of a value; whether its text is Unicode is not looked at."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, int):
        return int(value) if -_LARGEST <= value <= _LARGEST else {"$integer": str(int(value))}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    spelling = _SPELLINGS.get(kind)
    if spelling is not None:
        return {spelling.name: spelling.write(value)}
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list | tuple):
        return [_tagged(part) for part in value]
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise _Foreign("an object whose names are no text")
        return _object(value)
    if isinstance(value, bytearray | memoryview):
        return _tagged(bytes(value))
    raise _Foreign(f"a value of the type {kind.__name__}, which cannot be kept exactly: cast it to text in the query")


def _safe(tree: object) -> object:
    """A tagged tree without text that JSON cannot hold."""
    if isinstance(tree, str):
        return tree if _is_unicode(tree) else {"$text": tree.encode("unicode_escape").decode("ascii")}
    if isinstance(tree, list):
        return [_safe(part) for part in tree]
    if isinstance(tree, dict):
        if all(_is_unicode(name) for name in tree):
            return {name: _safe(part) for name, part in tree.items()}
        return {"$object": [[_safe(name), _safe(tree[name])] for name in sorted(tree)]}
    return tree


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(tree: object) -> object:
    if isinstance(tree, list):
        return [_read(part) for part in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        ((name, part),) = tree.items()
        if name.startswith("$"):
            return _READINGS[name](part)
    return {name: _read(part) for name, part in tree.items()}


class _Spelling(NamedTuple):
    name: str
    write: Callable[[Any], object]
    read: Callable[[Any], object]


def _whole_duration(value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


_SPELLINGS: dict[type, _Spelling] = {
    bytes: _Spelling("$bytes", lambda value: base64.b64encode(value).decode("ascii"), base64.b64decode),
    Decimal: _Spelling("$decimal", str, Decimal),
    UUID: _Spelling("$uuid", str, UUID),
    date: _Spelling("$date", date.isoformat, date.fromisoformat),
    datetime: _Spelling("$datetime", datetime.isoformat, datetime.fromisoformat),
    time: _Spelling("$time", time.isoformat, time.fromisoformat),
    timedelta: _Spelling("$duration", _whole_duration, lambda parts: timedelta(*parts)),
    **{kind: _Spelling("$address", str, ip_address) for kind in (IPv4Address, IPv6Address)},
    **{kind: _Spelling("$interface", str, ip_interface) for kind in (IPv4Interface, IPv6Interface)},
    **{kind: _Spelling("$network", str, ip_network) for kind in (IPv4Network, IPv6Network)},
}

_READINGS: dict[str, Callable[[Any], object]] = {
    **{spelling.name: spelling.read for spelling in _SPELLINGS.values()},
    "$integer": int,
    "$float": float,
    "$text": lambda part: part.encode("ascii").decode("unicode_escape"),
    "$object": lambda pairs: {_read(name): _read(part) for name, part in pairs},
}
