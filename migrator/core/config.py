"""migrator.toml as values: one frozen, validated `Config`. File + environment + flags -> Config: loading.py.

The descriptions of the fields are the operator's reference: docs/reference/configuration.md and `migrator init` are
made of them.
"""

import hashlib
import json
from pathlib import Path, PurePath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from migrator.core.keys import STORED_NAMES, names_in
from migrator.core.model import MIB
from migrator.core.values import (
    BareWebAddress,
    BucketName,
    BucketNames,
    CannedAcl,
    Colour,
    Duration,
    Encryption,
    FolderPath,
    FolderUrl,
    Glob,
    Globs,
    Grace,
    Header,
    ImageFormats,
    KeyStart,
    KeyTemplate,
    Metadata,
    Name,
    OptionalFolderPath,
    OptionalName,
    OptionalSize,
    PartSize,
    Pattern,
    Pixels,
    Prefix,
    Quality,
    Rate,
    RowTemplates,
    Size,
    SqlTypes,
    StorageClass,
    Tags,
    Texts,
    TrashPath,
    VariantName,
    VariantNames,
    WebAddress,
    folder_of,
    rgb_of,
)
from migrator.core.variants import Fit, Wanted

MANIFEST_FORMATS = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".txt": "txt"}
"""The format of a manifest by the suffix of its name, where the source does not tell it."""


DEFAULT_QUALITY = {"jpeg": 85, "webp": 85, "avif": 60, "png": 100}
"""Quality where the variant tells none. PNG loses nothing, so it has one quality only."""


