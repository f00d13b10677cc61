"""What a report says beside the ledger: where everything came from and went to, and what wrote the report."""

import platform
import sqlite3
from collections.abc import Mapping
from importlib.metadata import version

from msgspec import Struct
from msgspec.structs import asdict

from migrator.core.config import BucketSource, Config, DirectorySource, ManifestSource, SourceConfig
from migrator.core.secrets import mask_text, mask_url


class Facts(Struct, frozen=True):
    """All of it is safe to show.

    origins   where the objects of each source come from, by its name
    versions  of the program that writes the report and of what it stands on
    """

    name: str
    destination: str
    origins: Mapping[str, str]
    config_hash: str
    versions: Mapping[str, str]

    def tree(self) -> dict[str, object]:
        """As plain values."""
        return {name: value for name, value in asdict(self).items() if name != "name"}


def facts_of(config: Config, bucket: str) -> Facts:
    """`bucket` is the one in use, which `setup` may have chosen."""
    return Facts(
        name=config.name,
        destination=_destination(config, bucket),
        origins={source.name: _origin(source) for source in config.sources},
        config_hash=config.digest,
        versions={
            "migrator": version("migrator"),
            "Python": platform.python_version(),
            "SQLite": sqlite3.sqlite_version,
            "platform": platform.platform(),
        },
    )


def _destination(config: Config, bucket: str) -> str:
    destination = config.destination
    if destination.url:
        return destination.url
    return _at(f"s3://{bucket}/{destination.prefix}", destination.endpoint_url)


def _origin(source: SourceConfig) -> str:
    match source:
        case DirectorySource():
            return f"the folder {source.root}"
        case ManifestSource():
            return f"what {source.files} lists"
        case BucketSource():
            return _at(f"s3://{source.bucket}/{source.prefix}", source.endpoint_url)
    where = f", rows of {source.update.table}" if source.update else ""
    return f"a query of a database{where}, at {mask_text(source.location)}"


def _at(place: str, endpoint_url: str) -> str:
    return f"{place} at {mask_url(endpoint_url)}" if endpoint_url else place
