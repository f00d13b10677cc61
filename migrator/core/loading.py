"""File + environment + flags -> Config. Flags beat the environment, the environment beats the file."""

import copy
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from migrator.core.combinations import impossible, in_itself
from migrator.core.complaints import Complaint, complaints_of
from migrator.core.config import Config
from migrator.core.errors import ConfigError
from migrator.core.overlay import lay, settings_of_environment, settings_of_flags
from migrator.core.schema import LISTS, KeyPath

_SOURCE = {"type": "directory", "root": ".", "key": "{path}"}

_VARIANT = {"name": "stand-in", "key": "{path}", "width": 1}

_STAND_INS: Mapping[str, Any] = {
    "name": "stand-in",
    "destination": {"bucket": "stand-in"},
    "sources": [_SOURCE],
    "key": "{path}",
    "root": ".",
    "files": "*.json",
}
"""Values for keys that must be there and are not, or not as they should: the rest can be checked beside them."""


def load(path: Path, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Config:
    """The configuration in the file at `path` under `environment` and `flags` such as {"transfer.concurrency": 10}.

    Raises ConfigError with every problem at once.
    """
    return configure(_read(path), environment, flags, str(path))


def configure(
    table: Mapping[str, Any],
    environment: Mapping[str, str],
    flags: Mapping[str, Any],
    title: str = "the configuration",
) -> Config:
    """The same for a table that is no file; `title` names it in errors."""
    effective = copy.deepcopy(dict(table))
    origins: dict[KeyPath, str] = {}
    complaints: list[Complaint] = []
    for setting in (*settings_of_environment(environment), *settings_of_flags(flags)):
        complaint = setting if isinstance(setting, Complaint) else lay(effective, setting)
        if complaint:
            complaints.append(complaint)
        elif not isinstance(setting, Complaint):
            origins[setting.path] = setting.origin
    config, refused = _validate(effective)
    complaints += refused
    draft = config or _draft(effective, refused)
    complaints += _on_sound_keys(_combined(draft), complaints) if draft else ()
    if complaints or config is None:
        raise _error(title, [complaint.line(origins) for complaint in complaints])
    return config


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist", hint="`migrator init` writes one; -c names another") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}, line {line}: not UTF-8", hint="save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        last = len(raw.rstrip().splitlines())
        reason = str(error).replace("at end of document", f"at the end, line {last}")
        raise ConfigError(f"{path} is no valid TOML: {reason}") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply") from None


def _validate(table: Mapping[str, Any]) -> tuple[Config | None, list[Complaint]]:
    try:
        return Config.model_validate(table), []
    except ValidationError as error:
        return None, complaints_of(error, table)


def _draft(table: Mapping[str, Any], complaints: Iterable[Complaint]) -> Config | None:
    """The configuration with stand-ins for what was complained about."""
    draft = copy.deepcopy(dict(table))
    for complaint in complaints:
        _replace(draft, complaint.path)
        if complaint.meant and complaint.meant[-1] in _STAND_INS and complaint.meant[:-1] == complaint.path[:-1]:
            _replace(draft, complaint.meant)
    return _validate(draft)[0]


def _replace(draft: dict[str, Any], path: KeyPath) -> None:
    """Puts a stand-in in the place of the value at `path`, or takes it away where none is needed."""
    if path[:1] == ("sources",) and (len(path) == 2 or path[2:] == ("type",)):
        draft["sources"][path[1]] = dict(_SOURCE)
        return
    if path[:1] == ("variants",) and len(path) == 2:
        draft["variants"][path[1]] = dict(_VARIANT)
        return
    *above, step = path[:2] if path[0] not in LISTS and isinstance(path[-1], int) else path[:3]
    at: Any = draft
    for outer in above:
        at = at[outer]
    if step in _STAND_INS:
        at[step] = copy.deepcopy(_STAND_INS[str(step)])
    else:
        at.pop(step, None)


def _combined(config: Config) -> Iterator[Complaint]:
    yield from impossible(config)
    yield from in_itself(config, Path.resolve)


def _on_sound_keys(concluded: Iterable[Complaint], complaints: Iterable[Complaint]) -> list[Complaint]:
    """The conclusions that rest on no key that was complained about: those rest on stand-ins."""
    unsound = {path for complaint in complaints for path in (complaint.path, complaint.meant) if path}
    unsound |= {path[:2] for path in unsound if path[:1] == ("sources",) and path[2:] == ("type",)}
    return [
        complaint
        for complaint in concluded
        if not any(path[:length] in unsound for path in _rests_on(complaint) for length in range(1, len(path) + 1))
    ]


def _rests_on(complaint: Complaint) -> tuple[KeyPath, ...]:
    return (complaint.path, *complaint.reads)


def _error(title: str, problems: list[str]) -> ConfigError:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return ConfigError(f"{title} cannot be used: {count}", tuple(problems))
