"""The last rollback as people read of it. left_alone.csv: everything that it did not undo, a line each."""

import csv
from collections.abc import Iterable, Sequence
from typing import Protocol, TextIO

from msgspec import Struct

from migrator.core.secrets import mask_text
from migrator.core.undoing import LeftAlone
from migrator.reports import words

COLUMNS = ("kind", "name", "source", "fault", "message", "what_to_do")


class Ran(Protocol):
    """A run, as far as it tells how a rollback ended."""

    @property
    def number(self) -> int: ...
    @property
    def command(self) -> str: ...
    @property
    def started_at(self) -> int: ...
    @property
    def finished_at(self) -> int | None: ...


class RolledBack(Struct, frozen=True):
    """The last rollback; without `finished_at` it was interrupted. `left` counts what it left alone."""

    run: int
    started_at: int
    finished_at: int | None
    left: int
    first: tuple[LeftAlone, ...] = ()

    @property
    def when(self) -> str:
        """Its end, or that it has none yet."""
        if self.finished_at is None:
            return f"begun {words.moment(self.started_at)} and interrupted; the same command goes on with it"
        return words.moment(self.finished_at)


def rolled_back(runs: Sequence[Ran], left: int, first: tuple[LeftAlone, ...]) -> RolledBack | None:
    """The last of `runs` that undid something; None where none did."""
    last = next((run for run in reversed(runs) if run.command == "rollback"), None)
    return RolledBack(last.number, last.started_at, last.finished_at, left, first) if last else None


def left_tree(each: LeftAlone) -> dict[str, object]:
    """As plain values, named as in COLUMNS."""
    advice = words.LEFT_ADVICE.get(each.fault, words.LEFT_ADVICE_ELSE)
    values = (each.kind, each.name, each.source, each.fault.value, mask_text(each.message), advice)
    return dict(zip(COLUMNS, values, strict=True))


def rolled_back_tree(seen: RolledBack) -> dict[str, object]:
    """As plain values."""
    return {
        "run": seen.run,
        "started": words.moment(seen.started_at),
        "finished": words.moment(seen.finished_at) if seen.finished_at is not None else None,
        "left_alone": seen.left,
        "first_left_alone": [left_tree(each) for each in seen.first],
    }


def write_left_alone(left: Iterable[LeftAlone], file: TextIO) -> None:
    """Writes one line a thing that was left alone, as they come."""
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(COLUMNS)
    lines.writerows(left_tree(each).values() for each in left)
