"""The source `bucket`: every object of a bucket, listed a page at a time; its ETag is its fingerprint."""

import json
from collections.abc import Iterator

from migrator.clients.listing import Listed, Lister
from migrator.clients.pages import Position
from migrator.core.config import BucketSource, Transfer
from migrator.core.errors import Forbidden, Invalid, PreflightError
from migrator.core.keys import KeyMaker, Naming, NoMatch, TemplateError
from migrator.core.model import RESERVED_PREFIX, Fault, Item, Page, Problem
from migrator.core.places import Place, s3_location
from migrator.sources.globs import Selection
from migrator.sources.page import PageBuilder, Result, shown


class BucketScan:
    """Lists the objects of a `bucket` source. `destination` is the bucket that everything goes to, if it is one."""

    def __init__(
        self,
        config: BucketSource,
        naming: Naming,
        *,
        place: Place,
        destination: Place | None,
        transfer: Transfer,
    ) -> None:
        self.name = config.name
        # A name alone cannot tell; but to scan such a source first costs nothing but the overlap.
        self.lists_destination = destination is not None and destination.bucket == place.bucket
        self._config = config
        self._place = place
        self._destination = destination
        self._transfer = transfer
        self._reserved = naming.prefix + RESERVED_PREFIX
        self._keys = KeyMaker(config.key, naming, match=config.match)
        self._selection = Selection(config.include, config.exclude)
        self._largest = float("inf") if config.max_size is None else config.max_size
        self._smallest = max(config.min_size or 0, 1 if config.expect == "image" else 0)

    def scan(self, cursor: str | None) -> Iterator[Page]:
        """Every object behind `cursor`, as the server lists them: in the order of keys, unless it has its own."""
        start = position = _read_cursor(cursor)
        page, first = PageBuilder(), cursor is None
        with Lister(self._place, self._transfer) as lister:
            try:
                here = self._destination is not None and lister.is_same(self._destination, self._config.prefix)
                for objects, position in self._pages(lister, start):
                    for found in objects:
                        if not (here and found.key.startswith(self._reserved)):
                            page.add(self._result(found, here))
                    if page.due:
                        yield page.take(_cursor(position))
                        first = False
            except (Forbidden, Invalid) as error:
                raise PreflightError(error.message, error.hint) from error
        if not page.empty or first:
            yield page.take(_cursor(position))

    def _pages(self, lister: Lister, position: Position) -> Iterator[tuple[list[Listed], Position]]:
        """From `position`; from the beginning where its token is no longer taken: what is listed twice is one item."""
        pages = lister.pages(self._config.prefix, position)
        try:
            begun = next(pages)
        except Invalid:
            if not position.token:
                raise
            pages = lister.pages(self._config.prefix, Position())
        else:
            yield begun
        yield from pages

    def _result(self, found: Listed, here: bool) -> Result:
        path = found.key
        location = s3_location(self._place.bucket, path)
        if not self._selection.everything and not self._selection.takes(path):
            return None
        trouble = self._trouble(found)
        if trouble:
            return _problem(location, trouble)
        try:
            key, carried = self._keys.make(path, bucket=self._place.bucket)
        except NoMatch as error:
            return None if self._config.on_no_match == "skip" else _problem(location, str(error))
        except TemplateError as error:
            return _problem(location, str(error))
        return Item(location, key, found.size, found.etag, carried, None, None, path if here else None)

    def _trouble(self, found: Listed) -> str:
        if not found.key.isascii():
            try:
                found.key.encode()
            except UnicodeEncodeError:
                return "the key is not valid UTF-8"
        if self._smallest <= found.size <= self._largest:
            return ""
        if found.size == 0 and self._config.expect == "image":
            return "an empty object where an image is expected"
        bound = "min_size" if found.size < self._smallest else "max_size"
        limit = self._smallest if bound == "min_size" else self._largest
        return f"{found.size} bytes, where {bound} is {limit}"


def _cursor(position: Position) -> str:
    """The last key as JSON; an array of the server's token and marker where a key is not what it goes on by."""
    return json.dumps([position.token, position.marker] if position.token or position.marker else position.after)


def _read_cursor(cursor: str | None) -> Position:
    found: str | list[str] = json.loads(cursor) if cursor else ""
    return Position(found) if isinstance(found, str) else Position("", *found)


def _problem(location: str, message: str) -> Problem:
    return Problem(shown(location), "", Fault.INVALID, message)
