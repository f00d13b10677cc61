"""Sources that were taken away, or were not and why, as people and machines read of it."""

from collections.abc import Iterator, Mapping, Sequence

from migrator.core.cleaning import CleanedTally, CleanupSummary, Gone, Group, Kept, Way
from migrator.core.secrets import mask_text
from migrator.reports import words

MEANING: Mapping[Kept, str] = {
    Kept.HTTP: "HTTP sources are never touched",
    Kept.UNCONFIGURED: "the configuration has no such source any more",
    Kept.NOT_MOVED: "not moved, or not all that is made of it",
    Kept.IN_PLACE: "they are their own objects",
    Kept.ONLY_VARIANTS: "only variants were stored, so this is the only original",
    Kept.VARIANTS: "variants of them are still to be made",
    Kept.ROWS: "rows that refer to them are still to be updated",
    Kept.DIFFERS: "the last verification found something wrong with their objects",
    Kept.UNVERIFIED: "not verified since they were stored",
    Kept.GRACE: "within the grace period",
    Kept.SOURCE_GONE: "not there any more",
    Kept.LINK: "reached through a symbolic link",
    Kept.DESTINATION: "they are objects of this migration themselves",
    Kept.SOURCE_CHANGED: "the source is no longer what was stored",
    Kept.OBJECT_CHANGED: "the object is no longer what was stored",
    Kept.UNCONDITIONAL: "their server would not look at what it deletes",
    Kept.REFUSED: "could not be taken away, or not be looked at",
    Kept.RESTORED: "somebody brought them back",
}
"""Why sources stay, in half a line."""

ADVICE: Mapping[Kept, str] = {
    Kept.UNCONFIGURED: "put the source back into the configuration",
    Kept.NOT_MOVED: "`migrator status` says what is left to move",
    Kept.VARIANTS: "`migrator migrate --only-variants`, then `migrator verify`",
    Kept.ROWS: "`migrator migrate` updates them; `migrator report` names those that failed",
    Kept.DIFFERS: "`migrator report --format differences` lists them",
    Kept.UNVERIFIED: "run `migrator verify`",
    Kept.SOURCE_CHANGED: "look at them: what was stored is what they were then",
    Kept.OBJECT_CHANGED: "run `migrator verify`, and keep the sources",
    Kept.UNCONDITIONAL: "`migrator cleanup --without-condition`, when nobody else writes there",
    Kept.REFUSED: "mend what the message names, then the same command again",
}
"""What the operator does about it."""

GONE: dict[str, str] = {
    Gone.INTENDED: "may be gone: a cleanup was cut off",
    Gone.TRASHED: "can be had back",
    Gone.DELETED: "deleted",
    Gone.PURGED: "deleted out of the trash",
    Gone.RESTORED: "brought back",
}
"""What became of a source that a cleanup took away."""

_NOUNS = {Way.TRASH: "file", Way.MARKER: "object", Way.DELETE: "object"}

DONE: Mapping[Way, tuple[str, str]] = {
    Way.TRASH: ("moved to the trash", "would be moved to the trash"),
    Way.MARKER: ("hidden by a delete marker", "would be hidden by a delete marker"),
    Way.DELETE: ("deleted for good", "would be deleted for good"),
}
"""What was done to a source, and what a dry run says instead."""

PURGED = ("deleted out of the trash", "would be deleted out of the trash")


def summary_lines(summary: CleanupSummary, *, dry_run: bool, purge: bool) -> Iterator[str]:
    """What went, by source; what stayed, by reason, with an example and what to do."""
    for (source, way), group in sorted(summary.gone.items()):
        said = PURGED[dry_run] if purge else DONE[way][dry_run]
        yield f"{source}: {words.count(group.sources, _NOUNS[way])} ({words.size(group.bytes)}) {said}"
    if summary.resumed:
        yield f"{words.count(summary.resumed, 'source')} had gone when an earlier cleanup was cut off"
    if summary.kept:
        yield f"kept    {words.count(sum(group.sources for group in summary.kept.values()), 'source')}"
    for kept, group in sorted(summary.kept.items()):
        yield from kept_lines(kept, group)


def kept_lines(kept: Kept, group: Group) -> Iterator[str]:
    """One reason."""
    yield f"  {kept.value} {words.count(group.sources)}: {MEANING[kept]}"
    told = mask_text(group.message)
    yield f"    such as     {told if group.example in told else group.example + (f': {told}' if told else '')}"
    if kept in ADVICE:
        yield f"    what to do  {ADVICE[kept]}"


def summary_tree(summary: CleanupSummary) -> dict[str, object]:
    """The same as plain values."""
    return {
        "gone": [
            {"source": source, "way": way.value, "sources": group.sources, "bytes": group.bytes}
            for (source, way), group in sorted(summary.gone.items())
        ],
        "kept": {
            kept.value: {
                "sources": group.sources,
                "bytes": group.bytes,
                "example": group.example,
                "message": mask_text(group.message),
            }
            for kept, group in sorted(summary.kept.items())
        },
        "resumed": summary.resumed,
    }


def by_state(tallies: Sequence[CleanedTally]) -> dict[Gone, tuple[int, int]]:
    """(sources, bytes) by state, of all sources that are not back."""
    found: dict[Gone, tuple[int, int]] = {}
    for tally in tallies:
        if tally.state is not Gone.RESTORED:
            sources, size = found.get(tally.state, (0, 0))
            found[tally.state] = (sources + tally.sources, size + tally.bytes)
    return found


def status_line(tallies: Sequence[CleanedTally]) -> str:
    """`1,234 sources in the trash (4.2 GB), 12 purged (1.0 MB)`; empty where none is away."""
    parts = [
        f"{words.count(sources, 'source')} {GONE[state]} ({words.size(size)})"
        for state, (sources, size) in by_state(tallies).items()
    ]
    return ", ".join(parts)
