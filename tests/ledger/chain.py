"""The audit log as anybody may check it, with `json` and `hashlib` alone."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any


def chained(path: Path) -> list[dict[str, Any]]:
    """Its lines, which must be a whole chain."""
    found: list[dict[str, Any]] = []
    previous = "0" * 64
    for raw in path.read_bytes().splitlines(keepends=True):
        whole = re.fullmatch(rb'(.*),"hash":"([0-9a-f]{64})"}\n', raw, re.DOTALL)
        assert whole, raw
        assert hashlib.sha256(whole[1] + b"}").hexdigest() == whole[2].decode()
        line = json.loads(raw)
        assert (line["number"], line["previous"]) == (len(found) + 1, previous)
        previous = line["hash"]
        found.append(line)
    return found


def said(path: Path) -> list[tuple[str, str, str]]:
    """(deed, kind, name) of each line."""
    return [(line["deed"], line["kind"], line["name"]) for line in chained(path)]
