"""Which locations a manifest may name, and how they are written."""

import json
from pathlib import Path

import pytest

from migrator.core.files import file_path
from migrator.core.model import Fault, Item, Problem
from tests.sources.scanning import Scanned, in_manifest


def listed(folder: Path, *urls: str, **settings: object) -> Scanned:
    return in_manifest(folder, "\n".join(urls) + "\n", name="urls.txt", **settings)


def one(folder: Path, url: str, **settings: object) -> Item:
    scanned = listed(folder, url, **settings)
    assert not scanned.problems
    [item] = scanned.items
    return item


def refusal(folder: Path, url: str, **settings: object) -> Problem:
    scanned = listed(folder, url, **settings)
    assert not scanned.items
    [problem] = scanned.problems
    return problem


@pytest.mark.parametrize(
    ("url", "location", "key"),
    [
        ("https://h.example/a/b.jpg", "https://h.example/a/b.jpg", "a/b.jpg"),
        ("HTTPS://H.Example:8443/A.jpg", "https://h.example:8443/A.jpg", "A.jpg"),
        ("https://h.example/a b.jpg", "https://h.example/a%20b.jpg", "a b.jpg"),
        ("https://h.example/a%20b.jpg", "https://h.example/a%20b.jpg", "a b.jpg"),
        ("https://h.example/a%2520b.jpg", "https://h.example/a%2520b.jpg", "a%20b.jpg"),
        ("https://h.example/100%.jpg", "https://h.example/100%25.jpg", "100%.jpg"),
        ("https://h.example/é/中.jpg", "https://h.example/%C3%A9/%E4%B8%AD.jpg", "é/中.jpg"),
        ("https://h.example/a+b&c=d;e,f@g:h.jpg", "https://h.example/a+b&c=d;e,f@g:h.jpg", "a+b&c=d;e,f@g:h.jpg"),
        ("https://h.example/a.jpg?w=3#top", "https://h.example/a.jpg?w=3", "a.jpg"),
        ("https://h.example/a.jpg#?x", "https://h.example/a.jpg", "a.jpg"),
        ("https://h.example//a//b.jpg", "https://h.example//a//b.jpg", "a//b.jpg"),
        ("https://münchen.example/a.jpg", "https://xn--mnchen-3ya.example/a.jpg", "a.jpg"),
        ("https://h.example/[1].jpg", "https://h.example/%5B1%5D.jpg", "[1].jpg"),
        ("https://h.example/a\\b.jpg", "https://h.example/a%5Cb.jpg", "a\\b.jpg"),
        ("  https://h.example/a.jpg  ", "https://h.example/a.jpg", "a.jpg"),
    ],
)
def test_a_url_is_quoted_once_and_its_path_decoded_once(tmp_path: Path, url: str, location: str, key: str) -> None:
    item = one(tmp_path, url)
    assert (item.location, item.key, item.signed) == (location, key, None)


@pytest.mark.parametrize(
    ("url", "base", "location"),
    [
        ("//cdn.example/x.jpg", "https://www.example/shop/", "https://cdn.example/x.jpg"),
        ("img/x y.jpg", "https://www.example/shop/", "https://www.example/shop/img/x%20y.jpg"),
        ("/img/x.jpg", "https://www.example/shop/", "https://www.example/img/x.jpg"),
        ("../img/x.jpg?v=1", "https://www.example/shop/", "https://www.example/img/x.jpg?v=1"),
        ("https://other.example/x.jpg", "https://www.example/", "https://other.example/x.jpg"),
    ],
)
def test_a_relative_url_is_completed_by_base_url(tmp_path: Path, url: str, base: str, location: str) -> None:
    assert one(tmp_path, url, base_url=base).location == location


def test_the_host_can_be_a_part_of_the_key(tmp_path: Path) -> None:
    assert one(tmp_path, "https://CDN.example/x.jpg", key="{host}/{path}").key == "cdn.example/x.jpg"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h.example/a.jpg?Signature=CANARY&Expires=1", "https://h.example/a.jpg?***"),
        ("https://user:CANARY@h.example/a.jpg", "https://***@h.example/a.jpg"),
    ],
)
def test_a_secret_is_masked_and_kept_only_to_read_by(tmp_path: Path, url: str, shown: str) -> None:
    item = one(tmp_path, url)
    assert item.location == shown
    assert item.signed == url
    assert item.key == "a.jpg"


@pytest.mark.faults
@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("file:///etc/passwd", "file:"),
        ("ftp://h.example/a", "ftp:"),
        ("gopher://h.example/a", "gopher:"),
        ("data:image/png;base64,AAAA", "data:"),
        ("javascript:alert(1)", "javascript:"),
        ("S3:/bucket/key", "s3:"),
    ],
)
def test_row_21_other_schemes_are_refused_by_name(tmp_path: Path, url: str, scheme: str) -> None:
    problem = refusal(tmp_path, url)
    assert scheme in problem.message
    assert problem.position == "line 1"
    assert problem.fault is Fault.INVALID


@pytest.mark.faults
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1:8080",
        "0x7f.1",
        "0177.0.0.1",
        "2130706433",
        "0xA9FEA9FE",
        "１２７.0.0.1",
        "127。0。0。1",
        "10.0.0.1",
        "[::1]",
        "[::ffff:169.254.169.254]",
        "[fe80::1%25eth0]",
        "user@192.168.0.1",
        "good.example@127.0.0.1",
    ],
)
def test_row_21_inner_addresses_are_refused_by_name(tmp_path: Path, host: str) -> None:
    problem = refusal(tmp_path, f"http://{host}/a.jpg")
    assert problem.fault is Fault.FORBIDDEN
    assert "allow_private" in problem.message
    assert one(tmp_path, f"http://{host}/a.jpg", allow_private=True).key == "a.jpg"


