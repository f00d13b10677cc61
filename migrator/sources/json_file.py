"""Manifests of the formats `json` (one document a file) and `jsonl` (one a line)."""

import io
import json
from collections.abc import Collection, Iterator
from typing import BinaryIO

import orjson

from migrator.sources.found import Finder
from migrator.sources.json_events import EventSearch, MalformedJson, search_stream
from migrator.sources.json_search import JsonSearch
from migrator.sources.lines import lines
from migrator.sources.locations import Locator
from migrator.sources.page import Result


class JsonManifests:
    """Reads the JSON manifests of one source: `wanted` are the names under which locations stand."""

    def __init__(self, locator: Locator, wanted: Collection[str]) -> None:
        self._locator = locator
        self._wanted = wanted
        self._search = JsonSearch(wanted, locator.field_names)

    def document(self, data: bytes, finder: Finder) -> list[Result]:
        """The results of a document in memory: UTF-8 without a byte order mark."""
        quick = self._quick(data)
        return self._long(data, finder, keep=True) if quick is None else quick

    def stream(self, stream: BinaryIO, finder: Finder) -> Iterator[Result]:
        """The results of a document of any size; what stands before a break counts."""
        try:
            for results in search_stream(stream, self._events(finder)):
                yield from results
        except MalformedJson as error:
            yield finder.flaw(f"byte {error.offset} or soon after", f"{error}: nothing after it was read")

    def lines(self, stream: BinaryIO, finder: Finder) -> Iterator[Result]:
        """The results of a document a line. A malformed line gives a problem and nothing else."""
        for number, line in lines(stream):
            if line is None:
                yield finder.flaw(f"line {number}", "this line is too long to be read")
            elif not line.isspace():
                quick = self._quick(line)
                yield from self._long(line, finder.at(f"line {number}: "), keep=False) if quick is None else quick

    def _quick(self, data: bytes) -> list[Result] | None:
        found = self._search.find(data)
        if found is None:
            return None
        try:
            return [self._locator.item(text, fields) for text, fields in found]
        except ValueError:
            # The long way knows where it stands.
            return None

    def _long(self, data: bytes, finder: Finder, *, keep: bool) -> list[Result]:
        results: list[Result] = []
        try:
            for piece in search_stream(io.BytesIO(data), self._events(finder)):
                results += piece
        except MalformedJson as error:
            line, column = _syntax_error(data) or (1, error.offset + 1)
            where = f"line {line}, column {column}" if keep else f"column {column}"
            flaw = finder.flaw(where, f"{error}: nothing after it was read")
            return [*results, flaw] if keep else [flaw]
        return results

    def _events(self, finder: Finder) -> EventSearch:
        return EventSearch(self._wanted, self._locator.field_names, finder)


def _syntax_error(data: bytes) -> tuple[int, int] | None:
    """(line, column) of the first thing that is no JSON."""
    for parse in (json.loads, orjson.loads):
        try:
            parse(data)
        except json.JSONDecodeError as error:
            return error.lineno, error.colno
        except UnicodeDecodeError as error:
            return data.count(b"\n", 0, error.start) + 1, error.start - data.rfind(b"\n", 0, error.start)
        except (ValueError, RecursionError):
            continue
    return None