class Section(BaseModel):
    """A table of the file: unknown keys are refused, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class Destination(Section):
    """Where everything goes: a bucket, or a folder given as `url`."""

    bucket: BucketName = Field(default="", description="The consolidated bucket.")
    url: FolderUrl = Field(default="", description="A folder in place of a bucket: `file:///mnt/archive`.")
    fallback_buckets: BucketNames = Field(
        default=(),
        description="Other names for the bucket; `migrator setup` takes the first that it owns or can create.",
    )
    prefix: Prefix = Field(
        default="", description="Put before every key as it stands, so end it with `/` for a folder: `storage/`."
    )
    region: str = Field(default="us-east-1", min_length=1, description="The bucket's region.")
    endpoint_url: BareWebAddress = Field(
        default="",
        description="Address of an S3-compatible server; path style, unless AWS's `addressing_style` is `virtual`.",
    )
    profile: str = Field(default="", description="Profile of the AWS configuration to take credentials from.")
    on_conflict: Literal["fail", "skip", "overwrite"] = Field(
        default="fail", description="What to do where other bytes already stand under a key."
    )
    storage_class: StorageClass = Field(
        default="", description="Storage class of the objects; empty: the bucket's default."
    )
    sse: Encryption = Field(default="", description="Server-side encryption; empty: the bucket's default.")
    kms_key_id: str = Field(default="", description='The KMS key; needs `sse = "aws:kms"` or `"aws:kms:dsse"`.')
    acl: CannedAcl = Field(default="", description="Canned ACL of the objects; empty: none is sent.")
    cache_control: Header = Field(default="", description="`Cache-Control` of every object.")
    content_disposition: Header = Field(default="", description="`Content-Disposition` of every object.")
    metadata: Metadata = Field(
        default_factory=dict, description="User metadata of every object, kept beside the source's. Templates."
    )
    tags: Tags = Field(default_factory=dict, description="Tags of every object, at most 10. Templates.")
    public_url: BareWebAddress = Field(default="", description="Base of `{url}`, for example the CDN's address.")

    @property
    def folder(self) -> Path | None:
        """The folder of a `file:///` destination; None for a bucket."""
        return folder_of(self.url) if self.url else None


class SourceBase(Section):
    """What sources of every type have."""

    name: OptionalName = Field(default="", description="Names the source in reports; empty: its type and number.")
    key: KeyTemplate = Field(description="Template of the destination key.")
    match: Pattern = Field(
        default="", description="Regular expression searched in `{path}`; templates may use its named groups."
    )
    on_no_match: Literal["fail", "skip"] = Field(
        default="fail",
        description="What to do with a path that `match` is not found in: a problem in the plan, or nothing.",
    )
    include: Globs = Field(
        default=(),
        description="Globs over `{path}`; empty: everything. `*` stays within a name, `**` spans folders, a pattern "
        "without a slash matches at any depth, and a folder stands for all below it.",
    )
    exclude: Globs = Field(default=(), description="Globs over `{path}` of what stays where it is; beats `include`.")
    min_size: OptionalSize = Field(default=None, description="Smaller objects fail as `invalid`; empty: no bound.")
    max_size: OptionalSize = Field(default=None, description="Larger objects fail as `invalid`; empty: no bound.")
    expect: Literal["any", "image"] = Field(
        default="any", description="`image`: what is no image (an error page, an empty file) fails as `invalid`."
    )
    variants: VariantNames = Field(
        default=None, description="Names of the variants made of its images; empty: all, `[]`: none."
    )
    keep_original: bool = Field(default=True, description="Store the images too; `false`: their variants only.")


class DirectorySource(SourceBase):
    """A tree of files. `{path}` is the path below `root`."""

    type: Literal["directory"] = Field(description="This type.")
    root: FolderPath = Field(description="The folder; relative to the working directory.")
    follow_symlinks: bool = Field(default=False, description="Follow symbolic links; never out of `root`.")


class ManifestSource(SourceBase):
    """Files that name locations: URLs or local paths. `{path}` is the path of the location."""

    type: Literal["manifest"] = Field(description="This type.")
    files: Glob = Field(description="The manifests: a path or a glob, relative to the working directory.")
    format: Literal["", "json", "jsonl", "csv", "txt"] = Field(
        default="", description="Format of the files; empty: by the suffix of each. `txt` has one location a line."
    )
    fields: Texts = Field(
        default=(),
        description="Names whose text is a location: of JSON members at any depth, of CSV columns. "
        "Needed but for `txt`, which has none.",
    )
    base_url: WebAddress = Field(default="", description="Base of relative URLs.")
    root: OptionalFolderPath = Field(
        default=None, description="The folder that local paths stand in; empty: none are allowed."
    )
    buckets: BucketNames = Field(
        default=(), description="Buckets that `s3://` locations may lie in: a manifest chooses none by itself."
    )
    allow_private: bool = Field(
        default=False, description="URLs may lead to loopback, private and link-local addresses; never to file:."
    )

    def format_of(self, name: str) -> str:
        """The format of the manifest called `name`; empty where neither the source nor the suffix tells it."""
        return self.format or MANIFEST_FORMATS.get(PurePath(name).suffix.lower(), "")


class BucketSource(SourceBase):
    """Objects of a bucket. `{path}` is the whole key, byte for byte."""

    type: Literal["bucket"] = Field(description="This type.")
    bucket: BucketName = Field(min_length=3, description="The bucket that is read.")
    prefix: KeyStart = Field(default="", description="Only keys that begin with it.")
    endpoint_url: BareWebAddress = Field(
        default="", description="Address of the server of this bucket; empty: the destination's."
    )
    region: str = Field(default="", description="The bucket's region; empty: the destination's.")
    profile: str = Field(
        default="", description="Profile of the AWS configuration to read with; empty: the destination's."
    )
    request_payer: bool = Field(default=False, description="Requests to this bucket are paid by who makes them.")

    @property
    def root(self) -> None:
        """A bucket holds no local paths."""
        return None


class Update(Section):
    """What becomes of the row when its object has arrived."""

    table: str = Field(min_length=1, description="The table whose rows are updated: `name` or `schema.name`.")
    set: RowTemplates = Field(min_length=1, description="Column -> template of its new value.")
    add_columns: SqlTypes = Field(
        default_factory=dict, description="Column -> SQL type: what `migrator setup` adds where it is missing."
    )


class TableSource(SourceBase):
    """Rows of a query. `{path}` is the path of the location; every column is a name in templates."""

    type: Literal["table"] = Field(description="This type.")
    database_url: str = Field(
        default="", repr=False, description="SQLAlchemy URL; one with a password belongs in the environment."
    )
    database_url_env: str = Field(default="", description="Name of the environment variable that holds the URL.")
    query: str = Field(min_length=1, description="Any SELECT; its columns are names in templates.")
    primary_key: Texts = Field(
        default=(), description="Columns of the query that tell rows apart, by which it is read in pages."
    )
    location: KeyTemplate = Field(description="Template of the location; without a scheme it is a path below `root`.")
    root: OptionalFolderPath = Field(
        default=None, description="The folder that local paths stand in; empty: none are allowed."
    )
    allow_private: bool = Field(
        default=False, description="URLs may lead to loopback, private and link-local addresses; never to file:."
    )
    update: Update | None = Field(default=None, description="The row to update when its object has arrived.")


class Variant(Section):
    """An image made on the way, one of each format. Nothing is enlarged; what is no image passes without variants."""

    name: VariantName = Field(description="Names the variant in `variants` of a source, in templates and in reports.")
    key: KeyTemplate = Field(description="Template of the destination key; needs `{format}` where there are several.")
    width: Pixels = Field(default=None, description="Pixels at most; empty: as many as `height` leaves.")
    height: Pixels = Field(default=None, description="Pixels at most; empty: as many as `width` leaves.")
    fit: Literal["inside", "cover", "contain"] = Field(
        default="inside",
        description="`inside`: the whole image within the bounds. `cover`: its middle in the shape of `width` by "
        "`height`. `contain`: the whole image on a `background` of exactly `width` by `height`.",
    )
    formats: ImageFormats = Field(default=("jpeg",), description="One image of each: `jpeg`, `webp`, `avif`, `png`.")
    quality: Quality = Field(default=None, description="Empty: 85, and 60 for `avif`. `png` has none.")
    max_bytes: OptionalSize = Field(
        default=None,
        description="Bytes at most: the best quality that fits, from `quality` down to 20, then smaller dimensions.",
    )
    strip: bool = Field(
        default=True,
        description="Leave EXIF, GPS, XMP and IPTC out. The orientation is applied first; the colour profile stays.",
    )
    background: Colour = Field(
        default="white", description="Under transparency where the format has none, and around `contain`."
    )
    animated: bool = Field(
        default=False, description="Keep all frames (`webp`, `avif`, `png`); `false`: the first one, as in `jpeg`."
    )

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """What the renderer is asked for, one of each format."""
        return tuple(
            Wanted(
                name=self.name,
                format=image_format,
                width=self.width,
                height=self.height,
                fit=Fit(self.fit),
                quality=self.quality or DEFAULT_QUALITY[image_format],
                max_bytes=self.max_bytes,
                strip=self.strip,
                background=rgb_of(self.background),
                animated=self.animated,
            )
            for image_format in self.formats
        )


SourceConfig = Annotated[DirectorySource | ManifestSource | BucketSource | TableSource, Field(discriminator="type")]


class Transfer(Section):
    """How fast and how patiently."""

    concurrency: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="Transfers in flight at most. A run begins with 32 and doubles them while that makes it faster.",
    )
    memory: Size = Field(default=256 * MIB, description="Bytes of objects held in memory at once; at least 4 parts.")
    part_size: PartSize = Field(
        default=8 * MIB,
        description="Size of the parts of large objects, from 5MiB to 5GiB; above 1 GiB they grow to 16MiB.",
    )
    copy_threshold: PartSize = Field(
        default=5 * 1024 * MIB,
        description="Larger objects are copied in parts where their server copies by itself, from 5MiB to 5GiB.",
    )
    retries: int = Field(default=5, ge=0, le=100, description="Further tries after a failure that may pass.")
    timeout: Duration = Field(default=60.0, description="Longest silence of the other end.")
    connect_timeout: Duration = Field(
        default=10.0, description="Longest wait for the address of a host, and then for a connection."
    )
    bandwidth: Rate = Field(default=None, description='Bytes a second, such as `"50MB"`; empty: no bound.')
    requests_per_second: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="Requests a second to the destination; 0: no bound."
    )
    per_host: int = Field(default=32, ge=1, le=4096, description="Connections to one host of a source.")


class Cleanup(Section):
    """When and how `migrator cleanup` takes sources away whose objects were verified."""

    grace: Grace = Field(
        default=7 * 24 * 3600.0,
        description="How long the last verification of an object must be past before its source goes, and how long a "
        "source stays in the trash before `--purge` deletes it; `0s`: not at all.",
    )
    trash: TrashPath = Field(
        default=".migrator-trash",
        description="Where local files go: a folder below the root of their source, or an absolute path on the same "
        "filesystem, in which each source has a folder of its name. Scans leave it out.",
    )


class Config(Section):
    """A whole migration, ready to run: defaults filled in, paths absolute or relative to the working directory."""

    name: Name = Field(description="Names the migration and its ledger, `<checkpoint_dir>/<name>.db`.")
    checkpoint_dir: FolderPath = Field(
        default=Path("checkpoints"), description="Folder of the ledger and the log; on a disk of this machine."
    )
    destination: Destination = Field(description="Where everything goes.")
    sources: Annotated[tuple[SourceConfig, ...], Field(strict=False)] = Field(
        min_length=1, description="What is to be moved: one or more, all in one ledger."
    )
    variants: Annotated[tuple[Variant, ...], Field(strict=False)] = Field(
        default=(), description="Images made on the way."
    )
    transfer: Transfer = Field(default_factory=Transfer, description="How fast and how patiently.")
    cleanup: Cleanup = Field(default_factory=Cleanup, description="How sources go that are no longer needed.")

    @field_validator("sources")
    @classmethod
    def _name_sources(cls, sources: tuple[SourceConfig, ...]) -> tuple[SourceConfig, ...]:
        return tuple(
            source if source.name else source.model_copy(update={"name": f"{source.type}-{number}"})
            for number, source in enumerate(sources, 1)
        )

    def variants_of(self, source: SourceConfig) -> tuple[Variant, ...]:
        """The variants that are made of the images of `source`."""
        return tuple(each for each in self.variants if source.variants is None or each.name in source.variants)

    def wanted_variants(self, source: SourceConfig) -> tuple[tuple[str, str], ...]:
        """The same by (name, format)."""
        return tuple((each.name, image_format) for each in self.variants_of(source) for image_format in each.formats)

    @property
    def ledger_path(self) -> Path:
        """The ledger of this migration."""
        return self.checkpoint_dir / f"{self.name}.db"

    @property
    def log_path(self) -> Path:
        """The JSON lines log of this migration."""
        return self.checkpoint_dir / f"{self.name}.log"

    @property
    def audit_path(self) -> Path:
        """The audit log of this migration."""
        return self.checkpoint_dir / f"{self.name}.audit.jsonl"

    def needed_variants(self, source: SourceConfig) -> tuple[tuple[str, str], ...]:
        """The variants, (name, format), that the rows of `source` refer to."""
        if not isinstance(source, TableSource) or source.update is None:
            return ()
        names = set(names_in(source.update.set.values()))
        return tuple(
            (variant.name, image_format)
            for variant in self.variants_of(source)
            for image_format in variant.formats
            for step in (f".{image_format}", *([""] if len(variant.formats) == 1 else ()))
            if names & {f"variant.{variant.name}{step}.key", f"variant.{variant.name}{step}.url"}
        )

    @property
    def carry(self) -> tuple[str, ...]:
        """Names of values that metadata, tags and keys of variants want: a scan keeps them (`KeyMaker(carry=)`)."""
        keys = (variant.key for variant in self.variants)
        texts = (*self.destination.metadata.values(), *self.destination.tags.values(), *keys)
        later = (*STORED_NAMES, "format")
        return tuple(name for name in names_in(texts) if name not in later and not name.startswith("variant."))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the effective configuration: the same for the same migration, however it was written."""
        values = self.model_dump(mode="json")
        return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
