"""Gathers what a scan finds into pages, and shows names that no terminal could print."""

from time import monotonic

from migrator.core.model import Item, Page, Problem

PAGE_ENTRIES = 2_000
PAGE_SECONDS = 1.0
"""A slow scan gives what it has after this long, so that moving can start."""

Result = Item | Problem | None
"""What became of one entry or location; None: left out by the source's own rules."""


class PageBuilder:
    """The page in the making."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._items: list[Item] = []
        self._problems: list[Problem] = []
        self._skipped = 0
        self._room = PAGE_ENTRIES
        self._deadline = monotonic() + PAGE_SECONDS

    def add(self, result: Result) -> None:
        """Takes one result."""
        if type(result) is Item:
            self._items.append(result)
            self._room -= 1
        elif result is None:
            self._skipped += 1
        else:
            self._problems.append(result)  # type: ignore[arg-type]
            self._room -= 1

    @property
    def due(self) -> bool:
        """Whether the page is full or old enough to be given away."""
        return self._room <= 0 or monotonic() >= self._deadline

    @property
    def empty(self) -> bool:
        """Whether nothing was found since the last page."""
        return self._room == PAGE_ENTRIES and not self._skipped

    def take(self, cursor: str) -> Page:
        """The page as it is; the next one begins empty."""
        page = Page(tuple(self._items), tuple(self._problems), cursor, self._skipped)
        self._begin()
        return page


def shown(path: str) -> str:
    """`path` in printable characters: raw bytes as `\\xff`, control characters escaped."""
    return path if path.isprintable() else "".join(map(_shown_character, path))


def _shown_character(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    # A byte that is not UTF-8 stands in a name as a lone surrogate (PEP 383).
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape").decode()