@pytest.mark.parametrize(
    "url",
    [
        "https:///a.jpg",
        "https://",
        "https:a.jpg",
        "https://h.example:99999/a.jpg",
        "https://h.example:x/a.jpg",
        "https://exa mple/a.jpg",
        "https://h_ost!.example/a.jpg",
        "https://good.example\\@evil.example/a.jpg",
        "https://[evil.example]/a.jpg",
        "https://h.example/\x01.jpg",
        "https://h.example/\x85.jpg",
        "//cdn.example/a.jpg",
        "a.jpg",
        "https://h.example",
        "https://h.example/a/../b.jpg",
        "https://h.example/%ff.jpg",
        "https://h.example/%00.jpg",
        "https://\u200b.example/a.jpg",
    ],
)
def test_what_cannot_be_a_url_or_a_key_is_refused(tmp_path: Path, url: str) -> None:
    problem = refusal(tmp_path, url)
    assert problem.message
    assert "\x01" not in problem.message


def test_a_refusal_never_tells_a_secret(tmp_path: Path) -> None:
    for url in ("//u:CANARY@h.example/a", "https://u:CANARY@10.0.0.1/?sig=CANARY", "https://CANARY x:p@h.example/"):
        assert "CANARY" not in refusal(tmp_path, url).message


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a b.jpg", "a b.jpg"),
        ("100%25?#.jpg", "100%25?#.jpg"),
        ("./x/../y.jpg", "y.jpg"),
        ("sub//z.jpg", "sub/z.jpg"),
        ("..hidden/a", "..hidden/a"),
    ],
)
def test_a_local_path_is_a_file_under_root(tmp_path: Path, text: str, name: str) -> None:
    item = one(tmp_path, text, root=tmp_path / "files")
    assert item.key == name
    assert file_path(item.location) == f"{(tmp_path / 'files').resolve()}/{name}"


def test_an_absolute_path_or_file_location_under_root_is_the_same_file(tmp_path: Path) -> None:
    root = tmp_path.resolve() / "files"
    for text in (f"{root}/a b.jpg", f"file://{root}/a%20b.jpg"):
        assert one(tmp_path, text, root=root).key == "a b.jpg"


@pytest.mark.faults
@pytest.mark.parametrize(
    "text",
    [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "../files-sibling/x",
        ".",
        "",
        "file:///etc/passwd",
        "file://host/x",
        "//etc/passwd",
    ],
)
def test_row_22_local_paths_out_of_root_are_refused(tmp_path: Path, text: str) -> None:
    scanned = in_manifest(tmp_path, f'{{"image_url": "{text}"}}', root=tmp_path / "files")
    assert not scanned.items
    assert len(scanned.problems) == 1


def test_include_exclude_and_match_look_at_the_path(tmp_path: Path) -> None:
    urls = [f"https://h.example/{path}" for path in ("img/1.jpg", "img/2.png", "tmp/3.jpg", "img/sub/4.jpg")]
    scanned = listed(tmp_path, *urls, include=("**/*.jpg",), exclude=("tmp/**",))
    assert scanned.keys == ["img/1.jpg", "img/sub/4.jpg"]
    assert scanned.skipped == 2
    scanned = listed(tmp_path, *urls, match="^img/(?P<rest>.+)$", key="{rest}")
    assert scanned.keys == ["1.jpg", "2.png", "sub/4.jpg"]
    assert "does not match" in scanned.told["urls.txt:line 3"]
    scanned = listed(tmp_path, *urls, match="^img/(?P<rest>.+)$", key="{rest}", on_no_match="skip")
    assert scanned.skipped == 1
    assert not scanned.problems


@pytest.mark.faults
def test_row_12_the_same_key_twice_is_passed_on(tmp_path: Path) -> None:
    scanned = listed(tmp_path, "https://a.example/x.jpg", "https://b.example/x.jpg", "https://a.example/x.jpg")
    assert scanned.keys == ["x.jpg"] * 3


def test_an_object_of_a_bucket_keeps_its_key_byte_for_byte(tmp_path: Path) -> None:
    keys = ["a b+c%20d?e#f&g.jpg", "/leading", "x//y/", "e\u0301", "line\nbreak"]
    text = json.dumps({"image_url": [f"s3://old-photos/{key}" for key in keys]})
    found = in_manifest(tmp_path, text, buckets=("old-photos",))
    assert [item.location for item in found.items] == [f"s3://old-photos/{key}" for key in keys if key[0] != "/"]
    assert found.keys == [key for key in keys if key[0] != "/"]
    assert [problem.message for problem in found.problems] == ["the key begins with /"]


def test_a_manifest_chooses_no_bucket_by_itself(tmp_path: Path) -> None:
    text = json.dumps({"image_url": ["s3://old-photos/a.jpg", "s3://payroll/a.jpg"]})
    found = in_manifest(tmp_path, text, buckets=("old-photos",))
    assert [item.location for item in found.items] == ["s3://old-photos/a.jpg"]
    (problem,) = found.problems
    assert 'add buckets = ["payroll"]' in problem.message


@pytest.mark.parametrize("location", ["s3://old-photos", "s3://old-photos/", "s3:///key", "s3://two words/key"])
def test_what_names_no_object_is_refused(tmp_path: Path, location: str) -> None:
    assert refusal(tmp_path, location).fault is Fault.INVALID
