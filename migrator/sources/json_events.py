"""Finds the locations in a JSON document as a stream of events: any size, any depth, with the position of each trouble.

The meaning of everything is defined here; `json_search` is a short cut to the same results. A name that stands twice in
one object is a problem: every location under it counts all the same, of a template's value the first does.
"""

import re
from collections.abc import Collection, Iterator
from json import dumps
from typing import BinaryIO

import ijson

from migrator.sources.found import Finder
from migrator.sources.page import Result

CHUNK = 16_384
DEEPEST = 100_000
LARGEST_CHUNK = 32 * CHUNK
LONGEST_VALUE = 8 * 1024 * 1024
MOST_WAITING = 100_000
"""Locations that wait for a field further on in their object; beyond it they go without."""

_LONGEST_POSITION = 300

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.S
)
_ESCAPE_TAIL = b"\\uU0123456789abcdefABCDEF"


class MalformedJson(ValueError):
    """The document ends in the middle or is no JSON; `offset` is a byte at or shortly before the place."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class _Frame:
    """An object or a list that is open."""

    __slots__ = ("fields", "index", "is_list", "name", "owner", "seen", "waiting", "wanted")

    def __init__(self, is_list: bool, wanted: bool, owner: "_Frame | None") -> None:
        self.is_list = is_list
        self.wanted = wanted
        """Of a list: whether its strings are locations. Of an object: whether the current name is a wanted one."""
        self.owner = owner or self
        """The nearest object."""
        self.index = -1
        self.name = ""
        self.seen: set[str] = set()
        self.fields: dict[str, str | None] = {}
        self.waiting: list[tuple[str, str]] = []


class EventSearch:
    """The search through one document: fed with its events, gives results."""

    def __init__(self, wanted: Collection[str], field_names: Collection[str], finder: Finder) -> None:
        self._wanted = frozenset(wanted)
        self._field_names = frozenset(field_names)
        self._tracked = self._wanted | self._field_names
        self._finder = finder
        self._stack: list[_Frame] = [_Frame(True, False, None)]
        self._results: list[Result] = []

    def results(self, events: list[tuple[str, object]]) -> list[Result]:
        """What the events bring. Raises MalformedJson when the nesting is beyond all reason."""
        for event, value in events:
            if event == "map_key":
                self._named(str(value))
            elif event == "start_map" or event == "start_array":
                self._open(event == "start_array")
            elif event == "end_map" or event == "end_array":
                self._close()
            else:
                self._scalar(event, value)
        taken, self._results = self._results, []
        return taken

    def _named(self, name: str) -> None:
        frame = self._stack[-1]
        frame.name = name
        frame.wanted = name in self._wanted
        if name in self._tracked:
            if name in frame.seen:
                self._trouble(f"the name {name!r} stands twice in one object: say it once")
            frame.seen.add(name)

    def _open(self, is_list: bool) -> None:
        frame = self._stack[-1]
        frame.index += 1
        if len(self._stack) > DEEPEST:
            raise MalformedJson(f"nested deeper than {DEEPEST:,} levels", 0)
        self._stack.append(_Frame(is_list, is_list and frame.wanted, frame.owner if is_list else None))

    def _close(self) -> None:
        frame = self._stack.pop()
        if frame.waiting:
            self._release(frame)

    def _scalar(self, event: str, value: object) -> None:
        frame = self._stack[-1]
        frame.index += 1
        if not frame.is_list and frame.name in self._field_names and frame.name not in frame.fields:
            frame.fields[frame.name] = _text(event, value)
            if frame.waiting and len(frame.fields) == len(self._field_names):
                self._release(frame)
        if not frame.wanted:
            return
        if event == "string" and value:
            self._location(str(value), frame.owner)
        else:
            name = frame.owner.name
            kind = "an empty string" if event == "string" else "null" if event == "null" else f"a {event}"
            self._trouble(f"{name!r} is {kind} where a location is expected")

    def _location(self, text: str, owner: _Frame) -> None:
        if len(owner.fields) == len(self._field_names):
            self._results.append(self._finder.make(text, owner.fields, self._position))
            return
        owner.waiting.append((text, self._position()))
        if len(owner.waiting) >= MOST_WAITING:
            self._release(owner)

    def _release(self, frame: _Frame) -> None:
        waiting, frame.waiting = frame.waiting, []
        self._results += [self._finder.make(text, frame.fields, position) for text, position in waiting]

    def _trouble(self, message: str) -> None:
        self._results.append(self._finder.flaw(self._position(), message))

    def _position(self) -> str:
        """Where the current value stands, as `$.images[3].image_url`."""
        pieces = [_step(frame) for frame in self._stack[1:]]
        text = "$" + "".join(pieces)
        half = _LONGEST_POSITION // 2
        return text if len(text) <= _LONGEST_POSITION else f"{text[:half]}...{text[-half:]}"


def search_stream(stream: BinaryIO, search: EventSearch) -> Iterator[list[Result]]:
    """The results of the whole document, a piece at a time. Raises MalformedJson after those before the break."""
    events = ijson.sendable_list()
    parser = ijson.basic_parse_coro(events)
    offset = quiet = 0
    carried = b""
    while True:
        # yajl reads an unfinished value again with every chunk: larger ones keep that from growing with its square.
        raw = stream.read(min(max(CHUNK, quiet), LARGEST_CHUNK))
        data, carried = _whole_escapes(carried + raw, final=not raw)
        broken = _feed(parser, events, data, final=not raw)
        quiet = 0 if events or not data.strip() else quiet + len(data)
        yield search.results(events)
        events.clear()
        if broken:
            raise MalformedJson(broken, offset)
        if quiet > LONGEST_VALUE:
            raise MalformedJson(f"a single value is longer than {LONGEST_VALUE:,} bytes", offset)
        if not raw:
            return
        offset += len(raw)


def _feed(parser: "ijson.common.ObjectBuilder", events: list[tuple[str, object]], data: bytes, *, final: bool) -> str:
    """Feeds the parser; says what is wrong, or nothing."""
    try:
        if data:
            parser.send(data)
        if final:
            parser.close()
    except ijson.IncompleteJSONError as error:
        return "the document ends in the middle" if "premature EOF" in str(error) else "this is not JSON"
    except UnicodeDecodeError:
        return "a text is not valid UTF-8"
    except (ijson.JSONError, StopIteration):
        return "this is not JSON"
    except (SystemError, ValueError):
        # A number of thousands of digits: CPython refuses it, and the C parser leaves an event without a value.
        del events[-1:]
        return "a number has too many digits"
    return ""


def _whole_escapes(data: bytes, *, final: bool) -> tuple[bytes, bytes]:
    """(data with half surrogate pairs made NUL, what to carry over). yajl reads such halves as a plain `?`."""
    if b"\\" not in data:
        return data, b""
    kept = data if final else data.rstrip(_ESCAPE_TAIL)
    if len(data) - len(kept) > CHUNK:
        kept = data
    carried = data[len(kept) :]
    if _SURROGATE.search(kept):
        kept = _ESCAPES.sub(lambda found: b"\\u0000" if found["lone"] else found[0], kept)
    return kept, carried


def _step(frame: _Frame) -> str:
    if frame.is_list:
        return f"[{max(frame.index, 0)}]"
    return f".{frame.name}" if frame.name.isidentifier() else f"[{dumps(frame.name)}]"


def _text(event: str, value: object) -> str | None:
    if event == "boolean":
        return "true" if value else "false"
    return None if event == "null" else str(value)
