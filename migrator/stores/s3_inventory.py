"""Listings of a bucket with sizes and times: objects, and multipart uploads that are still open."""

import html
import json
import re
from collections.abc import AsyncIterator
from datetime import datetime

from migrator.clients.aws import Access
from migrator.clients.pages import Position, next_position, page_query
from migrator.clients.refusals import read_element
from migrator.clients.s3 import S3Client
from migrator.core.errors import Gone
from migrator.core.orphans import Listed, Unfinished
from migrator.stores.s3_headers import bare, read_key

_ENTRY = re.compile(rb"<Contents>(.*?)</Contents>", re.DOTALL)


async def listed(client: S3Client, prefix: str, position: str) -> AsyncIterator[tuple[list[Listed], str]]:
    """See `Inventory`."""
    at: Position | None = Position(*json.loads(position)) if position else Position()
    while at is not None:
        body = (await client.send("LIST", "GET", "", {}, query=page_query(prefix, at))).body
        encoded = read_element(body, "EncodingType") == "url"
        objects = [_listed(entry, encoded=encoded) for entry in _ENTRY.findall(body)]
        at = next_position(body, at, objects[-1].key if objects else "", client.side)
        yield objects, json.dumps(at) if at else ""


def _listed(entry: bytes, *, encoded: bool) -> Listed:
    modified = read_element(entry, "LastModified")
    return Listed(
        read_key(entry, encoded=encoded),
        int(read_element(entry, "Size") or 0),
        bare(html.unescape(read_element(entry, "ETag"))),
        datetime.fromisoformat(modified).timestamp() if modified else None,
    )


async def unfinished(access: Access, prefix: str) -> AsyncIterator[list[Unfinished]]:
    """See `Inventory`."""
    marker: dict[str, str] = {}
    while True:
        try:
            page = await access.call("LIST UPLOADS", "list_multipart_uploads", "", Prefix=prefix, **marker)
        except Gone:
            return  # how rclone's server says that there are none
        yield [
            Unfinished(entry["Key"], entry["UploadId"], entry["Initiated"].timestamp())
            for entry in page.get("Uploads", ())
        ]
        if not page.get("IsTruncated"):
            return
        marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
