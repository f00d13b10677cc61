"""What the models say of each key: for error messages, environment variables, the reference and `migrator init`."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from migrator.core.config import (
    BucketSource,
    Cleanup,
    Config,
    Destination,
    DirectorySource,
    ManifestSource,
    Section,
    TableSource,
    Transfer,
    Update,
    Variant,
)
from migrator.core.quantities import duration_text, size_text
from migrator.core.values import DURATION, SIZE, Form

KeyPath = tuple[str | int, ...]
"""Where a value stands: `("sources", 0, "root")`."""

PREFIX = "MIGRATOR_"

SOURCES: Mapping[str, type[Section]] = {
    "directory": DirectorySource,
    "manifest": ManifestSource,
    "bucket": BucketSource,
    "table": TableSource,
}

LISTS = ("sources", "variants")
"""Keys whose value is a list of tables."""

LATER: Mapping[str, str] = {
    "notify": "notifications",
    "budget": "a budget",
}
"""Sections that a later version brings, and what they are for."""


def dotted(path: KeyPath) -> str:
    """`sources[0].root`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def variable(path: KeyPath) -> str:
    """The environment variable of a key: `MIGRATOR_SOURCES__0__ROOT`."""
    return PREFIX + "__".join(str(step).upper() for step in path)


def models_at(path: KeyPath) -> tuple[type[Section], ...]:
    """The tables that may stand at `path`; none where no table of known keys may."""
    match path:
        case ():
            return (Config,)
        case ("destination",):
            return (Destination,)
        case ("transfer",):
            return (Transfer,)
        case ("cleanup",):
            return (Cleanup,)
        case ("sources", int()):
            return tuple(SOURCES.values())
        case ("variants", int()):
            return (Variant,)
        case ("sources", int(), "update"):
            return (Update,)
        case _:
            return ()


def field_at(path: KeyPath) -> FieldInfo | None:
    """The field of a known key; None for anything else."""
    name = str(path[-1]) if path else ""
    return next((model.model_fields[name] for model in models_at(path[:-1]) if name in model.model_fields), None)


def known(path: KeyPath) -> tuple[str, ...]:
    """The keys that the table at `path` may have."""
    return tuple(dict.fromkeys(name for model in models_at(path) for name in model.model_fields))


def form_of(field: FieldInfo) -> Form:
    """How the value of a field is written."""
    named = next((mark for mark in field.metadata if isinstance(mark, Form)), None)
    return named or _form_of_type(field.annotation, field)


def _form_of_type(kind: object, field: FieldInfo) -> Form:
    if get_origin(kind) in (Union, UnionType):
        kind = next(option for option in get_args(kind) if option is not NoneType)
    if get_origin(kind) is Literal:
        options = ", ".join(f'"{option}"' for option in choices(field))
        return Form("string", f"one of {options}" if "," in options else options)
    if kind is str:
        return Form("string", "text in quotes")
    if kind is bool:
        return Form("true or false", "true or false", text=False)
    if kind in (int, float):
        return Form("number", _number(field, "a whole number" if kind is int else "a number"), text=False)
    if isinstance(kind, type) and issubclass(kind, Section):
        return Form("table", "a table", text=False)
    return Form("list of tables", "one or more tables", text=False)


def choices(field: FieldInfo) -> tuple[str, ...]:
    """What a field of a few fixed texts may be, without the empty one; nothing for other fields."""
    return tuple(option for option in get_args(field.annotation) if option and isinstance(option, str))


def default_text(field: FieldInfo) -> str:
    """The default of a field as the file would have it; empty for a key that must be given."""
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    form = form_of(field)
    if value is None:
        return '""'
    if form is SIZE:
        return f'"{size_text(value)}"'
    if form is DURATION:
        return f'"{duration_text(value)}"'
    return "{}" if value == {} else json.dumps(str(value) if isinstance(value, Path) else value)


def _number(field: FieldInfo, word: str) -> str:
    low = next((mark.ge for mark in field.metadata if hasattr(mark, "ge")), None)
    high = next((mark.le for mark in field.metadata if hasattr(mark, "le")), None)
    if high is not None:
        return f"{word} from {low} to {high}"
    return word if low is None else f"{word}, at least {low}"
