"""What no single key can tell: combinations that cannot work, in an otherwise valid configuration."""

import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from migrator.core.complaints import Complaint, nearest
from migrator.core.config import Config, Destination, ManifestSource, SourceConfig, Transfer
from migrator.core.keys import PATH_NAMES, STORED_NAMES, KeyMaker, NoMatch, TemplateError, compile_template
from migrator.core.schema import KeyPath

_BUCKET_KEYS = (
    "fallback_buckets",
    "region",
    "endpoint_url",
    "profile",
    "storage_class",
    "sse",
    "kms_key_id",
    "acl",
    "cache_control",
    "content_disposition",
    "tags",
)
"""Keys that say something only of a bucket."""

_NEEDED = {"url": "public_url", "destination.bucket": "bucket"}
"""Names in templates that have a value only beside another key of the destination."""

_PROBES = ("a", "b/c", "d/e.f", "g/h/i.tar.gz")
"""Paths of every shape, to see where a key template would put them."""


def impossible(config: Config) -> Iterator[Complaint]:
    """Every combination in `config` that cannot work."""
    yield from _one_place(config.destination)
    yield from _encryption(config.destination)
    yield from _memory(config.transfer)
    yield from _names_of_sources(config)
    for number, source in enumerate(config.sources):
        at: KeyPath = ("sources", number)
        yield from _sizes(at, source)
        yield from _template_names(at, source)
        if isinstance(source, ManifestSource):
            yield from _fields(at, source)
    yield from _later_names(config)


def in_itself(config: Config, resolve: Callable[[Path], Path]) -> Iterator[Complaint]:
    """Sources that stand where their objects would go. `resolve` follows symbolic links."""
    yield from _moves_its_own_ledger(config, resolve)
    folder = config.destination.folder
    if folder is None:
        return
    for number, source in enumerate(config.sources):
        if source.root is None:
            continue
        root = resolve(source.root)
        landing = resolve(folder / _fixed_part(config.destination.prefix, source.key))
        reads: tuple[KeyPath, ...] = (
            ("destination", "url"),
            ("destination", "prefix"),
            ("sources", number, "key"),
            ("sources", number, "match"),
        )
        path: KeyPath = ("sources", number, "root")
        if _every_key_is_its_location(config.destination, source, lambda place: resolve(folder / place), root):
            yield Complaint(path, f"every file of {root} already stands at its own key; nothing would move", reads)
        elif source.type == "directory" and landing.is_relative_to(root):
            inside = landing.relative_to(root).as_posix()
            if not _leaves_out(source.exclude, inside):
                advice = "choose another destination" if inside == "." else f'add "/{inside}/**" to exclude'
                text = f"the scan of {root} would find what is written to {landing}; {advice}"
                yield Complaint(path, text, (*reads, ("sources", number, "exclude")))


def _moves_its_own_ledger(config: Config, resolve: Callable[[Path], Path]) -> Iterator[Complaint]:
    checkpoints = resolve(config.checkpoint_dir)
    for number, source in enumerate(config.sources):
        if source.type != "directory" or not checkpoints.is_relative_to(resolve(source.root)):
            continue
        inside = checkpoints.relative_to(resolve(source.root)).as_posix()
        if not _leaves_out(source.exclude, inside):
            advice = "set checkpoint_dir elsewhere" if inside == "." else f'add "/{inside}/**" to exclude'
            text = f"the scan of {source.root} would find the ledger in {checkpoints}; {advice}"
            yield Complaint(("sources", number, "root"), text, (("checkpoint_dir",), ("sources", number, "exclude")))


def _leaves_out(exclude: Collection[str], folder: str) -> bool:
    return any(pattern.removeprefix("/").removesuffix("/**").removesuffix("/") == folder for pattern in exclude)


def _fixed_part(prefix: str, key: str) -> str:
    """The folder that every key begins with."""
    return (prefix + compile_template(key).pieces[0]).rpartition("/")[0]


def _every_key_is_its_location(
    destination: Destination, source: SourceConfig, place: Callable[[str], Path], root: Path
) -> bool:
    maker = KeyMaker(source.key, prefix=destination.prefix, match=source.match)
    own = []
    for path in _PROBES:
        try:
            key, _ = maker.make(path)
        except (NoMatch, TemplateError):
            continue
        own.append(place(key) == root / path)
    return bool(own) and all(own)


