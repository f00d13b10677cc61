"""Manifests read by lines: the formats `csv` and `txt`, and the lines themselves."""

import csv
from collections.abc import Collection, Iterator
from typing import BinaryIO

from migrator.sources.found import Finder
from migrator.sources.locations import Locator
from migrator.sources.page import Result

LONGEST_LINE = 8 * 1024 * 1024

_DELIMITERS = ",;\t|"
_SHOWN_COLUMNS = 20


def lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """(number from 1, line with its end); None for a line that is longer than memory should hold."""
    number = 0
    while line := stream.readline(LONGEST_LINE):
        number += 1
        if len(line) < LONGEST_LINE or line.endswith(b"\n"):
            yield number, line
        else:
            while (rest := stream.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
            yield number, None


def text_locations(stream: BinaryIO, finder: Finder) -> Iterator[Result]:
    """One location a line; blank lines and those that begin with # say nothing."""
    for number, line in lines(stream):
        if line is None:
            yield finder.flaw(f"line {number}", "this line is too long to be a location")
            continue
        text = line.decode(errors="surrogateescape").strip()
        if text and not text.startswith("#"):
            yield finder.make(text, None, f"line {number}")


class CsvManifests:
    """Reads the CSV manifests of one source: the first row names the columns, `wanted` are those with locations."""

    def __init__(self, locator: Locator, wanted: Collection[str]) -> None:
        self._wanted = frozenset(wanted)
        self._field_names = locator.field_names

    def results(self, stream: BinaryIO, finder: Finder) -> Iterator[Result]:
        """The results of one file, row by row. A row that does not fit the header is a problem."""
        source = _TextLines(stream)
        first = source.peek()
        if first is None:
            yield finder.flaw("line 1", "this file is empty: the first row must name the columns")
            return
        rows = csv.reader(source, delimiter=max(_DELIMITERS, key=first.count), strict=True)
        header: list[str] | None = None
        while True:
            start = source.number + 1
            try:
                row = next(rows)
            except StopIteration:
                break
            except csv.Error as error:
                yield finder.flaw(f"line {start}", f"this row is not valid CSV ({error}): check its quotes")
                continue
            yield from (finder.flaw(f"line {number}", "this line is too long") for number in source.take_dropped())
            if header is None:
                header = [name.strip() for name in row]
                yield from self._header_flaws(header, finder)
                if self._wanted.isdisjoint(header):
                    return
            elif row:
                yield from self._row(row, header, start, finder)

    def _header_flaws(self, header: list[str], finder: Finder) -> Iterator[Result]:
        if self._wanted.isdisjoint(header):
            names = ", ".join(header[:_SHOWN_COLUMNS])
            yield finder.flaw("line 1", f"no column is named {' or '.join(sorted(self._wanted))}; there are: {names}")
        for name in sorted(self._wanted | self._field_names):
            if header.count(name) > 1:
                yield finder.flaw("line 1", f"the column {name!r} stands twice: name it once")

    def _row(self, row: list[str], header: list[str], line: int, finder: Finder) -> Iterator[Result]:
        if len(row) != len(header):
            yield finder.flaw(f"line {line}", f"this row has {len(row)} cells where the header names {len(header)}")
            return
        fields = {name: row[header.index(name)] for name in self._field_names if name in header}
        for name, cell in zip(header, row, strict=True):
            if name in self._wanted:
                position = f"line {line}, column {name}"
                if cell.strip():
                    yield finder.make(cell, fields, position)
                else:
                    yield finder.flaw(position, f"{name!r} is empty where a location is expected")


class _TextLines:
    """Lines as text, counted; bytes that are not UTF-8 come through as surrogates, which no location may hold."""

    def __init__(self, stream: BinaryIO) -> None:
        self._lines = lines(stream)
        self._next: str | None = None
        self._dropped: list[int] = []
        self.number = 0

    def __iter__(self) -> "_TextLines":
        return self

    def __next__(self) -> str:
        if self._next is not None:
            text, self._next = self._next, None
            self.number += 1
            return text
        for number, line in self._lines:
            self.number = number
            if line is not None:
                return line.decode(errors="surrogateescape")
            self._dropped.append(number)
        raise StopIteration

    def peek(self) -> str | None:
        """The first line, which is read again afterwards."""
        self._next = next(self, None)
        self.number = 0
        return self._next

    def take_dropped(self) -> list[int]:
        """Numbers of the lines that were too long, since the last call."""
        dropped, self._dropped = self._dropped, []
        return dropped
