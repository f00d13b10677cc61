"""The audit log as a chain: how a line is made and read, and how it is known to follow the one before it."""

import os
from collections.abc import Iterator
from hashlib import sha256
from operator import attrgetter
from typing import Any, BinaryIO

import orjson
from msgspec import Struct

from migrator.core.audit import Change, Event, Head
from migrator.core.model import MIB
from migrator.ledger.rows import plain

GENESIS = "0" * 64
"""What the first line names as the hash of the line before it."""

LONGEST = MIB
"""Bytes of the longest line: a file that is none of ours must not fill the memory."""

_values = attrgetter("number", "run", "details", "time", "deed", "kind", "name", "source", "previous")
_TYPES = (int, int, dict, str, str, str, str, str, str)
_HASH = b',"hash":"'
_TAIL = len(_HASH) + 64 + len(b'"}\n')


class End(Struct, frozen=True):
    """Where the next line goes, and what was found on the way there.

    number, hash  of the last line of the chain
    at            bytes of the file that stay; what follows them is an unfinished line
    behind        whole lines that the ledger never heard of
    torn          bytes of the unfinished line
    lost          the file does not hold the line that the ledger knows as the last
    """

    number: int
    hash: str
    at: int
    behind: int = 0
    torn: int = 0
    lost: bool = False


def make(number: int, at: str, run: int, change: Change, previous: str) -> tuple[bytes, str]:
    """A line and its hash: the SHA-256 of the line without its hash, byte for byte as it stands in the file."""
    content = {
        "number": number,
        "time": at,
        "run": run,
        "deed": change.deed.value,
        "kind": change.kind.value,
        "name": change.name,
        "source": change.source,
        "details": change.details,
        "previous": previous,
    }
    try:
        body = orjson.dumps(content)
    except orjson.JSONEncodeError:  # a file name that is no valid UTF-8
        body = orjson.dumps(_spelled_out(content))
    digest = sha256(body).hexdigest()
    return b'%b%b%b"}\n' % (body[:-1], _HASH, digest.encode()), digest


def _spelled_out(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return {name: _spelled_out(one) for name, one in value.items()}
    return [_spelled_out(one) for one in value] if isinstance(value, list | tuple) else value


def parse(raw: bytes) -> Event | None:
    """The line that `raw` is, newline included; None where it is not as it was written."""
    digest = raw[-67:-3]
    if raw[-_TAIL:-67] != _HASH or raw[-3:] != b'"}\n':
        return None
    if sha256(raw[:-_TAIL] + b"}").hexdigest().encode() != digest:
        return None
    try:
        event = Event(**orjson.loads(raw))
    except (ValueError, TypeError):
        return None
    # Anybody can make a line whose hash is right.
    return event if tuple(map(type, _values(event))) == _TYPES else None


def lines(file: BinaryIO, start: int = 0) -> Iterator[bytes]:
    """Lines from the byte `start` on, newlines included; the last one may lack its own."""
    file.seek(start)
    while raw := file.readline(LONGEST):
        yield raw


def holds(file: BinaryIO, head: Head) -> bool:
    """Whether the line that the ledger knows as the last stands where it was written."""
    file.seek(head.start)
    line = parse(file.read(head.end - head.start))
    return line is not None and (line.number, line.hash) == (head.number, head.hash)


def find_end(file: BinaryIO, head: Head | None) -> End:
    """Looks at what stands behind the last line that the ledger knows."""
    size = file.seek(0, os.SEEK_END)
    if head is not None and not holds(file, head):
        return End(head.number, head.hash, size, lost=True)
    number, digest = (head.number, head.hash) if head else (0, GENESIS)
    at, behind = head.end if head else 0, 0
    for raw in lines(file, at):
        if at + len(raw) == size and not raw.endswith(b"\n"):
            return End(number, digest, at, behind, torn=len(raw))
        line = parse(raw)
        if line and (line.number, line.previous) == (number + 1, digest):
            number, digest, behind = line.number, line.hash, behind + 1
        at += len(raw)
    return End(number, digest, at, behind)
