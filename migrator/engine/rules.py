"""What the configuration wants of each object, compiled once from Config: sizes, content, metadata, conflicts."""

import contextlib
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import quote

from msgspec import Struct

from migrator.core.config import Config, SourceBase, SourceConfig, TableSource
from migrator.core.content import content_type, image_problem
from migrator.core.errors import Changed, Invalid
from migrator.core.keys import STORED_NAMES, Template, TemplateError, compile_template, names_in
from migrator.core.model import RESERVED_PREFIX, Side, Skip, Skipped, Task
from migrator.core.objects import MARKS, PUT_ID, Description, Upload
from migrator.core.places import place_of_destination, place_of_item, s3_location, s3_parts, same_place
from migrator.core.variants import Wanted, names_of
from migrator.core.verification import Expected


class Told(Protocol):
    """What is known of an object before its bytes are sent: of an open `Body`, or `Described` by its bucket."""

    @property
    def content_type(self) -> str | None: ...

    @property
    def modified(self) -> float | None: ...

    @property
    def description(self) -> Description | None: ...


class SourceRules(Struct, frozen=True):
    """The bounds that one source sets."""

    min_size: int | None
    max_size: int | None
    image: bool
    told: frozenset[str] = frozenset()
    """Names of what is known of a stored object only, such as `sha256`, that go into rows."""


class Spec(Struct, frozen=True):
    """A variant in one format, and the template of its key."""

    wanted: Wanted
    key: Template

    @property
    def name(self) -> tuple[str, str]:
        """(name, format): what tells it from the other variants of an image."""
        return self.wanted.name, self.wanted.format


