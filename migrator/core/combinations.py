"""What no single key can tell: combinations that cannot work, in an otherwise valid configuration."""

import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from migrator.core.complaints import Complaint, nearest
from migrator.core.config import Config, Destination, ManifestSource, SourceConfig, TableSource, Transfer, Variant
from migrator.core.keys import PATH_NAMES, STORED_NAMES, KeyMaker, Naming, NoMatch, TemplateError, compile_template
from migrator.core.overlap import buckets_in_themselves
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

DATABASES = ("sqlite", "postgresql", "postgres", "mysql", "mariadb")
"""The first words of database URLs."""

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
        if isinstance(source, TableSource):
            yield from _database(at, source)
            yield from _update(at, source, config.destination)
    yield from _later_names(config)
    for number, variant in enumerate(config.variants):
        yield from _bounds(("variants", number), variant)
        yield from _idle_keys(("variants", number), variant)
    yield from _names_of_variants(config)
    yield from _wanted_variants(config)
    yield from _variant_keys(config)
    yield from _variants_in_rows(config)


def in_itself(config: Config, resolve: Callable[[Path], Path]) -> Iterator[Complaint]:
    """Sources that stand where their objects would go. `resolve` follows symbolic links."""
    yield from _moves_its_own_ledger(config, resolve)
    yield from buckets_in_themselves(config)
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
    maker = KeyMaker(source.key, Naming(destination.prefix), match=source.match)
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


def _database(at: KeyPath, source: TableSource) -> Iterator[Complaint]:
    url: KeyPath = (*at, "database_url")
    variable: KeyPath = (*at, "database_url_env")
    if source.database_url and source.database_url_env:
        yield Complaint(variable, "found beside database_url; expected one of the two", (url,))
    elif not source.database_url and not source.database_url_env:
        text = 'missing; expected the name of an environment variable that holds the URL, such as "DATABASE_URL"'
        yield Complaint(variable, text, (url,))
    if source.database_url and source.database_url.partition(":")[0].partition("+")[0].lower() not in DATABASES:
        known = ", ".join(f"{name}://" for name in DATABASES)
        yield Complaint(url, f"begins as no database URL that is known here; expected one of {known}")


def _update(at: KeyPath, source: TableSource, destination: Destination) -> Iterator[Complaint]:
    if source.update is None:
        return
    if not source.primary_key:
        text = 'missing; update needs it to find the row again, such as ["id"]'
        yield Complaint((*at, "primary_key"), text, ((*at, "update"),))
    for column, template in source.update.set.items():
        path: KeyPath = (*at, "update", "set", column)
        if column in source.primary_key:
            yield Complaint(path, "found a column of primary_key, by which the row is found; leave it as it is")
        for name, needed in _NEEDED.items():
            if name in compile_template(template).names and not getattr(destination, needed):
                text = f"found {{{name}}}, which has no value without destination.{needed}"
                yield Complaint(path, text, (("destination", needed),))


def _known_names(source: SourceConfig) -> tuple[str, ...]:
    return (*PATH_NAMES, *re.compile(source.match).groupindex)


def _open(source: SourceConfig) -> bool:
    """Whether items bring names of their own, which nobody knows before they are read."""
    return isinstance(source, TableSource) or (
        isinstance(source, ManifestSource) and source.format_of(source.files) != "txt"
    )


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
                known = (*STORED_NAMES, *variant_names(config, source), *_known_names(source))
                wrong = "" if _open(source) else _strangers(names, known)
                if wrong:
                    reads = tuple(("sources", number, read) for read in ("match", "format", "files"))
                    yield Complaint(path, f'for source "{source.name}" {wrong}', reads)


_LEAST_BYTES = 256
"""What no image file is smaller than, but for a few pixels of one colour."""


def variant_names(config: Config, source: SourceConfig) -> tuple[str, ...]:
    """Names that the variants of `source` have in later templates; without the format where there is one only."""
    return tuple(
        f"variant.{variant.name}{step}.{what}"
        for variant in config.variants_of(source)
        for step in (*(f".{name}" for name in variant.formats), *([""] if len(variant.formats) == 1 else []))
        for what in ("key", "url")
    )