def _one_place(destination: Destination) -> Iterator[Complaint]:
    bucket: KeyPath = ("destination", "bucket")
    url: KeyPath = ("destination", "url")
    if destination.bucket and destination.url:
        yield Complaint(url, "found beside bucket; expected one of the two", (bucket,))
    elif not destination.url and not destination.bucket:
        yield Complaint(bucket, 'missing; expected the name of a bucket, or url = "file:///..." for a folder', (url,))
    elif destination.url:
        for name in _BUCKET_KEYS:
            if getattr(destination, name) != type(destination).model_fields[name].get_default(
                call_default_factory=True
            ):
                yield Complaint(("destination", name), "says something of a bucket; a folder (url) has none", (url,))


def _encryption(destination: Destination) -> Iterator[Complaint]:
    if destination.kms_key_id and not destination.sse.startswith("aws:kms"):
        text = 'found without a key service; expected sse = "aws:kms" or "aws:kms:dsse" beside it'
        yield Complaint(("destination", "kms_key_id"), text, (("destination", "sse"),))


def _memory(transfer: Transfer) -> Iterator[Complaint]:
    if transfer.memory < 4 * transfer.part_size:
        text = f"found {transfer.memory} bytes; expected at least 4 parts of part_size, {4 * transfer.part_size} bytes"
        yield Complaint(("transfer", "memory"), text, (("transfer", "part_size"),))


def _names_of_sources(config: Config) -> Iterator[Complaint]:
    first: dict[str, int] = {}
    for number, source in enumerate(config.sources):
        other = first.setdefault(source.name, number)
        if other != number:
            text = f'found "{source.name}", which names sources[{other}] too; expected a name of its own'
            yield Complaint(
                ("sources", number, "name"), text, (("sources", other, "name"), ("sources", number, "type"))
            )


def _sizes(at: KeyPath, source: SourceConfig) -> Iterator[Complaint]:
    if source.min_size is not None and source.max_size is not None and source.min_size > source.max_size:
        text = f"found {source.min_size} bytes; expected at most max_size, {source.max_size} bytes"
        yield Complaint((*at, "min_size"), text, ((*at, "max_size"),))


def _fields(at: KeyPath, source: ManifestSource) -> Iterator[Complaint]:
    kind = source.format_of(source.files)
    reads = ((*at, "format"), (*at, "files"))
    if kind == "txt" and source.fields:
        yield Complaint((*at, "fields"), "found for txt, which has one location a line; remove it", reads)
    elif kind != "txt" and not source.fields:
        allowed = 'the names whose text is a location, such as ["image_url"]'
        other = "" if kind else ', or format = "txt"'
        yield Complaint((*at, "fields"), f"missing; expected {allowed}{other}", reads)


def _known_names(source: SourceConfig) -> tuple[str, ...]:
    return (*PATH_NAMES, *re.compile(source.match).groupindex)


def _open(source: SourceConfig) -> bool:
    """Whether items bring names of their own, which nobody knows before they are read."""
    return isinstance(source, ManifestSource) and source.format_of(source.files) != "txt"


def _strangers(names: Collection[str], known: Collection[str]) -> str:
    """What is wrong with the names that are not known; empty when all are."""
    strangers = [name for name in dict.fromkeys(names) if name not in known]
    near = nearest(strangers[0], known) if strangers else ""
    listed = ", ".join(f"{{{name}}}" for name in strangers)
    return listed and (
        f"found the unknown {listed}; known: {', '.join(known)}" + (f"; nearest: {{{near}}}" if near else "")
    )


def _template_names(at: KeyPath, source: SourceConfig) -> Iterator[Complaint]:
    if not _open(source):
        wrong = _strangers(compile_template(source.key).names, _known_names(source))
        if wrong:
            yield Complaint((*at, "key"), wrong, tuple((*at, name) for name in ("match", "format", "files")))


def _later_names(config: Config) -> Iterator[Complaint]:
    for section in ("metadata", "tags"):
        for key, template in getattr(config.destination, section).items():
            path: KeyPath = ("destination", section, key)
            names = compile_template(template).names
            for name, needed in _NEEDED.items():
                if name in names and not getattr(config.destination, needed):
                    text = f"found {{{name}}}, which has no value without destination.{needed}"
                    yield Complaint(path, text, (("destination", needed),))
            for number, source in enumerate(config.sources):
                known = (*STORED_NAMES, *_known_names(source))
                wrong = "" if _open(source) else _strangers(names, known)
                if wrong:
                    reads = tuple(("sources", number, read) for read in ("match", "format", "files"))
                    yield Complaint(path, f'for source "{source.name}" {wrong}', reads)
