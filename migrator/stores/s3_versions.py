"""What a bucket says of its versions: whether there are any, and those of one key (ListObjectVersions)."""

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from msgspec import Struct

from migrator.clients.refusals import read_element, read_error
from migrator.clients.s3 import S3Client
from migrator.clients.signing import encode_query
from migrator.stores.s3_headers import read_key

_ENTRY = re.compile(rb"<(Version|DeleteMarker)>(.*?)</\1>", re.DOTALL)


class Version(Struct, frozen=True):
    """A version of an object, or a delete marker. `modified` is in seconds since the epoch."""

    id: str
    modified: float
    latest: bool
    marker: bool


async def versioning(client: S3Client) -> str:
    """The bucket's own word: Enabled, Suspended, or empty where there was never any.

    Raises Forbidden, or Invalid where the server knows no versions.
    """
    answer = await client.send("VERSIONING", "GET", "", {}, query="versioning=")
    status = read_element(answer.body, "Status")
    if not status and read_error(answer.body)[0]:  # not by the root's name: servers call it as they like
        raise client.error("VERSIONING", "", answer._replace(status=500))
    return status


async def list_versions(client: S3Client, key: str) -> list[Version]:
    """Versions and delete markers of exactly this key, the newest first. Raises as `versioning`."""
    # Asked for URL-encoded: XML cannot hold every byte of a key. The key itself is the first of those that begin so.
    query = encode_query({"versions": "", "encoding-type": "url", "prefix": key})
    answer = await client.send("LIST VERSIONS", "GET", "", {}, query=query)
    client.told("LIST VERSIONS", key, answer, "ListVersionsResult", empty=True)
    encoded = read_element(answer.body, "EncodingType") == "url"
    entries = [(kind == b"DeleteMarker", entry) for kind, entry in _ENTRY.findall(answer.body)]
    found = [_version(entry, marker=marker) for marker, entry in entries if read_key(entry, encoded=encoded) == key]
    return sorted(found, key=lambda one: (one.latest, one.modified), reverse=True)


def _version(entry: bytes, *, marker: bool) -> Version:
    modified = datetime.fromisoformat(read_element(entry, "LastModified")).timestamp()
    return Version(read_element(entry, "VersionId"), modified, read_element(entry, "IsLatest") == "true", marker)


def version_beneath(versions: Sequence[Version], version_id: str) -> Version | None:
    """The version that shows again when `version_id` goes; None where there is none, or a delete marker hides it.

    Some servers tell whole seconds: a marker of about the same time counts as one that stands between the two.
    """
    objects = [one for one in versions if not one.marker]
    for upper, lower in pairwise(objects):
        if upper.id == version_id:
            hidden = any(one.marker and lower.modified <= one.modified <= upper.modified for one in versions)
            return None if hidden else lower
    return None
