"""What a bucket says of the versions of one key (ListObjectVersions)."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from msgspec import Struct


class Version(Struct, frozen=True):
    """A version of an object, or a delete marker. `modified` is in seconds since the epoch."""

    id: str
    modified: float
    latest: bool
    marker: bool


def read_versions(answer: Mapping[str, Any], key: str) -> list[Version]:
    """Versions and delete markers of exactly this key, the newest first."""
    kinds = ((answer.get("Versions", ()), False), (answer.get("DeleteMarkers", ()), True))
    found = [
        Version(entry["VersionId"], entry["LastModified"].timestamp(), bool(entry["IsLatest"]), marker)
        for entries, marker in kinds
        for entry in entries
        if entry["Key"] == key
    ]
    return sorted(found, key=lambda one: (one.latest, one.modified), reverse=True)


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
