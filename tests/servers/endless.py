"""A bucket of as many keys as one likes, which exist only in the pages that list them."""

import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from tests.servers.scripted import Reply, Request

PAGE = 1_000
_ENTRY = (
    "<Contents><Key>{key}</Key><LastModified>2020-02-02T02:02:02.000Z</LastModified>"
    "<ETag>&quot;{number:032x}&quot;</ETag><Size>{number}</Size><StorageClass>STANDARD</StorageClass></Contents>"
)


def key_of(number: int) -> str:
    """The key of one object; they are in order."""
    return f"lot {number // 1000:07d}/image+{number:010d}.jpg"


def endless(count: int) -> Callable[[Request], Reply]:
    """A script that lists `count` keys by ListObjectsV2, behind a key or a token."""

    def script(request: Request) -> Reply:
        query = parse_qs(urlsplit(request.target).query)
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        first = int(re.findall(r"\d+", after)[-1]) + 1 if after else 0
        last = min(first + PAGE, count)
        entries = "".join(
            _ENTRY.format(key=f"lot+{number // 1000:07d}/image%2B{number:010d}.jpg", number=number)
            for number in range(first, last)
        )
        more = last < count
        token = f"<NextContinuationToken>behind-{last - 1}</NextContinuationToken>" if more else ""
        text = (
            f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>b</Name><KeyCount>{last - first}</KeyCount>'
            f"<EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}"
            "</ListBucketResult>"
        )
        return Reply(body=text.encode(), headers={"content-type": "application/xml"})

    return script
