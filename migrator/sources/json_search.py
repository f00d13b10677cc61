"""Finds the locations in one JSON document that is held in memory: fast, and only when nothing about it is odd.

A location is every string under one of the wanted names at any depth, alone or in a list. Anything that would make a
problem, or that orjson reads otherwise than `json_events` (names that stand twice, fractions, depth), is left to it.
"""

import re
from collections.abc import Collection, Mapping

import orjson

Fields = Mapping[str, str | None] | None
"""The scalar values of the object in which a location stood, of the names that templates use."""

_PLAIN_NAME = re.compile(r"[ !#-.0-\[\]-~]+")
"""Names that JSON can write differently only with `\\u00..`."""

_ESCAPED_NAME = re.compile(rb'\\u00[2-7][^"]*"[ \t\r\n]*:')


class _Odd(Exception):
    """The document needs the long way."""


class JsonSearch:
    """A search for `wanted` names that collects the values of `field_names`."""

    def __init__(self, wanted: Collection[str], field_names: Collection[str]) -> None:
        self._wanted = frozenset(wanted)
        self._field_names = frozenset(field_names)
        self._tracked = self._wanted | self._field_names
        self._written = tuple(b'"' + name.encode("utf-8", "surrogatepass") + b'"' for name in self._tracked)
        self._plain = all(map(_PLAIN_NAME.fullmatch, self._tracked))

    def find(self, data: bytes) -> list[tuple[str, Fields]] | None:
        """Every location in document order with its fields; None when the document has to go the long way."""
        if b"\\" in data and (not self._plain or (b"\\u00" in data and _ESCAPED_NAME.search(data))):
            return None
        found: list[tuple[str, dict[str, object]]] = []
        try:
            seen = self._object_or_list(orjson.loads(data), found)
            # A name that stands twice in an object is lost in its dict, but not in the text.
            if seen != sum(map(data.count, self._written)):
                return None
            if not self._field_names:
                return [(text, None) for text, _ in found]
            return [(text, self._fields(owner)) for text, owner in found]
        except (orjson.JSONDecodeError, RecursionError, _Odd):
            return None

    def _object_or_list(self, node: object, found: list[tuple[str, dict[str, object]]]) -> int:
        """Searches `node`; returns how many tracked names were seen."""
        seen = 0
        if type(node) is dict:
            for name, value in node.items():
                kind = type(value)
                if name in self._tracked:
                    seen += 1
                    if name in self._wanted:
                        if kind is str and value:
                            found.append((value, node))
                        elif kind is list:
                            seen += self._wanted_list(value, node, found)
                        elif kind is dict:
                            seen += self._object_or_list(value, found)
                        else:
                            raise _Odd
                        continue
                if kind is dict or kind is list:
                    seen += self._object_or_list(value, found)
        elif type(node) is list:
            for value in node:
                if type(value) is dict or type(value) is list:
                    seen += self._object_or_list(value, found)
        return seen

    def _wanted_list(
        self, values: list[object], owner: dict[str, object], found: list[tuple[str, dict[str, object]]]
    ) -> int:
        seen = 0
        for value in values:
            if type(value) is str and value:
                found.append((value, owner))
            elif type(value) is list:
                seen += self._wanted_list(value, owner, found)
            elif type(value) is dict:
                seen += self._object_or_list(value, found)
            else:
                raise _Odd
        return seen

    def _fields(self, owner: dict[str, object]) -> Fields:
        fields: dict[str, str | None] = {}
        for name in self._field_names:
            value = owner.get(name)
            if type(value) is str:
                fields[name] = value
            elif type(value) is bool:
                fields[name] = "true" if value else "false"
            elif type(value) is int:
                fields[name] = str(value)
            elif type(value) is float:
                # As JSON wrote it, 1.50 is "1.50"; a float no longer knows.
                raise _Odd
        return fields
