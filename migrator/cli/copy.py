"""`migrator copy SRC DST`: the config that two arguments stand for, written out as a file like any other."""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from migrator.core.errors import ConfigError

if TYPE_CHECKING:
    from migrator.core.config import Config

MANIFESTS = (".json", ".jsonl", ".csv", ".txt")


class Wishes(Struct, frozen=True):
    """What may be said beside SRC and DST."""

    key: str = "{path}"
    fields: Sequence[str] = ("url",)
    endpoint_url: str = ""
    region: str = ""
    allow_private: bool = False
    buckets: Sequence[str] = ()


def copy_table(source: str, destination: str, wishes: Wishes) -> dict[str, Any]:
    """The table of a migrator.toml for `source` -> `destination`. Its name is the same for the same command.

    Raises ConfigError when either is nothing that can be copied from or to.
    """
    origin = _source(source, wishes)
    target = _destination(destination, wishes)
    place = f"s3://{origin.get('bucket')}/{origin.get('prefix', '')}" if source.startswith("s3://") else ""
    what = [place or origin.get("root") or origin.get("files"), destination.rstrip("/")]
    how = [wishes.endpoint_url, wishes.key, *wishes.fields]
    digest = hashlib.sha256(json.dumps([*what, *how]).encode()).hexdigest()
    return {"name": f"copy-{digest[:12]}", "destination": target, "sources": [origin]}


def copy_config(source: str, destination: str, wishes: Wishes, flags: Mapping[str, Any]) -> "tuple[Config, Path]":
    """(config, the file that now holds it), so that status, retry and report find this migration by `-c FILE`."""
    from migrator.core.loading import configure

    table = copy_table(source, destination, wishes)
    config = configure(table, os.environ, flags, f"copy {source} {destination}")
    path = config.checkpoint_dir / f"{config.name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(toml(table, f"migrator copy {source} {destination}"))
    return config, path


def toml(table: Mapping[str, Any], title: str) -> str:
    """`table` as the text of a config file."""
    (source,) = table["sources"]
    lines = [f"# {title}".replace("\n", " "), f"name = {_value(table['name'])}", "", "[destination]"]
    lines += [f"{key} = {_value(value)}" for key, value in table["destination"].items()]
    lines += ["", "[[sources]]"]
    lines += [f"{key} = {_value(value)}" for key, value in source.items()]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    # TOML's strings, booleans and lists of strings are JSON's; but no surrogate pairs, and DEL is escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _source(source: str, wishes: Wishes) -> dict[str, Any]:
    if source.startswith("s3://"):
        return _bucket(source, wishes)
    path = Path(unquote(source.removeprefix("file://")) if source.startswith("file://") else source)
    table: dict[str, Any]
    if path.is_dir():
        table = {"name": "files", "type": "directory", "root": str(path.resolve()), "key": wishes.key}
        return table | _without_checkpoints(path.resolve())
    if path.suffix.lower() not in MANIFESTS:
        raise ConfigError(
            f"{source} is no directory and no manifest",
            hint=f"give a directory, or a file or glob that ends in {', '.join(MANIFESTS)}",
        )
    if not any(mark in source for mark in "*?[") and not path.is_file():
        raise ConfigError(f"{source} does not exist")
    table = {"name": "manifest", "type": "manifest", "files": str(path.absolute()), "key": wishes.key}
    if path.suffix.lower() != ".txt":
        table["fields"] = list(wishes.fields)
    if wishes.allow_private:
        table["allow_private"] = True
    if wishes.buckets:
        table["buckets"] = list(wishes.buckets)
    return table


def _bucket(source: str, wishes: Wishes) -> dict[str, Any]:
    """`s3://bucket/a/b` is the object `a/b`, which becomes `b`, and everything below `a/b/`, told from there on."""
    bucket, _, key = source.removeprefix("s3://").partition("/")
    if not bucket:
        raise ConfigError(f"{source} names no bucket", hint="write s3://bucket/prefix")
    table = {"name": "bucket", "type": "bucket", "bucket": bucket}
    table |= {name: getattr(wishes, name) for name in ("endpoint_url", "region") if getattr(wishes, name)}
    if not key:
        return table | {"key": wishes.key}
    if key.endswith("/"):
        match = f"^{re.escape(key)}(?P<below>[\\s\\S]+)$"
    else:
        folder, slash, name = key.rpartition("/")
        match = f"^(?:{re.escape(key)}/|{re.escape(folder + slash)}(?={re.escape(name)}\\Z))(?P<below>[\\s\\S]+)$"
    # What lies beside (`a/b-2`) begins alike, and is no part of it.
    below = {"match": match, "on_no_match": "skip", "key": wishes.key.replace("{path}", "{below}")}
    return table | {"prefix": key} | below


def _without_checkpoints(root: Path) -> dict[str, Any]:
    """The ledger of this very copy is not copied along."""
    checkpoints = Path("checkpoints").resolve()
    if checkpoints == root or not checkpoints.is_relative_to(root):
        return {}
    return {"exclude": [f"/{checkpoints.relative_to(root).as_posix()}/**"]}


def _destination(destination: str, wishes: Wishes) -> dict[str, Any]:
    parts = urlsplit(destination)
    if parts.scheme == "file" and parts.path.startswith("/"):
        return {"url": destination}
    if parts.scheme != "s3" or not parts.netloc:
        raise ConfigError(
            f"{destination} is no destination", hint="write s3://bucket/prefix, or file:///directory with three slashes"
        )
    prefix = destination.removeprefix("s3://").partition("/")[2].strip("/")
    table: dict[str, Any] = {"bucket": parts.netloc, "prefix": f"{prefix}/" if prefix else ""}
    if wishes.endpoint_url:
        table["endpoint_url"] = wishes.endpoint_url
    if wishes.region:
        table["region"] = wishes.region
    return table
