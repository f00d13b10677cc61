"""The source `manifest`: files that name locations, found by a glob and read in the order of their paths."""

import json
import os
import stat
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from msgspec import Struct

from migrator.core.config import ManifestSource
from migrator.core.errors import PreflightError
from migrator.core.keys import Naming
from migrator.core.model import Page
from migrator.sources.encodings import as_utf8, utf8_stream
from migrator.sources.found import Finder
from migrator.sources.globs import PathGlob
from migrator.sources.json_file import JsonManifests
from migrator.sources.lines import CsvManifests, text_locations
from migrator.sources.locations import Locator
from migrator.sources.page import PageBuilder, Result
from migrator.sources.walk import Folder, Position, Walk

SMALL_FILE = 8 * 1024 * 1024
"""Bytes up to which a JSON file is parsed whole."""

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""Opening a named pipe must not wait for somebody to write."""

_WHOLE = "whole file"

_FORMATS = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "txt",
}


class _Cursor(Struct, frozen=True):
    """After `position` in the walk, and after the first `count` results of the file `within`, if any."""

    position: Position
    within: str = ""
    count: int = 0

    def __str__(self) -> str:
        return json.dumps([self.position.folder, self.position.after, self.within, self.count])


class ManifestScan:
    """Lists the locations of a `manifest` source."""

    lists_destination = False

    def __init__(self, config: ManifestSource, naming: Naming) -> None:
        self.name = config.name
        self._config = config
        self._glob = PathGlob(config.files)
        self._locator = Locator(config, naming)
        self._json = JsonManifests(self._locator, config.fields)
        self._csv = CsvManifests(self._locator, config.fields)

    def scan(self, cursor: str | None) -> Iterator[Page]:
        """Every location after `cursor`, in the order of the walk and then of the file."""
        start = _parsed(cursor) if cursor else None
        at = start or _Cursor(Position("", None))
        page = PageBuilder()
        any_file = False
        walk = Walk(self._glob.base, self._glob.enters, follow=True)
        for found in walk.folders(start.position if start else None):
            if not isinstance(found, Folder):
                if found is not None:  # a folder that holds no manifests is nothing that an object was left out of
                    page.add(found)
                continue
            at = _Cursor(found.begin)
            for name in found.files:
                relative = f"{found.relative}/{name}" if found.relative else name
                if not self._glob.takes(relative):
                    continue
                any_file = True
                passed = start.count if start and start.within == relative else 0
                for count, result in enumerate(self._results(os.path.join(found.path, name), walk), 1):
                    if count > passed:
                        page.add(result)
                        if page.due:
                            yield page.take(str(_Cursor(at.position, relative, count)))
                at = _Cursor(found.position(name))
                if page.due:
                    yield page.take(str(at))
        if not any_file and cursor is None:
            raise PreflightError(
                f"no file matches files = {self._config.files!r}", "it is relative to the working directory: correct it"
            )
        if not page.empty or cursor is None:
            yield page.take(str(at))

    def _results(self, path: str, walk: Walk) -> Iterable[Result]:
        finder = Finder(path, self._locator)
        form = self._config.format or _FORMATS.get(os.path.splitext(path)[1].lower())
        if form is None:
            return [finder.flaw(_WHOLE, 'its format is unknown: set format = "json", "jsonl", "csv" or "txt"')]
        if form != "txt" and not self._config.fields:
            return [finder.flaw(_WHOLE, "fields is empty: name those that hold locations")]
        try:
            if form == "json":
                data = _small(path)
                if data is not None:
                    return self._json.document(as_utf8(data), finder)
        except OSError as error:
            return [walk.problem(path, error, "this manifest was not read")]
        except UnicodeDecodeError as error:
            return [_not_unicode(finder, error)]
        return self._streamed(path, form, finder, walk)

    def _streamed(self, path: str, form: str, finder: Finder, walk: Walk) -> Iterator[Result]:
        try:
            with os.fdopen(os.open(path, _READ), "rb") as file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    yield from self._read(utf8_stream(file), form, finder)
                else:
                    yield finder.flaw(_WHOLE, "this is no regular file")
        except OSError as error:
            yield walk.problem(path, error, "the rest of this manifest was not read")
        except UnicodeDecodeError as error:
            yield _not_unicode(finder, error)

    def _read(self, stream: BinaryIO, form: str, finder: Finder) -> Iterator[Result]:
        if form == "json":
            return self._json.stream(stream, finder)
        if form == "jsonl":
            return self._json.lines(stream, finder)
        if form == "csv":
            return self._csv.results(stream, finder)
        return text_locations(stream, finder)


def _small(path: str) -> bytes | None:
    """The whole file; None when it is a large one, or no regular one."""
    # os.open, because a thousand small files cost three times as much through an io stack each.
    descriptor = os.open(path, _READ)
    try:
        status = os.fstat(descriptor)
        if status.st_size > SMALL_FILE or not stat.S_ISREG(status.st_mode):
            return None
        data = os.read(descriptor, status.st_size + 1)
        return data if len(data) == status.st_size else None
    finally:
        os.close(descriptor)


def _not_unicode(finder: Finder, error: UnicodeDecodeError) -> Result:
    return finder.flaw(_WHOLE, f"this is not valid {error.encoding.upper()}: save it as UTF-8")


def _parsed(cursor: str) -> _Cursor:
    folder, after, within, count = json.loads(cursor)
    return _Cursor(Position(folder, after), within, count)
