"""Variants as people read of them: counted by name and format, with those that failed and those that were removed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from migrator.core.model import Fault, VariantTally
from migrator.core.secrets import mask_text
from migrator.core.variants import VariantMeans
from migrator.reports import words

Named = tuple[str, str]
"""(name, format) of a variant."""
Configured = Mapping[str, Sequence[Named]]
"""The variants that a configuration wants, by the name of the source; a source without any is left out."""


class FailedVariant(Protocol):
    """A variant that could not be made; `location` is safe to show, `original` the key of the image."""

    @property
    def source(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def original(self) -> str: ...
    @property
    def location(self) -> str: ...
    @property
    def fault(self) -> Fault: ...
    @property
    def message(self) -> str: ...


class VariantState(Struct, frozen=True):
    """One variant in one format, over all sources that want it (`configured`), or over all that no longer do.

    planned  asked for again by `retry`
    skipped  of objects that turned out to be no images
    quality  mean of what is stored; None where the format has none, or nothing is known
    original mean bytes of the images that it was made of; of some thousands where there are more
    """

    name: str
    format: str
    configured: bool
    stored: int = 0
    bytes: int = 0
    planned: int = 0
    skipped: int = 0
    failed: Mapping[str, int] | None = None
    quality: float | None = None
    original: float | None = None

    @property
    def share(self) -> float | None:
        """What is stored of each byte of the originals."""
        return self.bytes / self.stored / self.original if self.stored and self.original else None

    @property
    def label(self) -> str:
        """`full.webp`, and whether it is still wanted."""
        return f"{self.name}.{self.format}" + ("" if self.configured else " (no longer configured)")

    @property
    def failures(self) -> int:
        """How many could not be made."""
        return sum((self.failed or {}).values())


def states_of(
    tallies: Iterable[VariantTally], configured: Configured, means: Mapping[Named, VariantMeans]
) -> tuple[VariantState, ...]:
    """Those that are configured in the order of the configuration, then the removed ones."""
    order = dict.fromkeys((named, True) for wanted in configured.values() for named in wanted)
    found = {(named, known): VariantState(*named, known, failed={}) for named, known in order}
    for tally in tallies:
        named = (tally.name, tally.format)
        known = named in configured.get(tally.source, ())
        state = found.get((named, known)) or VariantState(*named, known, failed={})
        found[named, known] = _with(state, tally)
    return tuple(_with_means(state, means.get((state.name, state.format))) for state in found.values())


def _with_means(state: VariantState, means: VariantMeans | None) -> VariantState:
    return replace(state, quality=means.quality, original=means.original) if means else state


def _with(state: VariantState, tally: VariantTally) -> VariantState:
    if tally.state == "stored":
        return replace(state, stored=state.stored + tally.variants, bytes=state.bytes + tally.bytes)
    if tally.state == "planned":
        return replace(state, planned=state.planned + tally.variants)
    if tally.state == "skipped":
        return replace(state, skipped=state.skipped + tally.variants)
    if tally.state != "failed":
        return state  # rolled back: it stands no longer, and nobody has asked for it again
    failed = dict(state.failed or {})
    failed[tally.reason] = failed.get(tally.reason, 0) + tally.variants
    return replace(state, failed=failed)


HEADS = ("variant", "stored", "bytes", "a piece", "its original", "quality", "failed", "to make again", "no image")
SIDES = "lrrrrrrrr"


def table(states: Sequence[VariantState]) -> list[tuple[str, ...]]:
    """A line of text a variant, under HEADS."""
    return [
        (
            state.label,
            words.count(state.stored),
            words.size(state.bytes),
            words.size(state.bytes / state.stored) if state.stored else "",
            words.size(state.original) if state.stored and state.original else "",
            f"{state.quality:.0f}" if state.quality is not None else "",
            words.count(state.failures),
            words.count(state.planned),
            words.count(state.skipped),
        )
        for state in states
    ]


def what_failed(variant: FailedVariant) -> str:
    """The variant, its image and why it was not made, in one line."""
    return f"{variant.name}.{variant.format} of {variant.original}: {mask_text(variant.message)}"


def removed_line(state: VariantState) -> str:
    """What became of a variant that is no longer configured."""
    return (
        f"{state.name}.{state.format}: {words.count(state.stored, 'object')}, {words.size(state.bytes)}; "
        f"`select key from variants where name = '{state.name}' and format = '{state.format}'` in the ledger names them"
    )


def state_tree(state: VariantState) -> dict[str, object]:
    """As plain values."""
    return {
        "name": state.name,
        "format": state.format,
        "configured": state.configured,
        "stored": state.stored,
        "bytes": state.bytes,
        "quality": None if state.quality is None else round(state.quality, 1),
        "original_bytes": None if state.original is None else round(state.original),
        "planned": state.planned,
        "no_image": state.skipped,
        "failed": dict(state.failed or {}),
    }


def failed_tree(variant: FailedVariant) -> dict[str, object]:
    """As plain values."""
    return {
        "source": variant.source,
        "variant": variant.name,
        "format": variant.format,
        "key": variant.key,
        "original": variant.original,
        "location": variant.location,
        "fault": variant.fault.value,
        "message": mask_text(variant.message),
        "what_to_do": words.VARIANT_ADVICE.get(variant.fault, words.ADVICE[variant.fault]),
    }
