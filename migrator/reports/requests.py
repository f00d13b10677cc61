"""How many requests to the destination a plan will take."""

from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct

from migrator.core.config import BucketSource, Config, SourceConfig, TableSource
from migrator.core.model import MIB, SMALL, State
from migrator.core.objects import Digest
from migrator.core.places import Place, endpoint_name, place_of_destination, place_of_item, place_of_source, s3_parts
from migrator.reports import words
from migrator.reports.overview import Overview

LISTED = 1000
"""Keys that one request lists."""
COPIED_PART = 256 * MIB
"""Bytes of a part that is copied, as a rule."""


class View(Protocol):
    """An open ledger, read only."""

    def large(self, source: str, above: int, part_size: int) -> tuple[int, int]:
        """(items, parts) of what `source` has still to be moved with more than `above` bytes."""
        ...


class Requests(Struct, frozen=True):
    """Requests by kind. Retries, and objects that turn out large only when they are read, come on top."""

    puts: int
    """One for each small object that is stored itself."""
    variants: int
    """One PUT for each variant that is made."""
    copies: int
    """One for each object that the destination's server copies by itself: no byte of it passes through here."""
    large: int
    """Objects that go in parts, with two requests more each: to begin and to complete."""
    parts: int
    heads: int
    """Of items that an earlier run may have stored, of copies that are compared with what they are copies of, and of
    variants where the server ignores preconditions."""
    reads: int
    """Of small objects that are read back, because the server checks no digest."""
    lists: int
    """To list the source buckets once; what `migrate` finds in the ledger is not listed again."""
    lists_destination: bool
    """The server ignores preconditions, of puts or of copies: one listing of the prefix (1 for each 1,000 keys)."""

    @property
    def total(self) -> int:
        """What can be counted beforehand."""
        return self.puts + self.variants + self.copies + self.parts + 2 * self.large + self.heads + self.reads

    def lines(self) -> Iterator[str]:
        """For people."""
        pieces = [f"{words.count(self.puts)} PUT"] if self.puts or not self.copies else []
        if self.variants:
            pieces.append(f"{words.count(self.variants)} PUT of variants")
        if self.copies:
            pieces.append(f"{words.count(self.copies)} COPY (the server copies by itself)")
        if self.large:
            objects = words.count(self.large, "large object")
            pieces.append(f"{words.count(self.parts)} parts of {objects} and {words.count(2 * self.large)} around them")
        if self.heads:
            pieces.append(f"{words.count(self.heads)} HEAD for what may stand already and for copies that are compared")
        if self.reads:
            pieces.append(f"{words.count(self.reads)} GET to read back (the server checks no digest)")
        yield f"about {words.count(self.total)}: {', '.join(pieces)}"
        if self.lists:
            yield f"besides {words.count(self.lists)} LIST for the source buckets, which this plan has sent"
        if self.lists_destination:
            yield "and one listing of the destination (1 request for each 1,000 keys), because it would overwrite"


def estimate(seen: Overview, view: View, config: Config, variants: int = 0) -> Requests:
    """For what is still to be moved, as `--copy-mode auto` moves it, and for making this many `variants`."""
    found = seen.capabilities
    known = {source.name: source for source in config.sources}
    puts = copies = large = parts = lists = compared = 0
    for state in seen.sources:
        source = known.get(state.name)
        copied = source is not None and _is_copied(source, seen, config)
        above = config.transfer.copy_threshold if copied else SMALL
        part_size = min(above, COPIED_PART) if copied else config.transfer.part_size
        larger, its_parts = view.large(state.name, above, part_size)
        small = state.to_move - larger
        if source and not source.keep_original:
            small = larger = its_parts = 0
        large, parts = large + larger, parts + its_parts
        if copied and source:
            copies += small
            compared += small if _is_compared(source, seen, config) else 0
        else:
            puts += small
        if isinstance(source, BucketSource):
            lists += -(-(sum(state.items.values()) + state.left_out + state.problems) // LISTED) or 1
    return Requests(
        puts=puts,
        variants=variants,
        copies=copies,
        large=large,
        parts=parts,
        heads=seen.items(State.INTENDED) + compared + (variants if found and not found.conditional_put else 0),
        reads=puts + variants if found and found.digest is Digest.READ_BACK else 0,
        lists=lists,
        lists_destination=bool(found and not (found.conditional_put and (found.copy_absent or not copies))),
    )


def _is_copied(source: SourceConfig, seen: Overview, config: Config) -> bool:
    """Whether the destination's server can reach the objects of `source`, and nothing has to look into them."""
    place = _place(source, config)
    if place is None or config.destination.url or source.expect == "image" or config.variants_of(source):
        return False
    if seen.capabilities and not seen.capabilities.copies and seen.capabilities.copies is not None:
        return False
    here = place_of_destination(config.destination)
    same_server = endpoint_name(place.endpoint_url) == endpoint_name(here.endpoint_url)
    return same_server and place.profile == here.profile


def _place(source: SourceConfig, config: Config) -> Place | None:
    """Where the objects of a source stand, if that is a bucket that the configuration tells."""
    if isinstance(source, BucketSource):
        return place_of_source(source, config.destination)
    if isinstance(source, TableSource) and source.location.startswith("s3://"):
        return place_of_item(config, source.name, s3_parts(source.location)[0])
    return None


def _is_compared(source: SourceConfig, seen: Overview, config: Config) -> bool:
    """Whether every copy is looked at: no listing has told what it is of, or it is told what to carry."""
    destination = config.destination
    told = (destination.metadata, destination.tags, destination.cache_control, destination.content_disposition)
    if any(told) or (seen.capabilities and seen.capabilities.copies and not seen.capabilities.copy_keeps):
        return True
    return not isinstance(source, BucketSource)
