"""Sizes, durations and the single values of the file: what they mean, and which are refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.core.config import Config
from migrator.core.errors import ConfigError
from migrator.core.loading import configure
from migrator.core.quantities import duration_text, parse_duration, parse_size, size_text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        (1048576, 1048576),
        ("1", 1),
        ("1B", 1),
        ("10KB", 10_000),
        ("10KiB", 10_240),
        ("10MB", 10_000_000),
        ("10MiB", 10 * 2**20),
        ("1.5GiB", 3 * 2**29),
        ("5 TiB", 5 * 2**40),
        ("9007199254740993", 9007199254740993),
        ("2PB", 2 * 10**15),
    ],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "10M", "10mb", "-1", -1, 1.5, True, None, "1e3", "1.MB", "10 MB x", "٣MB"])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="expected a size such as"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("1.5s", 1.5), ("1h30m", 5400), ("7d", 604_800), ("1d1h1m1s1ms", 90_061.001)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "10", 10, "s", "1h 30m", "-1s", "1w", "1sx", None, True])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration such as"):
        parse_duration(text)


@given(st.integers(0, 2**60))
def test_a_size_is_written_as_it_is_read(size: int) -> None:
    assert parse_size(size_text(size)) == size


@given(st.integers(1, 10**6))
def test_a_duration_is_written_as_it_is_read(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(duration_text(seconds)) == pytest.approx(seconds, rel=1e-5)


def configured(section: str, key: str, value: object) -> Config:
    source: dict[str, Any] = {"type": "directory", "root": "data", "key": "{path}"}
    table: dict[str, Any] = {"name": "n", "destination": {"bucket": "photos"}, "sources": [source]}
    table.setdefault(section, {})
    (source if section == "sources" else table[section])[key] = value
    return configure(table, {}, {})


GOOD: list[tuple[str, str, object]] = [
    ("destination", "bucket", "abc"),
    ("destination", "bucket", "Old_Bucket.of-2008"),
    ("destination", "bucket", "x" * 255),
    ("destination", "prefix", "storage/"),
    ("destination", "prefix", "a b/c-"),
    ("destination", "prefix", "a//"),
    ("destination", "endpoint_url", "http://[::1]:9000"),
    ("destination", "storage_class", "DEEP_ARCHIVE"),
    ("destination", "storage_class", "GLACIER"),
    ("destination", "acl", "bucket-owner-full-control"),
    ("destination", "cache_control", "public, max-age=31536000, immutable"),
    ("destination", "metadata", {"Lot-Number": "{key}", "x_y": ""}),
    ("destination", "tags", {"Team name": "photos", "k": "{size}"}),
    ("sources", "name", "Lots_2.0"),
    ("sources", "match", "^no groups$"),
    ("sources", "min_size", 0),
    ("sources", "max_size", ""),
    ("transfer", "part_size", "5MiB"),
    ("transfer", "retries", 0),
    ("transfer", "requests_per_second", 3),
]


@pytest.mark.parametrize(("section", "key", "value"), GOOD)
def test_what_is_allowed(section: str, key: str, value: object) -> None:
    configured(section, key, value)


BAD: list[tuple[str, str, object, str]] = [
    ("destination", "bucket", "s3://photos", "expected the name of a bucket"),
    ("destination", "bucket", "photos/", "expected the name of a bucket"),
    ("destination", "bucket", "ab", "expected the name of a bucket"),
    ("destination", "bucket", "-abc", "expected the name of a bucket"),
    ("destination", "bucket", "a..b", "no two dots"),
    ("destination", "bucket", "192.168.5.4", "no IP address"),
    ("destination", "prefix", "/storage", "the prefix begins with /"),
    ("destination", "prefix", "a/../", "segment"),
    ("destination", "prefix", "x" * 1025, "S3 allows 1024"),
    ("destination", "region", "", 'found ""; expected text in quotes'),
    ("destination", "endpoint_url", "host:9000", "expected a URL such as"),
    ("destination", "endpoint_url", "ftp://host", "expected a URL such as"),
    ("destination", "endpoint_url", "http://", "expected a URL such as"),
    ("destination", "endpoint_url", "http://h:99999", "expected a URL such as"),
    ("destination", "endpoint_url", "http://h/?x=1", "without ? and #"),
    ("destination", "public_url", "cdn.example.com", "expected a URL such as"),
    ("destination", "storage_class", "GLACIR", 'nearest: "GLACIER"'),
    ("destination", "sse", "AES-256", 'nearest: "AES256"'),
    ("destination", "acl", "public", 'one of "private", "public-read"'),
    ("destination", "on_conflict", "ignore", 'expected one of "fail", "skip", "overwrite"'),
    ("destination", "cache_control", "a\r\nx-amz-acl: public-read", "printable ASCII"),
    ("destination", "content_disposition", "é", "printable ASCII"),
    ("destination", "metadata", {"a b": "x"}, "cannot name metadata"),
    ("destination", "metadata", {"Migrator-Put": "x"}, "this tool's own"),
    ("destination", "metadata", {"a": "1", "A": "2"}, "differ only in case"),
    ("destination", "metadata", {"a": "{key"}, "a lone {"),
    ("destination", "metadata", {"a": "{key[0]}"}, "no plain name"),
    ("destination", "metadata", "x", "expected a table of strings"),
    ("destination", "tags", {str(n): "x" for n in range(11)}, "at most 10"),
    ("destination", "tags", {"aws:x": "x"}, "cannot name a tag"),
    ("sources", "key", "", "expected a template of the key"),
    ("sources", "key", "{path.}", "no plain name"),
    ("sources", "match", "(?P<1>x)", "no regular expression"),
    ("sources", "include", "*.jpg", "expected a list such as"),
    ("sources", "include", ["*.jpg", ""], "expected some text"),
    ("sources", "root", "", "expected a path"),
    ("sources", "root", "a\0b", "expected a path"),
    ("sources", "root", 3, "expected a path"),
    ("sources", "name", "a name", "letters, digits"),
    ("sources", "follow_symlinks", "true", "expected true or false"),
    ("sources", "follow_symlinks", 1, "expected true or false"),
    ("sources", "expect", "video", 'expected one of "any", "image"'),
    ("transfer", "part_size", "4MiB", "from 5MiB to 5GiB"),
    ("transfer", "part_size", "6GiB", "from 5MiB to 5GiB"),
    ("transfer", "timeout", "0s", "above zero"),
    ("transfer", "timeout", 60, "expected a duration"),
    ("transfer", "timeout", 60.0, "expected a duration"),
    ("transfer", "retries", "5", "expected a whole number from 0 to 100"),
    ("transfer", "requests_per_second", -1, "expected a number, at least 0"),
    ("transfer", "bandwidth", "fast", "expected a size"),
]


@pytest.mark.parametrize(("section", "key", "value", "reason"), BAD)
def test_what_is_refused_names_the_key_and_what_is_allowed(section: str, key: str, value: object, reason: str) -> None:
    with pytest.raises(ConfigError) as raised:
        configured(section, key, value)
    (problem,) = raised.value.problems
    assert problem.startswith(f"sources[0].{key}" if section == "sources" else f"{section}.{key}")
    assert reason in problem


@pytest.mark.parametrize("value", ["", 0, "0", "0MB"])
def test_no_bandwidth_is_no_bound(value: object) -> None:
    assert configured("transfer", "bandwidth", value).transfer.bandwidth is None
