"""What an operator sees of a verification meanwhile."""

import time
from collections.abc import Callable

from migrator.cli.observers.lines import LOUD, shown
from migrator.cli.observers.pace import Pace
from migrator.cli.observers.several import Silent
from migrator.cli.output import complain
from migrator.core.ports import EventKind


class Verifying(Silent):
    """A line on stderr now and then: how many objects were looked at. `each`: one for each difference, too."""

    def __init__(self, *, each: bool, now: Callable[[], float] = time.monotonic) -> None:
        self._each = each
        self._pace = Pace("object", now)
        self._before: int | None = None

    def event(self, kind: EventKind, message: str, **details: object) -> None:
        if kind is EventKind.VERIFIED:
            seen, expected = int(str(details["objects"])), int(str(details["of"]))
            if self._before is None:
                self._before = seen  # what an interrupted verification had done before is nobody's speed
            self._pace.seen(seen, self._before, expected)
        elif kind is EventKind.DIFFERENT and self._each:
            complain([f"{details['result']} {shown(details['key'])}: {shown(message)}"])
        elif kind in LOUD:
            complain([str(shown(message))])
