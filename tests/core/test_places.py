"""Which bucket an item is read from, by which connection, and when two places are one."""

from typing import Any

import pytest

from migrator.core.combinations import in_itself
from migrator.core.config import Config
from migrator.core.places import Place, endpoint_name, place_of_item, s3_location, s3_parts, same_place


def config(*sources: dict[str, Any], **destination: Any) -> Config:
    """A migration into the bucket `here` at http://new:9000."""
    values = {"bucket": "here", "endpoint_url": "http://new:9000", "profile": "ours"} | destination
    return Config.model_validate({"name": "places", "destination": values, "sources": sources}, strict=False)


def bucket(called: str = "old", **settings: Any) -> dict[str, Any]:
    return {"type": "bucket", "name": f"of-{called}", "bucket": called, "key": "{path}"} | settings


@pytest.mark.parametrize("key", ["a/b", "/a", "a?b#c%20", "", "s3://x/y"])
def test_a_location_holds_its_key_as_it_stands(key: str) -> None:
    assert s3_parts(s3_location("old", key)) == ("old", key)


def test_what_a_source_does_not_say_is_the_destination_s() -> None:
    made = config(bucket("old"), bucket("far", endpoint_url="https://far", region="eu-west-3", request_payer=True))
    assert place_of_item(made, "of-old", "old") == Place("old", "http://new:9000", "us-east-1", "ours")
    assert place_of_item(made, "of-far", "far") == Place("far", "https://far", "eu-west-3", "ours", True)
    assert place_of_item(made, "a table", "far").endpoint_url == "https://far"
    assert place_of_item(made, "a table", "third") == Place("third", "http://new:9000", "us-east-1", "ours")


def test_two_servers_may_have_buckets_of_one_name() -> None:
    made = config(bucket("old", endpoint_url="http://one"), bucket("old", endpoint_url="http://two", name="second"))
    assert place_of_item(made, "second", "old").endpoint_url == "http://two"
    assert place_of_item(made, "of-old", "old").endpoint_url == "http://one"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://Host:9000/", "http://host:9000", True),
        ("https://host:443", "https://HOST./", True),
        ("http://localhost:9000", "http://[::1]:9000", True),
        ("http://127.0.0.1", "http://localhost:80", True),
        ("https://s3.amazonaws.com", "https://s3.eu-west-3.amazonaws.com", True),
        ("http://host", "https://host", False),
        ("http://host:9000", "http://host:9001", False),
        ("http://host/a", "http://host/b", False),
    ],
)
def test_spellings_of_one_endpoint(one: str, other: str, same: bool) -> None:
    assert (endpoint_name(one) == endpoint_name(other)) is same
    assert same_place(Place("b", one, "r", ""), Place("b", other, "q", "p")) is same
    assert same_place(Place("b", one, "r", ""), Place("c", one, "r", "")) is False


def test_only_the_aws_configuration_tells_what_an_empty_endpoint_is() -> None:
    assert same_place(Place("b", "", "r", ""), Place("b", "", "r", "")) is True
    assert same_place(Place("b", "", "r", "one"), Place("b", "", "r", "two")) is None
    assert same_place(Place("b", "", "r", ""), Place("b", "http://host", "r", "")) is None


@pytest.mark.parametrize(
    ("destination", "source", "refused"),
    [
        ({}, {}, True),
        ({}, {"endpoint_url": "http://NEW:9000/"}, True),
        ({}, {"key": "{dir}/{name}"}, True),  # a key without a slash has none: nothing would move
        ({"prefix": "new/"}, {}, False),
        ({"prefix": "new/"}, {"match": "^new/(?P<rest>.*)$", "key": "{rest}"}, True),
        ({"prefix": "new/"}, {"prefix": "new/", "match": "^new/(?P<rest>.*)$", "key": "{rest}"}, True),
        ({}, {"endpoint_url": "http://other:9000"}, False),
        ({}, {"bucket": "elsewhere"}, False),
        ({}, {"match": "^(?P<lot>[^/]+)/", "key": "{lot}/original.jpg"}, False),
    ],
)
def test_row_29_a_bucket_whose_every_key_is_its_location_is_refused(
    destination: dict[str, Any], source: dict[str, Any], refused: bool
) -> None:
    complaints = list(in_itself(config(bucket("here") | source, **destination), lambda path: path))
    assert [complaint.path for complaint in complaints] == ([("sources", 0, "bucket")] if refused else [])
