"""Sources that are buckets and stand, key by key, where their objects would go."""

from collections.abc import Iterator

from migrator.core.complaints import Complaint
from migrator.core.config import BucketSource, Config
from migrator.core.keys import KeyMaker, Naming, NoMatch, TemplateError
from migrator.core.places import place_of_destination, place_of_source, same_place
from migrator.core.schema import KeyPath

_PROBES = ("a", "b/c", "d/e.f", "g/h/i.tar.gz")
"""Ends of keys of every shape, to see where a key template would put them."""


def buckets_in_themselves(config: Config) -> Iterator[Complaint]:
    """Every bucket source of which nothing would move. Renaming within one bucket is allowed."""
    if config.destination.url:
        return
    there = place_of_destination(config.destination)
    for number, source in enumerate(config.sources):
        if not isinstance(source, BucketSource) or not same_place(place_of_source(source, config.destination), there):
            continue
        if _every_key_is_its_location(source, config.destination.prefix):
            reads: tuple[KeyPath, ...] = (
                ("destination", "bucket"),
                ("destination", "endpoint_url"),
                ("destination", "prefix"),
                *(("sources", number, name) for name in ("key", "match", "prefix", "endpoint_url")),
            )
            text = f'every object of "{source.bucket}" already stands at its own key; nothing would move'
            yield Complaint(("sources", number, "bucket"), text, reads)


def _every_key_is_its_location(source: BucketSource, prefix: str) -> bool:
    maker = KeyMaker(source.key, Naming(prefix), match=source.match)
    own = []
    # Where `match` asks for the destination's prefix, only paths below that can tell.
    starts = [source.prefix, prefix] if prefix.startswith(source.prefix) else [source.prefix]
    for path in [start + probe for start in starts for probe in _PROBES]:
        try:
            key, _ = maker.make(path, bucket=source.bucket)
        except (NoMatch, TemplateError):
            continue
        own.append(key == path)
    return bool(own) and all(own)
