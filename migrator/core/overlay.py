"""Values from the environment and the command line, laid over the table that the file holds."""

import tomllib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from msgspec import Struct

from migrator.core.complaints import Complaint, found, nearest
from migrator.core.schema import LATER, LISTS, PREFIX, KeyPath, field_at, form_of, known, variable

NO_KEYS = frozenset({"MIGRATOR_CONFIG"})
"""Variables of the command line that begin like keys and are none."""


class Setting(Struct, frozen=True):
    """A value for the key at `path`; `origin` says where it comes from."""

    path: KeyPath
    value: Any
    origin: str


def settings_of_environment(environment: Mapping[str, str]) -> Iterator[Setting | Complaint]:
    """The settings in MIGRATOR_ variables, whole tables before their keys; a Complaint for each that is none."""
    names = (name for name in environment if name.startswith(PREFIX) and name not in NO_KEYS)
    for name in sorted(names, key=lambda name: (name.count("__"), name)):
        path = _path(name.removeprefix(PREFIX).lower().split("__"))
        yield _unknown(name, path) or _setting(name, path, environment[name])


def settings_of_flags(flags: Mapping[str, Any]) -> Iterator[Setting]:
    """The settings in flags such as `transfer.concurrency`; None stands for a flag that was not given."""
    for name, value in flags.items():
        if value is not None:
            yield Setting(_path(name.split(".")), value, "command line")


def lay(table: dict[str, Any], setting: Setting) -> Complaint | None:
    """Puts a setting into `table`, with the tables around it where they are missing."""
    at: Any = table
    for step, following in pairwise((*setting.path, None)):
        if not _may_hold(at, step):
            reason = f"there are {len(at)} of them, from 0" if isinstance(at, list) else f"above it is {found(at)}"
            return Complaint(setting.path, f"there is no such place; {reason}", origin=setting.origin)
        if following is None:
            _put(at, step, setting.value)
        elif not _holds(at, step):
            _put(at, step, [] if isinstance(following, int) else {})
        at = at[step]
    return None


def _may_hold(at: Any, step: str | int | None) -> bool:
    """Lists grow by one at their end, tables take any key, and nothing else holds values."""
    return step <= len(at) if isinstance(at, list) and isinstance(step, int) else isinstance(at, dict)


def _holds(at: Any, step: Any) -> bool:
    return step < len(at) if isinstance(at, list) else step in at


def _put(at: Any, step: Any, value: Any) -> None:
    if isinstance(at, list) and step == len(at):
        at.append(value)
    else:
        at[step] = value


def _path(steps: list[str]) -> KeyPath:
    numbered = len(steps) > 1 and steps[0] in LISTS and steps[1].isdecimal() and len(steps[1]) < 6
    return (steps[0], int(steps[1]), *steps[2:]) if numbered else tuple(steps)


def _unknown(name: str, path: KeyPath) -> Complaint | None:
    """A variable that cannot be a key, wherever it is laid."""
    if path[0] in LATER or path[0] in known(()):
        return None
    tables: tuple[KeyPath, ...] = ((), ("destination",), ("transfer",), ("cleanup",))
    names = [variable((*parent, key)) for parent in tables for key in known(parent)]
    near = nearest(name, names)
    return Complaint((name,), "unknown variable; " + (f"nearest: {near}" if near else f"keys are {PREFIX}NAME, ..."))


def _setting(name: str, path: KeyPath, text: str) -> Setting | Complaint:
    field = field_at(path)
    form = form_of(field) if field else None
    if not form or form.text:
        return Setting(path, text, name)
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        parsed = {}
    if parsed.keys() != {"value"}:
        return Complaint(path, f"found {found(text)}; expected {form.expected}", origin=name)
    return Setting(path, parsed["value"], name)
