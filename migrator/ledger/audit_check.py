"""Walks along the audit log, line by line, and says where it is no longer as it was written."""

from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from migrator.core.audit import Broken, Checked, Damage, Event, Head
from migrator.ledger.audit_chain import GENESIS, LONGEST, lines, parse
from migrator.ledger.connection import translated


def check(path: Path, known: Head | None) -> Checked:
    """Reads the whole file, in little memory. `known` must have been asked of the ledger before: the file is ahead.

    Raises LedgerError when the file cannot be read.
    """
    checked = Checked(0, "", "", GENESIS, known)
    with translated(path):
        try:
            file = path.open("rb")
        except FileNotFoundError:
            if known is None:
                return checked
            text = f"{path} is gone: the ledger knows {known.number:,} lines of it"
            return replace(checked, broken=Broken(1, Damage.REMOVED, text))
        with file:
            return _walk(lines(file), checked)


def _walk(rest: Iterator[bytes], checked: Checked) -> Checked:
    known, number, digest, first, last = checked.known, 0, GENESIS, "", ""
    unfinished, broken = 0, None
    for raw in rest:
        if not raw.endswith(b"\n") and len(raw) < LONGEST:
            unfinished = len(raw)
            break
        event = parse(raw)
        broken = _wrong(event, number, digest, known, rest)
        if broken or event is None:
            break
        number, digest, last = event.number, event.hash, event.time
        first = first or last
    if broken is None and known is not None and number < known.number:
        text = f"the file ends behind line {number:,}, and the ledger knows {known.number:,} lines"
        broken = Broken(number + 1, Damage.CUT, text)
    return Checked(number, first, last, digest, known, unfinished, broken)


def _wrong(event: Event | None, number: int, digest: str, known: Head | None, rest: Iterator[bytes]) -> Broken | None:
    """What is wrong with the line behind line `number`, whose hash is `digest`; `rest` comes behind it."""
    line = number + 1
    if event is None:
        return Broken(line, Damage.EDITED, f"line {line:,} is not as it was written: its hash is not that of its text")
    if event.number > line:
        return _missing(event, line, rest)
    if event.number < line:
        text = f"line {line:,} has the number {event.number:,} a second time: one of the two was inserted"
        return Broken(line, Damage.INSERTED, text)
    if event.previous != digest:
        before = "nothing" if number == 0 else f"line {number:,} as it stands"
        return Broken(line, Damage.EDITED, f"line {line:,} does not follow {before}: one of them was written anew")
    if known is not None and event.number == known.number and event.hash != known.hash:
        text = f"line {line:,} is not the one that the ledger knows: the log was written anew, from some line on"
        return Broken(line, Damage.REWRITTEN, text)
    return None


def _missing(event: Event, line: int, rest: Iterator[bytes]) -> Broken:
    place = line
    for raw in rest:
        place += 1
        found = parse(raw)
        if found is not None and found.number == line:
            text = f"where line {line:,} should be stands number {event.number:,}; it comes later, as line {place:,}"
            return Broken(line, Damage.REORDERED, text)
    gone = f"line {line:,} is" if event.number == line + 1 else f"lines {line:,} to {event.number - 1:,} are"
    return Broken(line, Damage.REMOVED, f"{gone} gone: the next one has the number {event.number:,}")
