"""Lines of the audit log for whoever looks something up: filtered, the newest last, in little memory."""

import os
from collections.abc import Callable, Iterator
from fnmatch import translate
from itertools import islice
from pathlib import Path
from re import compile as compiled
from typing import BinaryIO

from migrator.core.audit import Event, Wanted
from migrator.core.errors import LedgerError
from migrator.ledger.audit_chain import LONGEST, lines, parse
from migrator.ledger.connection import translated

_BLOCK = 64 * 1024


def events(path: Path, wanted: Wanted) -> Iterator[Event]:
    """Those that are `wanted`; lines that are not as they were written are left out.

    Raises LedgerError when the file is missing or cannot be read.
    """
    chosen = _chooser(wanted)
    with translated(path):
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise LedgerError(
                f"there is no audit log at {path}",
                "it begins with the first object that is put, or row that is updated",
            ) from None
        with file:
            if wanted.limit is None:
                yield from filter(chosen, _parsed(lines(file)))
                return
            newest = islice(filter(chosen, _parsed(_backwards(file))), wanted.limit)
            yield from reversed(list(newest))


def _parsed(raws: Iterator[bytes]) -> Iterator[Event]:
    return (event for raw in raws if (event := parse(raw)) is not None)


def _chooser(wanted: Wanted) -> Callable[[Event], bool]:
    pattern = compiled(translate(wanted.key)) if "*" in wanted.key or "?" in wanted.key else None

    def chosen(event: Event) -> bool:
        return (
            (wanted.run is None or event.run == wanted.run)
            and (not wanted.deed or event.deed == wanted.deed)
            and (not wanted.source or event.source == wanted.source)
            and event.time >= wanted.since
            and (pattern.match(event.name) is not None if pattern else wanted.key in event.name)
        )

    return chosen


def _backwards(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines, the last one first."""
    at, left = file.seek(0, os.SEEK_END), b""
    while at:
        size = min(_BLOCK, at)
        at -= size
        file.seek(at)
        first, *rest = (file.read(size) + left).split(b"\n")
        # What follows the last newline is no whole line, or (but for the end of the file) was given out before.
        yield from (line + b"\n" for line in reversed(rest[:-1]))
        left = first + (b"\n" if rest else b"")
        if len(left) > LONGEST:
            left = b""  # none of ours, however it goes on
    if left.endswith(b"\n"):
        yield left
