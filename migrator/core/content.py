"""What bytes are: image types by their first bytes, the content type to store."""

import re

GENERIC_TYPES = frozenset(
    {"", "application/octet-stream", "binary/octet-stream", "application/binary", "unknown/unknown"}
)
"""Claims that say nothing. S3's own default is binary/octet-stream."""

_SUFFIX_TYPES = {
    "3gp": "video/3gpp",
    "7z": "application/x-7z-compressed",
    "aac": "audio/aac",
    "aif": "audio/aiff",
    "aiff": "audio/aiff",
    "apng": "image/apng",
    "arw": "image/x-sony-arw",
    "avi": "video/x-msvideo",
    "avif": "image/avif",
    "avifs": "image/avif",
    "bmp": "image/bmp",
    "bz2": "application/x-bzip2",
    "cr2": "image/x-canon-cr2",
    "css": "text/css",
    "csv": "text/csv",
    "dng": "image/x-adobe-dng",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "eml": "message/rfc822",
    "eps": "application/postscript",
    "epub": "application/epub+zip",
    "flac": "audio/flac",
    "flv": "video/x-flv",
    "geojson": "application/geo+json",
    "gif": "image/gif",
    "gz": "application/gzip",
    "heic": "image/heic",
    "heif": "image/heif",
    "htm": "text/html",
    "html": "text/html",
    "ico": "image/vnd.microsoft.icon",
    "ics": "text/calendar",
    "jfif": "image/jpeg",
    "jpe": "image/jpeg",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "jxl": "image/jxl",
    "log": "text/plain",
    "m4a": "audio/mp4",
    "m4v": "video/x-m4v",
    "md": "text/markdown",
    "mid": "audio/midi",
    "mjs": "text/javascript",
    "mkv": "video/x-matroska",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "mpg": "video/mpeg",
    "mts": "video/mp2t",
    "nef": "image/x-nikon-nef",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odt": "application/vnd.oasis.opendocument.text",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "ogv": "video/ogg",
    "opus": "audio/ogg",
    "otf": "font/otf",
    "parquet": "application/vnd.apache.parquet",
    "pdf": "application/pdf",
    "png": "image/png",
    "ppt": "application/vnd.ms-powerpoint",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "ps": "application/postscript",
    "psd": "image/vnd.adobe.photoshop",
    "rtf": "application/rtf",
    "srt": "application/x-subrip",
    "svg": "image/svg+xml",
    "tar": "application/x-tar",
    "tgz": "application/gzip",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "ts": "video/mp2t",
    "tsv": "text/tab-separated-values",
    "ttf": "font/ttf",
    "txt": "text/plain",
    "vcf": "text/vcard",
    "vtt": "text/vtt",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "weba": "audio/webm",
    "webm": "video/webm",
    "webp": "image/webp",
    "wmv": "video/x-ms-wmv",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xml": "application/xml",
    "xz": "application/x-xz",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "zip": "application/zip",
    "zst": "application/zstd",
}
"""A table of our own: Python's differs between versions and takes in the mime.types of the host."""

_FTYP_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"heim": "image/heic",
    b"heis": "image/heic",
    b"hevc": "image/heic",
    b"hevx": "image/heic",
    b"mif1": "image/heif",
    b"msf1": "image/heif",
}

_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"II+\x00", "image/tiff"),
    (b"MM\x00+", "image/tiff"),
    (b"\xff\x0a", "image/jxl"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "image/jxl"),
    (b"\x00\x00\x01\x00", "image/vnd.microsoft.icon"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
)

_HTML_STARTS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<title", b"<meta", b"<h1", b"<center")

_JSON_START = re.compile(rb'\{\s*["}]|\[\s*["{\[\]\d-]')

_PROBLEMS = {
    "text/html": "an HTML page, probably a soft 404 or a login page",
    "application/pdf": "a PDF document",
    "application/json": "a JSON document, probably an error message",
    "application/xml": "an XML document, probably an error message",
    "application/zip": "a ZIP archive",
    "application/gzip": "a gzip archive",
}


def sniff(head: bytes) -> str | None:
    """The type of the bytes that begin with `head` (512 bytes or more decide best); None when they tell nothing.

    Images, SVG too, and what comes in place of one: HTML, JSON, XML, PDF, archives.
    """
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp":
        return _sniff_ftyp(head)
    # BITMAPFILEHEADER: two reserved zero words follow the size. "BM" alone begins many a text.
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return "image/bmp"
    return _sniff_text(head)


def _sniff_ftyp(head: bytes) -> str | None:
    length = int.from_bytes(head[:4], "big")
    major = _FTYP_BRANDS.get(head[8:12])
    if major != "image/heif":
        return major
    # mif1 is any image in this container: a compatible brand tells which. (ISO/IEC 23008-12, 10.2)
    brands = [head[at : at + 4] for at in range(16, min(length, len(head)), 4)]
    return next((kind for brand in brands if (kind := _FTYP_BRANDS.get(brand)) not in (None, major)), major)


def _sniff_text(head: bytes) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = text[2:].replace(b"\0", b"").lstrip()
    if not text:
        return None
    if _JSON_START.match(text):
        return "application/json"
    if text[:1] != b"<":
        return None
    # Comments may stand before the root element of both HTML and SVG.
    while text.startswith(b"<!--") and b"-->" in text:
        text = text.partition(b"-->")[2].lstrip()
    lower = text[:1024].lower()
    if lower.startswith(_HTML_STARTS):
        return "text/html"
    if lower.startswith(b"<svg") or (lower.startswith((b"<?xml", b"<!doctype svg", b"<!--")) and b"<svg" in lower):
        return "image/svg+xml"
    if lower.startswith(b"<?xml"):
        return "text/html" if b"<html" in lower else "application/xml"
    return None


def content_type(key: str, claimed: str | None, head: bytes) -> str:
    """The content type to store: what the source claims unless that says nothing, else the suffix, else the bytes.

    A page's type claimed for bytes that are an image is a server's default gone wrong: the bytes win.
    """
    claim = (claimed or "").strip()
    essence = claim.partition(";")[0].strip().lower()
    if essence in ("text/html", "text/plain"):
        seen = sniff(head)
        if seen and seen.startswith("image/") and seen != "image/svg+xml":
            return seen
    # What is no `type/subtype` in printable ASCII cannot travel in a header.
    if essence not in GENERIC_TYPES and "/" in essence and claim.isascii() and claim.isprintable():
        return claim
    return suffix_type(key) or sniff(head) or "application/octet-stream"


def suffix_type(name: str) -> str | None:
    """The type that the suffix of a key or path stands for; the same on every machine."""
    stem, _, suffix = name.rpartition("/")[2].rpartition(".")
    return _SUFFIX_TYPES.get(suffix.lower()) if stem else None


def image_problem(head: bytes, size: int | None) -> str | None:
    """Why these bytes are no image, as a noun for a message; None when they are one. SVG counts as an image."""
    if size == 0 or not head:
        return "an empty file"
    kind = sniff(head)
    if kind and kind.startswith("image/"):
        return None
    if kind:
        return _PROBLEMS[kind]
    if not head.strip(b"\0"):
        return "nothing but NUL bytes"
    return f"bytes of no known image type (they begin with {head[:8].hex(' ')})"