class Rules(Struct, frozen=True):
    """Everything of the configuration that a single transfer asks for."""

    sources: Mapping[str, SourceRules]
    metadata: Mapping[str, Template]
    tags: Mapping[str, Template]
    on_conflict: str
    prefix: str
    public_url: str
    bucket: str
    headers: Mapping[str, str]
    """Configured headers that take the place of those of the source, names in lower case."""
    storage_class: str
    variants: Mapping[str, tuple[Spec, ...]]
    """What is made of the images of each source."""
    reads_destination: frozenset[str]
    """Sources whose locations may lie in the destination."""
    names_variants: bool
    """Whether metadata or tags name the key of a variant."""

    @classmethod
    def of(cls, config: Config, bucket: str) -> "Rules":
        """Compiles the rules; `bucket` is the one in use, which may be a fallback."""
        destination = config.destination
        return cls(
            sources={source.name: _source_rules(source) for source in config.sources},
            metadata={name: compile_template(text) for name, text in destination.metadata.items()},
            tags={name: compile_template(text) for name, text in destination.tags.items()},
            on_conflict=destination.on_conflict,
            prefix=destination.prefix,
            public_url=destination.public_url.rstrip("/"),
            bucket=bucket,
            headers={
                name: value
                for name, value in (
                    ("cache-control", destination.cache_control),
                    ("content-disposition", destination.content_disposition),
                )
                if value
            },
            storage_class=destination.storage_class,
            variants={source.name: _specs(config, source) for source in config.sources},
            reads_destination=frozenset(
                source.name
                for source in config.sources
                if destination.folder is None
                and same_place(place_of_item(config, source.name, bucket), place_of_destination(destination, bucket))
            ),
            names_variants=any(
                "{variant." in text for text in (*destination.metadata.values(), *destination.tags.values())
            ),
        )

    def check_size(self, task: Task, size: int) -> None:
        """Raises Invalid when `size` bytes are outside the source's bounds."""
        rules = self.sources[task.source]
        if rules.min_size is not None and size < rules.min_size:
            raise Invalid(f"{task.location} has {size} bytes; min_size is {rules.min_size}")
        if rules.max_size is not None and size > rules.max_size:
            raise Invalid(f"{task.location} has {size} bytes; max_size is {rules.max_size}")

    def check_content(self, task: Task, head: bytes, size: int | None) -> None:
        """Raises Invalid when the first bytes are not what the source expects."""
        if self.sources[task.source].image:
            problem = image_problem(head, size)
            if problem:
                raise Invalid(f"{task.location} is no image: {problem}")

    def check_stood(self, task: Task, sha256: bytes) -> None:
        """Raises Changed when an object that is stored once more would become another one than rows may tell of."""
        if task.stood and not task.stood.renewed and task.stood.sha256 not in (None, sha256):
            raise Changed(
                f"{task.location} has other bytes than those which were stored under {task.key}",
                hint="nothing was sent; bring these bytes back, or `migrator retry --changed` plans it as it is now",
            )

    def stands_in_place(self, task: Task) -> bool:
        """Whether the location is the key itself: there is nothing to move, if there is anything at all."""
        return task.source in self.reads_destination and task.location == s3_location(self.bucket, task.key)

    def own_put(self, task: Task, body: Told) -> Skipped | None:
        """Skipped where the source is what this ledger itself put into the destination.

        The ledger leaves such objects out as they are listed; but one server may have names that nobody knows for one.
        """
        ledger, _, _ = task.put_id.partition("/")
        mark = body.description.metadata.get(PUT_ID, "") if body.description else ""
        if mark.partition("/")[0] != ledger or s3_parts(task.location)[0] != self.bucket:
            return None
        return Skipped(Skip.IN_PLACE, "this migration put it there")

    def upload(self, task: Task, body: Told, head: bytes, size: int | None, sha256: bytes | None) -> Upload:
        """What will stand under the task's key. Raises Invalid when a metadata template lacks a value."""
        carried = body.description
        # What a bucket says of its object stays, however vague: a copy is the same object.
        kind = (carried and body.content_type) or content_type(task.key, body.content_type, head)
        metadata = {PUT_ID: task.put_id}
        if body.modified is not None:
            # The name under which rclone keeps and reads modification times: seconds since the epoch.
            metadata["mtime"] = f"{body.modified:.9f}".rstrip("0").rstrip(".")
        tags: dict[str, str] = {}
        if carried:
            metadata |= {name: value for name, value in carried.metadata.items() if name not in MARKS}
            tags |= carried.tags or {}
        self._configure(task, kind, size, sha256, metadata, tags)
        return Upload(task.key, size, sha256, kind, metadata, tags or None, carried.headers if carried else None)

    def variant_upload(self, own: Task, kind: str, size: int, sha256: bytes) -> Upload:
        """What will stand under the key of a variant, for which `own` is the task. It carries nothing of its source."""
        metadata, tags = {PUT_ID: own.put_id}, dict[str, str]()
        self._configure(own, kind, size, sha256, metadata, tags)
        return Upload(own.key, size, sha256, kind, metadata, tags or None)

    def _configure(
        self,
        task: Task,
        kind: str,
        size: int | None,
        sha256: bytes | None,
        metadata: dict[str, str],
        tags: dict[str, str],
    ) -> None:
        """Adds the configured metadata and tags. Raises Invalid when a template lacks a value."""
        if not self.metadata and not self.tags:
            return
        values = self.values(task, kind, size, sha256)
        try:
            # Header names know no case: what is configured takes the place of what the source spelled otherwise.
            metadata |= {name.lower(): template.fill(values) for name, template in self.metadata.items()}
            tags |= {name: template.fill(values) for name, template in self.tags.items()}
        except TemplateError as error:
            raise Invalid(f"metadata of {task.key}: {error}", side=Side.SOURCE) from None

    def metadata_of(self, expected: Expected) -> dict[str, str]:
        """The configured metadata that a stored object has to carry, as far as the ledger can still tell."""
        if not self.metadata or not expected.put_id:
            return {}
        values = self.values(expected.task, expected.content_type or "", expected.size, expected.sha256)
        found = {}
        for name, template in self.metadata.items():
            if all(values.get(wanted) is not None for wanted in template.names):
                found[name.lower()] = template.fill(values)
        return found

    def values(self, task: Task, kind: str, size: int | None, sha256: bytes | None) -> dict[str, str | None]:
        """What templates may use of an object that is about to be stored."""
        values: dict[str, str | None] = dict(task.fields or {})
        values |= {
            "key": task.key,
            "url": f"{self.public_url}/{quote(task.key)}" if self.public_url else None,
            "sha256": sha256.hex() if sha256 else None,
            "size": None if size is None else str(size),
            "content_type": kind,
            "destination.bucket": self.bucket,
        }
        return values | self._names_of_variants(task.source, values) if self.names_variants else values

    def _names_of_variants(self, source: str, values: Mapping[str, str | None]) -> dict[str, str | None]:
        """What the variants of this image will be called, where that can be told."""
        keys = {}
        for spec in self.variants.get(source, ()):  # the ledger may know sources that are no longer configured
            with contextlib.suppress(TemplateError):
                keys[spec.name] = self.prefix + spec.key.fill({**values, "format": spec.wanted.format})
        return names_of(keys, self.public_url)

    @property
    def wants_digest_first(self) -> bool:
        """Whether metadata holds {sha256} or {size}, which a stream tells only after its last byte."""
        templates = (*self.metadata.values(), *self.tags.values())
        return any(name in ("sha256", "size") for template in templates for name in template.names)

    @property
    def names_digest(self) -> bool:
        """Whether metadata or tags hold {sha256}."""
        return any("sha256" in template.names for template in (*self.metadata.values(), *self.tags.values()))

    @property
    def alters(self) -> bool:
        """Whether the configuration gives an object other headers, metadata or tags than its source has."""
        return bool(self.metadata or self.tags or self.headers)

    def backup_key(self, ledger: str, run: int, key: str, digest: str) -> str:
        """Where the object that `overwrite` replaces is kept; its own name where that fits into a key.

        Of another ledger's run with the same number it is another place: else the one would lose what it kept.
        """
        backup = f"{backups_of(self.prefix, ledger)}{run}/{key}"
        return backup if len(backup.encode()) <= 1024 else f"{backups_of(self.prefix, ledger)}{run}/{digest}"


def backups_of(prefix: str, ledger: str) -> str:
    """What the key of every backup begins with that a run of this ledger made."""
    return f"{prefix}{RESERVED_PREFIX}backup/{ledger}/"


def _source_rules(source: SourceBase) -> SourceRules:
    update = source.update if isinstance(source, TableSource) else None
    told = frozenset(names_in(update.set.values() if update else ())).intersection(STORED_NAMES)
    return SourceRules(source.min_size, source.max_size, source.expect == "image", told)


def _specs(config: Config, source: SourceConfig) -> tuple[Spec, ...]:
    return tuple(
        Spec(wanted, compile_template(variant.key))
        for variant in config.variants_of(source)
        for wanted in variant.wanted
    )
