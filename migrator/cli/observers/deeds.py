"""What an operator sees meanwhile of a command that does something to one thing after the other."""

import time
from collections.abc import Callable, Mapping, Sequence

from migrator.cli.observers.lines import LOUD, shown
from migrator.cli.observers.pace import Pace
from migrator.cli.observers.several import Silent
from migrator.cli.output import complain
from migrator.core.ports import EventKind

Show = Callable[[Sequence[Mapping[str, str]]], None]


class Deeds(Silent):
    """Hands the things of each event `kind` (its detail `within`) to `show`; without it, counts them on stderr."""

    def __init__(
        self,
        kind: EventKind,
        within: str,
        noun: str,
        show: Show | None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kind = kind
        self._within = within
        self._show = show
        self._pace = Pace(noun, now)
        self._seen = 0

    def event(self, kind: EventKind, message: str, **details: object) -> None:
        if kind in LOUD:
            complain([str(shown(message))])
        if kind is not self._kind:
            return
        if self._show:
            things = details[self._within]
            assert isinstance(things, list)
            self._show(things)
            return
        self._seen += int(str(details["looked_at"]))
        self._pace.seen(self._seen, expected=int(str(details.get("of", 0))))
