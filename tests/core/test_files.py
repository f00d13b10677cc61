"""File locations come back byte for byte."""

import os

import pytest

from migrator.core.files import file_location, file_path


@pytest.mark.parametrize(
    "name", [b"a b", b"100%.jpg", b"a%20b", b"q?x#y", b"\xff\xfe", "é\u0301🖼".encode(), b"a\nb", b"a;b"]
)
def test_a_location_holds_every_byte_of_a_name(name: bytes) -> None:
    path = os.fsdecode(b"/data/" + name)
    location = file_location(path)
    assert location.startswith("file:///data/")
    assert location.isascii()
    assert not set(location) & set(" ?#\n")
    assert file_path(location) == path


@pytest.mark.parametrize("location", ["http://host/a", "file://host/a", "/a", "file:a"])
def test_anything_else_is_no_file(location: str) -> None:
    with pytest.raises(ValueError, match="no file:/// location"):
        file_path(location)