def _bounds(at: KeyPath, variant: Variant) -> Iterator[Complaint]:
    sides = ("width", "height")
    missing = [side for side in sides if getattr(variant, side) is None]
    if len(missing) == 2:
        yield Complaint((*at, "width"), "missing; expected width or height or both, in pixels", ((*at, "height"),))
    elif missing and variant.fit != "inside":
        text = f'missing; fit = "{variant.fit}" needs width and height'
        yield Complaint((*at, missing[0]), text, tuple((*at, key) for key in (*sides, "fit")))
    if variant.max_bytes is not None and variant.max_bytes < _LEAST_BYTES:
        text = f"found {variant.max_bytes} bytes; expected {_LEAST_BYTES} or more: no image is smaller"
        yield Complaint((*at, "max_bytes"), text)


def _idle_keys(at: KeyPath, variant: Variant) -> Iterator[Complaint]:
    """Keys that would say something of other formats only."""
    if variant.quality is not None and set(variant.formats) == {"png"}:
        yield Complaint((*at, "quality"), "found for png, which loses nothing; remove it", ((*at, "formats"),))
    if variant.animated and set(variant.formats) == {"jpeg"}:
        yield Complaint((*at, "animated"), "found for jpeg, which has one frame; remove it", ((*at, "formats"),))


def _names_of_variants(config: Config) -> Iterator[Complaint]:
    first: dict[str, int] = {}
    for number, variant in enumerate(config.variants):
        other = first.setdefault(variant.name, number)
        if other != number:
            text = f'found "{variant.name}", which names variants[{other}] too; expected a name of its own'
            yield Complaint(("variants", number, "name"), text, (("variants", other, "name"),))


def _wanted_variants(config: Config) -> Iterator[Complaint]:
    names = [variant.name for variant in config.variants]
    for number, source in enumerate(config.sources):
        at: KeyPath = ("sources", number, "variants")
        for name in source.variants or ():
            if name not in names:
                near = nearest(name, names)
                known = f"known: {', '.join(names)}" if names else "there are no [[variants]]"
                text = f'found "{name}", which is no variant; {known}' + (f'; nearest: "{near}"' if near else "")
                yield Complaint(at, text, (("variants",),))
        if not source.keep_original and not config.variants_of(source):
            text = "found false for a source without variants: nothing would be stored"
            yield Complaint(("sources", number, "keep_original"), text, (at, ("variants",)))


def _variant_keys(config: Config) -> Iterator[Complaint]:
    """Unknown names in the keys of variants, and keys that two images would have."""
    numbers = {variant.name: number for number, variant in enumerate(config.variants)}
    shared = set()
    for index, source in enumerate(config.sources):
        taken = {_shape(source.key): "the original"} if source.keep_original else {}
        for variant in config.variants_of(source):
            path: KeyPath = ("variants", numbers[variant.name], "key")
            reads = (
                ("variants",),
                *(("sources", index, key) for key in ("key", "match", "variants", "format", "files")),
            )
            known = (*STORED_NAMES, "format", *_known_names(source))
            wrong = "" if _open(source) else _strangers(compile_template(variant.key).names, known)
            if wrong:
                yield Complaint(path, f'for source "{source.name}" {wrong}', reads)
            for name in variant.formats:
                mine = f'"{variant.name}" as {name}'
                other = taken.setdefault(_shape(variant.key, name), mine)
                if other != mine and (path, other) not in shared:
                    shared.add((path, other))
                    hint = "; tell them apart by {format}" if other.startswith(f'"{variant.name}" ') else ""
                    yield Complaint(path, f"gives {mine} the key of {other}{hint}", reads)


def _shape(key: str, image_format: str = "") -> str:
    """A key template with `{format}` filled in; the same for two templates that make the same keys."""
    pieces = compile_template(key).pieces
    return "".join(
        piece if i % 2 == 0 else image_format if piece == "format" else f"\0{piece}\0" for i, piece in enumerate(pieces)
    )


def _variants_in_rows(config: Config) -> Iterator[Complaint]:
    """Names of variants in `update.set` that the source does not make."""
    for number, source in enumerate(config.sources):
        if not isinstance(source, TableSource) or source.update is None:
            continue
        known = variant_names(config, source)
        for column, text in source.update.set.items():
            at: KeyPath = ("sources", number, "update", "set", column)
            names = [name for name in compile_template(text).names if name.startswith("variant.")]
            wrong = _strangers(names, known or ("no variant of this source",)) if names else ""
            if wrong:
                yield Complaint(at, wrong, (("variants",), ("sources", number, "variants")))
            elif not config.destination.public_url and any(name.endswith(".url") for name in names):
                text = "found the URL of a variant, which has no value without destination.public_url"
                yield Complaint(at, text, (("destination", "public_url"),))
