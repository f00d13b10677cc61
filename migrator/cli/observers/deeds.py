"""What an operator sees meanwhile of a command that does something to one thing after the other."""

from collections.abc import Callable, Mapping, Sequence

from migrator.cli.observers.several import Silent
from migrator.cli.output import complain
from migrator.core.ports import EventKind
from migrator.reports import words

EVERY = 1000
"""Things between two lines of progress."""

Show = Callable[[Sequence[Mapping[str, str]]], None]


class Deeds(Silent):
    """Hands the things of each event `kind` (its detail `within`) to `show`; without it, counts them on stderr."""

    def __init__(self, kind: EventKind, within: str, noun: str, show: Show | None) -> None:
        self._kind = kind
        self._within = within
        self._noun = noun
        self._show = show
        self._seen = self._said = 0

    def event(self, kind: EventKind, message: str, **details: object) -> None:
        del message
        if kind is not self._kind:
            return
        if self._show:
            things = details[self._within]
            assert isinstance(things, list)
            self._show(things)
            return
        self._seen += int(str(details["looked_at"]))
        if self._seen - self._said >= EVERY:
            self._said = self._seen
            complain([f"{words.count(self._seen, self._noun)} looked at"])
