"""Numbers, times and faults as people read them. No layout lives here."""

from datetime import UTC, datetime

from migrator.core.model import Fault, Skip
from migrator.core.objects import Digest
from migrator.core.verification import Match, Proof

MEANING: dict[str, str] = {
    Fault.GONE: "the source has no such object (404, 410, missing file)",
    Fault.FORBIDDEN: "the source refused it, or its address may not be reached",
    Fault.INVALID: "what came is not what was asked for (wrong content, truncated, empty, bad key)",
    Fault.ARCHIVED: "it must be restored from an archive class first",
    Fault.CHANGED: "it changed while it was read, or since the scan",
    Fault.CONFLICT: "other bytes stand under its key, or another location wants the same key",
    Fault.THROTTLED: "the server kept asking to slow down",
    Fault.TRANSIENT: "the network or the server kept failing",
    Fault.RENDER: "the image could not be rendered: broken, too large, or its decoder crashed or hung",
    Fault.FATAL: "nothing could be moved any more",
    Skip.IDENTICAL: "the same bytes already stood there",
    Skip.EXISTS: "other bytes stood there and were left",
    Skip.IN_PLACE: "they stand where they belong",
}
"""What each fault and each reason of a skip means, in half a line."""

ADVICE: dict[str, str] = {
    Fault.GONE: "find the objects elsewhere: `migrator report --format csv` lists them as a manifest",
    Fault.FORBIDDEN: "check the rights (private addresses: `allow_private`), then `migrator retry --fault forbidden`",
    Fault.INVALID: "look at the sources that are listed; mend them, then `migrator retry --fault invalid`",
    Fault.ARCHIVED: "restore the objects, then `migrator retry --fault archived`",
    Fault.CHANGED: "let the sources come to rest, then `migrator migrate --rescan --retry-failed`",
    Fault.CONFLICT: "let `key` tell them apart, or set destination.on_conflict and `migrator retry --fault conflict`",
    Fault.THROTTLED: "lower transfer.concurrency, then `migrator retry --fault throttled`",
    Fault.TRANSIENT: "try them again: `migrator retry --fault transient`",
    Fault.RENDER: "`migrator preview FILE` shows why; `migrator retry --fault render`, then `migrator migrate`",
    Fault.FATAL: "mend the destination, then run `migrator migrate` again",
}
"""What the operator does about failed items of each fault."""

ROW_MEANING: dict[str, str] = {
    Fault.CONFLICT: "somebody changed or deleted the row, or other bytes were left under the key of its object",
    Fault.INVALID: "a column cannot hold its new value, or a template lacks one",
}
"""What a fault means of a row that was not updated."""

ROW_ADVICE: dict[str, str] = {
    Fault.CONFLICT: "look at the rows; `migrator migrate --rescan --retry-failed` takes them as they are now",
    Fault.INVALID: "mend the templates of `update.set` or the columns, then `migrator retry --fault invalid`",
}
"""What the operator does about rows that were not updated."""

VARIANT_MEANING: dict[str, str] = {
    Fault.INVALID: "its key cannot be used, or its image could not be held in memory",
    Fault.CONFLICT: "other bytes stand under its key",
    Fault.CHANGED: "the stored image has other bytes now than the ledger says",
    Fault.GONE: "its image could not be read any more",
}
"""What a fault means of a variant that was not made."""

VARIANT_ADVICE: dict[str, str] = {
    Fault.INVALID: "mend the `key` of the variant or raise transfer.memory, then `migrator retry --fault invalid`",
    Fault.CONFLICT: "make the keys differ, then `migrator retry --fault conflict`",
    Fault.CHANGED: "see what stands there with `migrator verify`",
    Fault.GONE: "see what is missing with `migrator verify`",
}
"""What the operator does about variants that were not made."""

EXTRA = "extra"

MATCH_MEANING: dict[str, str] = {
    Match.DIFFER: "other bytes, or other metadata, than were stored",
    Match.MISSING: "nothing stands under the key",
    Match.UNKNOWN: "it could not be told",
    EXTRA: "keys below the prefixes of this migration that are not of it; they may have stood there before",
}
"""What a result of `verify` means of an object."""

