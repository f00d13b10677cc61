"""migrator.toml as values: one frozen, validated `Config`. How file, environment and flags become one: loading.py."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

SIZE_UNITS = {"": 1, "B": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("KMGTP", 1)
    for suffix, base in (("B", 1000), ("iB", 1024))
}
DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(value: object) -> int:
    """Bytes of `"10MB"` (10^7), `"10MiB"` (10 * 2^20) or a bare number. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGTP]?(?:iB|B)?)", value.strip()) if isinstance(value, str) else None
    if not found or found[2] not in SIZE_UNITS:
        raise ValueError('expected a size such as 1048576, "10MB" (10^7 bytes) or "10MiB" (10 * 2^20)')
    return int(float(found[1]) * SIZE_UNITS[found[2]])


def parse_duration(value: object) -> float:
    """Seconds of `"500ms"`, `"30s"`, `"1h30m"`, `"7d"`. Raises ValueError."""
    found = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", value) if isinstance(value, str) else []
    if not found or "".join(number + unit for number, unit in found) != value:
        raise ValueError('expected a duration such as "500ms", "30s", "1h30m" or "7d"')
    return sum(float(number) * DURATION_UNITS[unit] for number, unit in found)


def _optional_size(value: object) -> int | None:
    return None if value in ("", None) else parse_size(value)


Size = Annotated[int, BeforeValidator(parse_size)]
OptionalSize = Annotated[int | None, BeforeValidator(_optional_size)]
Duration = Annotated[float, BeforeValidator(parse_duration)]


class Section(BaseModel):
    """A table of the file: unknown keys are refused, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Destination(Section):
    """Where everything goes: a bucket, or a directory given as `url = "file:///..."`."""

    bucket: str = ""
    url: str = ""
    fallback_buckets: tuple[str, ...] = ()
    prefix: str = ""
    region: str = "us-east-1"
    endpoint_url: str = ""
    profile: str = ""
    on_conflict: Literal["fail", "skip", "overwrite"] = "fail"
    storage_class: str = ""
    sse: str = ""
    kms_key_id: str = ""
    acl: str = ""
    cache_control: str = ""
    content_disposition: str = ""
    metadata: dict[str, str] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    public_url: str = ""


class SourceBase(Section):
    """What sources of every type have."""

    name: str = ""
    key: str
    match: str = ""
    on_no_match: Literal["fail", "skip"] = "fail"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    min_size: OptionalSize = None
    max_size: OptionalSize = None
    expect: Literal["any", "image"] = "any"


class DirectorySource(SourceBase):
    """A tree of files."""

    type: Literal["directory"]
    root: Path
    follow_symlinks: bool = False


class ManifestSource(SourceBase):
    """Files that name locations."""

    type: Literal["manifest"]
    files: str
    format: Literal["", "json", "jsonl", "csv", "txt"] = ""
    fields: tuple[str, ...] = ()
    base_url: str = ""
    root: Path | None = None
    allow_private: bool = False


SourceConfig = Annotated[DirectorySource | ManifestSource, Field(discriminator="type")]


class Transfer(Section):
    """How fast and how patiently."""

    concurrency: int = Field(default=64, ge=1, le=4096)
    memory: Size = 256 * 1024 * 1024
    part_size: Size = 8 * 1024 * 1024
    retries: int = Field(default=5, ge=0, le=100)
    timeout: Duration = 60.0
    connect_timeout: Duration = 10.0
    bandwidth: OptionalSize = None
    """Bytes a second; None: no bound."""
    requests_per_second: float = Field(default=0, ge=0)
    """0: no bound."""
    per_host: int = Field(default=32, ge=1)


class Config(Section):
    """A whole migration, ready to run: defaults filled in, paths absolute or relative to the working directory."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    checkpoint_dir: Path = Path("checkpoints")
    destination: Destination
    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    transfer: Transfer = Field(default_factory=Transfer)

    @property
    def ledger_path(self) -> Path:
        """The ledger of this migration."""
        return self.checkpoint_dir / f"{self.name}.db"

    @property
    def log_path(self) -> Path:
        """The JSON lines log of this migration."""
        return self.checkpoint_dir / f"{self.name}.log"
