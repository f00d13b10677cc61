"""What bytes are: real images of every type are known, and what comes in their place is called by its name."""

import io
import json

import pytest
from PIL import Image

from migrator.core.content import content_type, image_problem, sniff

PILLOW = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "ICO": "image/vnd.microsoft.icon",
}


def picture(form: str) -> bytes:
    """A small image as Pillow writes it."""
    target = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(target, form)
    return target.getvalue()


def box(*brands: bytes) -> bytes:
    """The `ftyp` box of an ISO media file."""
    body = brands[0] + b"\0\0\0\0" + b"".join(brands[1:])
    return (len(body) + 8).to_bytes(4, "big") + b"ftyp" + body


@pytest.mark.parametrize("form", PILLOW)
def test_an_image_is_known_by_its_bytes(form: str) -> None:
    if form == "AVIF" and "AVIF" not in Image.SAVE and not Image.init() and "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow writes no AVIF")
    Image.init()
    head = picture(form)[:512]
    assert sniff(head) == PILLOW[form]
    assert image_problem(head, 1000) is None


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (box(b"heic", b"mif1", b"heic"), "image/heic"),
        (box(b"mif1", b"mif1", b"heic"), "image/heic"),
        (box(b"mif1", b"avif", b"mif1"), "image/avif"),
        (box(b"mif1", b"miaf"), "image/heif"),
        (box(b"isom", b"mp42"), None),
        (b"\xff\x0a\xfa\x7f", "image/jxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
        (b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg">', "image/svg+xml"),
        (b"<!-- a logo --><svg>", "image/svg+xml"),
        (b"\xef\xbb\xbf  <!DOCTYPE HTML><html>", "text/html"),
        ("\ufeff<html>".encode("utf-16-le"), "text/html"),
        (b"<!-- moved --><HTML>", "text/html"),
        (b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">', "text/html"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "application/xml"),
        (b'{"error": "not found"}', "application/json"),
        (b"[section]\nname = 1", None),
        (b"BM is how this sentence begins", None),
        (b"%PDF-1.7", "application/pdf"),
        (b"", None),
        (b"plain words", None),
    ],
)
def test_other_beginnings(head: bytes, kind: str | None) -> None:
    assert sniff(head) == kind


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"", "an empty file"),
        (b"<!doctype html><title>Sign in</title>", "an HTML page, probably a soft 404 or a login page"),
        (b"%PDF-1.4 ...", "a PDF"),
        (json.dumps({"message": "no such image"}).encode(), "JSON"),
        (b"<?xml version='1.0'?><Error/>", "XML"),
        (b"PK\x03\x04", "ZIP"),
        (b"\0" * 4096, "nothing but NUL bytes"),
        (b"hello, world", "68 65 6c 6c"),
    ],
)
@pytest.mark.faults
def test_what_is_no_image_is_called_by_its_name(head: bytes, words: str) -> None:
    problem = image_problem(head, len(head))
    assert problem is not None
    assert words in problem


JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF"


@pytest.mark.parametrize(
    ("key", "claimed", "head", "kind"),
    [
        ("a.jpg", "image/webp", JPEG, "image/webp"),
        ("a.jpg", "text/html; charset=utf-8", JPEG, "image/jpeg"),
        ("a.jpg", "text/html; charset=utf-8", b"<html>", "text/html; charset=utf-8"),
        ("a.svg", "text/plain", b"<svg>", "text/plain"),
        ("a.png", "application/octet-stream", JPEG, "image/png"),
        ("a.png", "binary/octet-stream", b"", "image/png"),
        ("dir.d/a", None, JPEG, "image/jpeg"),
        ("dir.jpg/a", None, b"?", "application/octet-stream"),
        (".jpg", None, b"?", "application/octet-stream"),
        ("a.AVIF", "", b"", "image/avif"),
        ("a.heic", None, b"", "image/heic"),
        ("a.mkv", None, b"", "video/x-matroska"),
        ("a.m4a", None, b"", "audio/mp4"),
        ("a.webp", "image", b"", "image/webp"),
        ("a.webp", "image/j\npeg", b"", "image/webp"),
        ("a.webp", "imäge/jpeg", b"", "image/webp"),
        ("a.unknown", None, b"words", "application/octet-stream"),
    ],
)
def test_the_type_to_store(key: str, claimed: str | None, head: bytes, kind: str) -> None:
    assert content_type(key, claimed, head) == kind
