"""The tree in the docstring is the tree of the classes, and each class ends the process as DESIGN says."""

import re

import pytest

from migrator.core import errors
from migrator.core.errors import ConfigError, Interrupted, MigratorError, ObjectError
from migrator.core.model import Fault, Side

Tree = list[tuple[int, str]]


def _drawn() -> Tree:
    found = re.findall(r"^    ([ │├└─]*)([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE)
    return [(len(lines) // 4, name) for lines, name in found]


def _real(kind: type[MigratorError], depth: int = 0) -> Tree:
    below = [line for child in kind.__subclasses__() for line in _real(child, depth + 1)]
    return [(depth, kind.__name__), *below] if kind.__module__ == errors.__name__ else below


def _all(kind: type[MigratorError] = MigratorError) -> list[type[MigratorError]]:
    # Clients have finer classes of their own, which nobody outside of them needs to tell apart.
    below = (child for child in kind.__subclasses__() if child.__module__ == errors.__name__)
    return [kind, *(each for child in below for each in _all(child))]


def test_the_drawn_tree_is_the_real_one() -> None:
    assert _drawn() == _real(MigratorError)


def test_faults_are_drawn_beside_their_classes() -> None:
    for kind in _all(ObjectError)[1:]:
        line = re.search(rf"── {kind.__name__} +(\w+)", errors.__doc__ or "")
        assert line, f"{kind.__name__} is not drawn"
        assert kind.fault == line[1]  # type: ignore[attr-defined]


def test_every_fault_has_one_class_of_its_own() -> None:
    own = [kind.__dict__["fault"] for kind in _all(ObjectError) if "fault" in kind.__dict__]
    assert sorted(own) == sorted(Fault)


EXITS = {
    "MigratorError": 1,
    "ConfigError": 2,
    "PreflightError": 3,
    "LedgerError": 4,
    "LedgerLocked": 4,
    "LedgerFull": 4,
    "LimitReached": 5,
    "ObjectError": 1,
    "Gone": 1,
    "Forbidden": 1,
    "Unconditional": 1,
    "Invalid": 1,
    "Truncated": 1,
    "Archived": 1,
    "Changed": 1,
    "Conflict": 1,
    "Throttled": 1,
    "Transient": 1,
    "Unrendered": 1,
    "Fatal": 3,
}


def test_exit_statuses() -> None:
    kinds = [kind for kind in _all() if kind.__module__ == errors.__name__ and kind is not Interrupted]
    assert {kind.__name__: kind.exit_status for kind in kinds} == EXITS


@pytest.mark.parametrize("kind", ["PreflightError", "LedgerError", "LimitReached"])
def test_the_hint_follows_the_message(kind: str) -> None:
    error = getattr(errors, kind)("what happened", "what to do")
    assert str(error) == "what happened (what to do)"
    assert str(getattr(errors, kind)("what happened")) == "what happened"


def test_what_errors_carry() -> None:
    assert ConfigError("m", ("a", "b")).problems == ("a", "b")
    assert Interrupted(15, "m").signal_number == 15
    slow = errors.Throttled("m", side=Side.DESTINATION, retry_after=2.5, ambiguous=True)
    assert (slow.side, slow.retry_after, slow.ambiguous, slow.fault) == (Side.DESTINATION, 2.5, True, Fault.THROTTLED)
