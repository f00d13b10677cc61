"""What one manifest file says becomes items and problems that name the file and the position."""

from collections.abc import Callable

from migrator.core.model import Fault, Problem
from migrator.sources.json_search import Fields
from migrator.sources.locations import Locator, Refused
from migrator.sources.page import Result, shown

Position = str | Callable[[], str]
"""Where in a file: text, or what makes the text if it is wanted."""


class Finder:
    """Makes the results of one manifest file; `prefix` stands before every position."""

    def __init__(self, place: str, locator: Locator, prefix: str = "") -> None:
        self._place = shown(place)
        self._locator = locator
        self._prefix = prefix

    def at(self, prefix: str) -> "Finder":
        """The same file, with a prefix before every position (`line 12: `)."""
        return Finder(self._place, self._locator, prefix)

    def make(self, text: str, fields: Fields, position: Position) -> Result:
        """What becomes of the location `text`."""
        try:
            return self._locator.item(text, fields)
        except Refused as error:
            return self.flaw(position, str(error), error.fault)
        except ValueError as error:
            return self.flaw(position, str(error))

    def flaw(self, position: Position, message: str, fault: Fault = Fault.INVALID) -> Problem:
        """Something that is no location."""
        where = position if isinstance(position, str) else position()
        return Problem(self._place, self._prefix + where, fault, message)
