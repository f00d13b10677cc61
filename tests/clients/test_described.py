"""What headers and tag documents say of an object."""

from migrator.clients.described import describe, read_tags, tag_count


def test_headers_metadata_and_nothing_else() -> None:
    told = describe(
        {
            "content-type": "image/jpeg",
            "cache-control": "no-store",
            "expires": "0",
            "etag": '"x"',
            "x-amz-meta-lot": "42",
            "x-amz-meta-title": "\u00c3\u0089t\u00c3\u00a9",
            "x-amz-meta-odd": "\u00e9",
            "x-amz-version-id": "v",
        }
    )
    assert told.headers == {"cache-control": "no-store", "expires": "0"}
    assert told.metadata == {"lot": "42", "title": "\u00c9t\u00e9", "odd": "\u00e9"}
    assert told.tags is None


def test_tags_are_unescaped() -> None:
    document = (
        b"<Tagging><TagSet><Tag><Key>a&amp;b</Key><Value>1 &lt; 2</Value></Tag>"
        b"<Tag>\n<Value></Value><Key>empty</Key></Tag><Tag><Key>none</Key><Value/></Tag></TagSet></Tagging>"
    )
    assert read_tags(document) == {"a&b": "1 < 2", "empty": "", "none": ""}
    assert read_tags(b"<Tagging><TagSet/></Tagging>") == {}


def test_how_many_tags_there_are() -> None:
    assert tag_count({"x-amz-tagging-count": "3"}) == 3
    assert tag_count({"x-amz-tagging-count": "many"}) == 0
    assert tag_count({}) == 0
