"""Listings of a bucket with sizes and times: objects, and multipart uploads that are still open."""

import html
import re
from collections.abc import AsyncIterator
from datetime import datetime

from migrator.clients.aws import Access
from migrator.clients.refusals import read_element
from migrator.clients.s3 import S3Client
from migrator.clients.signing import encode_query
from migrator.core.errors import Gone
from migrator.core.orphans import Listed, Unfinished
from migrator.stores.s3_headers import bare, read_key

_ENTRY = re.compile(rb"<Contents>(.*?)</Contents>", re.DOTALL)


async def listed(client: S3Client, prefix: str, position: str) -> AsyncIterator[tuple[list[Listed], str]]:
    """See `Inventory`. Asked for URL-encoded: XML cannot hold every byte of a key."""
    wanted, token = {"list-type": "2", "encoding-type": "url", "prefix": prefix}, position
    while True:
        query = encode_query(wanted | ({"continuation-token": token} if token else {}))
        body = (await client.send("LIST", "GET", "", {}, query=query)).body
        encoded = read_element(body, "EncodingType") == "url"
        token = read_element(body, "NextContinuationToken") if read_element(body, "IsTruncated") == "true" else ""
        yield [_listed(entry, encoded=encoded) for entry in _ENTRY.findall(body)], token
        if not token:
            return


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
