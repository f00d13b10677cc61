"""Buckets and how to reach them: the parts of an s3 location, whose connection reads it, which endpoints are one."""

from urllib.parse import urlsplit

from msgspec import Struct

from migrator.core.config import BucketSource, Config, Destination

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_PORTS = {"http": 80, "https": 443}


class Place(Struct, frozen=True):
    """A bucket and the connection that leads to it; what is empty comes from the AWS configuration."""

    bucket: str
    endpoint_url: str
    region: str
    profile: str
    request_payer: bool = False


def s3_location(bucket: str, key: str) -> str:
    """The location of an object. The key stands in it byte for byte: `?`, `#` and `%` are its own."""
    return f"s3://{bucket}/{key}"


def s3_parts(location: str) -> tuple[str, str]:
    """(bucket, key) of an s3 location."""
    bucket, _, key = location[len("s3://") :].partition("/")
    return bucket, key


def place_of_destination(destination: Destination, bucket: str = "") -> Place:
    """`bucket` (default: the configured one) with the destination's connection."""
    return Place(bucket or destination.bucket, destination.endpoint_url, destination.region, destination.profile)


def place_of_source(source: BucketSource, destination: Destination) -> Place:
    """The bucket of a source. What it does not say is as the destination has it."""
    return Place(
        source.bucket,
        source.endpoint_url or destination.endpoint_url,
        source.region or destination.region,
        source.profile or destination.profile,
        source.request_payer,
    )


def place_of_item(config: Config, source: str, bucket: str) -> Place:
    """Where the items of the source called `source` find `bucket`.

    A bucket source has its own connection; a table or manifest takes that of the bucket source that names the bucket,
    else the destination's.
    """
    buckets = [one for one in config.sources if isinstance(one, BucketSource) and one.bucket == bucket]
    for one in sorted(buckets, key=lambda one: one.name != source):
        return place_of_source(one, config.destination)
    return place_of_destination(config.destination, bucket)


def same_place(one: Place, other: Place) -> bool | None:
    """Whether the two are one bucket; None where only the AWS configuration can tell."""
    if one.bucket != other.bucket:
        return False
    if one.endpoint_url and other.endpoint_url:
        return endpoint_name(one.endpoint_url) == endpoint_name(other.endpoint_url)
    if one.endpoint_url == other.endpoint_url and one.profile == other.profile:
        return True
    return None


def endpoint_name(url: str) -> str:
    """One spelling of all that name the same server: AWS is one, whatever the region; so is the loopback interface."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return "aws"
    if host in _LOOPBACK:
        host = "localhost"
    port = parts.port or _PORTS.get(parts.scheme, 0)
    return f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}"


class TrashRoot(Struct, frozen=True):
    """Where the files of one source lie, and where they go: real paths, `trash` on the same filesystem."""

    path: str
    trash: str
