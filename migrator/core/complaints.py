"""What is wrong with a configuration, a line each: where, what was found, what is allowed, the nearest name."""

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from migrator.core.schema import (
    LATER,
    LISTS,
    SOURCES,
    KeyPath,
    choices,
    dotted,
    field_at,
    form_of,
    known,
)
from migrator.core.secrets import mask_text

_LONGEST = 60
"""Characters of a found text that are shown."""


class Complaint(Struct, frozen=True):
    """One thing wrong at `path`. `reads`: other keys that it was concluded from; `meant`: the key that a typo is of.

    `origin` names the variable that a value came from, where it never reached the table.
    """

    path: KeyPath
    text: str
    reads: tuple[KeyPath, ...] = ()
    meant: KeyPath | None = None
    origin: str = ""

    def line(self, origins: Mapping[KeyPath, str]) -> str:
        """The whole line; `origins` tells of the values that do not come from the file."""
        origin = self.origin or next((origins[path] for path in origins if _along(path, self.path)), "")
        return _printable(f"{dotted(self.path)}{f' ({origin})' if origin else ''}: {self.text}")


def _printable(text: str) -> str:
    """`text` on one line whatever keys and values it shows."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _along(one: KeyPath, other: KeyPath) -> bool:
    """Whether one of two values holds the other."""
    return all(step == counterpart for step, counterpart in zip(one, other, strict=False))


def found(value: object) -> str:
    """A value as errors show it: short, and with secrets masked."""
    if isinstance(value, str):
        text = mask_text(value)
        return json.dumps(text if len(text) <= _LONGEST else text[:_LONGEST] + "...", ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, list | tuple):
        return "a list"
    return "a table" if isinstance(value, dict) else f"the {type(value).__name__} {value}"


def nearest(name: str, names: Iterable[str]) -> str:
    """The one of `names` that `name` may be a typo of; empty when none is near."""
    near = difflib.get_close_matches(name.lower(), {known.lower(): known for known in names}, n=1)
    return next((known for known in names if near and known.lower() == near[0]), "")


def complaints_of(error: ValidationError, table: Mapping[str, Any]) -> list[Complaint]:
    """What the models refused in `table`, in our words."""
    # A list whose items are all refused is "too short" as well, which would be news to nobody.
    told = (details for details in error.errors() if details["type"] != "too_short" or not details["input"])
    complaints = [_complaint(details, table) for details in told]
    meant = {complaint.meant for complaint in complaints}
    return [complaint for complaint in complaints if complaint.path not in meant]


def _complaint(details: ErrorDetails, table: Mapping[str, Any]) -> Complaint:
    path = _path(details["loc"])
    match details["type"]:
        case "missing":
            return Complaint(path, f"missing; expected {_expected(path)}")
        case "extra_forbidden":
            return _unknown(path, table)
        case "union_tag_not_found":
            return Complaint((*path, "type"), f"missing; expected {_types()}")
        case "union_tag_invalid":
            return _unknown_type((*path, "type"), details["input"])
        case "value_error":
            reason = str(details["msg"]).removeprefix("Value error, ")
            return Complaint(path, f"found {found(details['input'])}; {reason}")
        case "too_short":
            return Complaint(path, f"missing; expected {_expected(path)}")
        case _:
            return Complaint(path, f"found {found(details['input'])}; expected {_expected(path)}{_near(path, details)}")


def _path(loc: tuple[str | int, ...]) -> KeyPath:
    # pydantic names the type of a source as if it were a key of its own.
    return (*loc[:2], *loc[3:]) if len(loc) > 2 and loc[0] == "sources" else loc


def _expected(path: KeyPath) -> str:
    field = field_at(path)
    if field:
        return form_of(field).expected
    return "a table" if len(path) == 2 and path[0] in LISTS else "text in quotes"


def _near(path: KeyPath, details: ErrorDetails) -> str:
    field = field_at(path)
    near = nearest(str(details["input"]), choices(field)) if field else ""
    return f'; nearest: "{near}"' if near else ""


def _types() -> str:
    return "one of " + ", ".join(f'"{name}"' for name in SOURCES)


def _unknown_type(path: KeyPath, source: Any) -> Complaint:
    kind = source.get("type") if isinstance(source, Mapping) else None
    near = nearest(kind, SOURCES) if isinstance(kind, str) else ""
    return Complaint(path, f"found {found(kind)}; expected {_types()}" + (f'; nearest: "{near}"' if near else ""))


def _unknown(path: KeyPath, table: Mapping[str, Any]) -> Complaint:
    parent, name = path[:-1], str(path[-1])
    if len(parent) == 2 and parent[0] == "sources":
        kind = str(table["sources"][parent[1]]["type"])
        return _foreign(path, kind) or _typo(path, tuple(SOURCES[kind].model_fields))
    if not parent and name in LATER:
        return Complaint(path, f"not available yet: {LATER[name]} will come with a later version; remove it")
    return _typo(path, known(parent))


def _foreign(path: KeyPath, kind: str) -> Complaint | None:
    """A key that exists in sources of another type than `kind`."""
    name = str(path[-1])
    for other, model in SOURCES.items():
        if name in model.model_fields:
            return Complaint(path, f'a key of sources of type "{other}"; this one is "{kind}"')
    return None


def _typo(path: KeyPath, names: tuple[str, ...]) -> Complaint:
    parent, name = path[:-1], str(path[-1])
    near = nearest(name, names)
    if near:
        return Complaint(path, f"unknown key; nearest: {near}", meant=(*parent, near))
    for section in ("destination", "transfer"):
        near = nearest(name, known((section,)))
        if near:
            return Complaint(path, f"unknown key here; nearest: {near} of [{section}]", meant=(section, near))
    return Complaint(path, f"unknown key; known here: {', '.join(names)}")