MATCH_ADVICE: dict[str, str] = {
    Match.DIFFER: "`migrator retry --verified differ`, then `migrator migrate`: replaced where nothing is lost by it",
    Match.MISSING: "`migrator retry --verified missing`, then `migrator migrate`: stored again from its source",
    Match.UNKNOWN: "mend what the message names, then `migrator verify` again",
    EXTRA: "look whose they are; nothing of them was touched",
}
"""What the operator does about it."""

LEFT_MEANING: dict[str, str] = {
    Fault.CONFLICT: "somebody changed it since, or what is needed to bring the former state back is gone",
    Fault.INVALID: "it is not what this migration made of it",
}
"""What a fault means of something that a rollback left alone."""

LEFT_ADVICE: dict[str, str] = {
    Fault.CONFLICT: "decide whether it stays; what is put back as it was, `migrator rollback` takes when it runs again",
    Fault.FORBIDDEN: "give the credentials that right, then `migrator rollback` again",
    Fault.INVALID: "look at the column yourself; nothing of it was changed",
}
"""What the operator does about what a rollback left alone."""
LEFT_ADVICE_ELSE = "mend what the message names, then `migrator rollback` again"

ENDINGS: dict[int, str] = {
    0: "was complete",
    1: "finished, with failed items or problems",
    5: "was stopped by a limit",
    129: "was interrupted (SIGHUP)",
    130: "was interrupted (Ctrl+C)",
    143: "was interrupted (SIGTERM)",
}
"""How a run with this exit status ended."""

PROOFS: dict[str, str] = {
    Proof.CHECKSUM: "by the SHA-256 that the server keeps",
    Proof.READ: "by reading every byte",
}
"""How the bytes of an object were compared."""

DIGESTS: dict[str, str] = {
    Digest.SHA256: "SHA-256 sent with the object, checked and kept by the server",
    Digest.MD5: "Content-MD5, checked by the server",
    Digest.SHA256_ONLY: "SHA-256 sent with the object, checked and kept by the server",
    Digest.MD5_ONLY: "Content-MD5, checked by the server",
    Digest.SIGNED: "the signed payload hash, checked by the server",
    Digest.READ_BACK: "each object read back and hashed here (the server checks nothing)",
}
"""How the bytes of a put were checked."""


def count(number: int, one: str = "", many: str = "") -> str:
    """`1,234`, or with a noun `1 object`, `1,234 objects`."""
    if not one:
        return f"{number:,}"
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def and_others(number: int) -> str:
    """What follows the first of `number` things; nothing where it is the only one."""
    return f" and {count(number - 1)} more" if number > 1 else ""


def waiting_for_variants(rows: int) -> str:
    """What is said of rows whose objects stand without the variants that the rows refer to."""
    verb = "waits" if rows == 1 else "wait"
    return f"{count(rows, 'row')} {verb} for variants that failed: when these are made, the rows follow"


def size(number: float) -> str:
    """Bytes in decimal units, three figures: `512 B`, `98.2 MB`, `1.02 GB`."""
    value = float(number)
    if value < 1000:
        return f"{value:.0f} B"
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        value /= 1000
        if value < 999.5 or unit == "PB":
            break
    return f"{value:.2f} {unit}" if value < 10 else f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"


def left_alone(number: int) -> str:
    """What is said of a rollback that left so much as it is."""
    if not number:
        return "Nothing was left alone."
    verb = "was" if number == 1 else "were"
    return f"{count(number, 'thing')} {verb} left alone, because somebody changed them or they could not be undone."


def ended(command: str, status: int | None, finished_at: int | None) -> str:
    """How a run ended, as a sentence about it goes on."""
    if finished_at is None:
        return "was cut off, by which nothing is lost"
    if command == "verify" and status == 1:
        return "found differences"
    if command == "rollback" and status == 1:
        return "left something alone"
    if command == "orphans" and status == 1:
        return "left something that no row explains"
    return ENDINGS.get(status or 0, f"ended with status {status}")


def rate(number: float) -> str:
    """Things a second: `0.4`, `12`, `1,214`."""
    return f"{number:,.1f}" if number < 10 else f"{number:,.0f}"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 12 s`, `2 h 05 min`, `3 d 04 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def clock(seconds: float) -> str:
    """Running time as a watch shows it: `0:03:12`."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def moment(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def reasons(counts: dict[str, int]) -> str:
    """`gone 12, invalid 5`, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{reason} {number:,}" for reason, number in ordered if number)
