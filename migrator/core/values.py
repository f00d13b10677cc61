"""The types of single values in migrator.toml: how each is written, what it may be, and what it becomes."""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from msgspec import Struct
from pydantic import AfterValidator, BeforeValidator, Field

from migrator.core.keys import MAX_KEY_BYTES, compile_template, key_problem
from migrator.core.model import MIB
from migrator.core.objects import PUT_ID, SHA256
from migrator.core.quantities import A_DURATION, A_SIZE, parse_duration, parse_size

COLOURS = {
    "white": "#ffffff",
    "silver": "#c0c0c0",
    "gray": "#808080",
    "black": "#000000",
    "red": "#ff0000",
    "maroon": "#800000",
    "yellow": "#ffff00",
    "olive": "#808000",
    "lime": "#00ff00",
    "green": "#008000",
    "aqua": "#00ffff",
    "teal": "#008080",
    "blue": "#0000ff",
    "navy": "#000080",
    "fuchsia": "#ff00ff",
    "purple": "#800080",
}
"""The colours that have a name here: those of HTML 4. https://www.w3.org/TR/html401/types.html#h-6.5"""


class Form(Struct, frozen=True):
    """How a value is written: `word` in the reference, `expected` in errors. `text`: a string in the file."""

    word: str
    expected: str
    text: bool = True


SIZE = Form("size", A_SIZE)
DURATION = Form("duration", A_DURATION)

NAME = Form("string", "1 to 100 letters, digits, dots, hyphens and underscores, beginning with a letter or digit")


def _optional_size(value: object) -> int | None:
    return None if value in ("", None) else parse_size(value)


def _rate(value: object) -> int | None:
    return _optional_size(value) or None


def _part_size(value: object) -> int:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""
    size = parse_size(value)
    if not 5 * MIB <= size <= 5 * 1024 * MIB:
        raise ValueError("expected a size from 5MiB to 5GiB")
    return size


def _duration(value: object) -> float:
    seconds = parse_duration(value)
    if seconds <= 0:
        raise ValueError("expected a duration above zero")
    return seconds


def _template(text: str) -> str:
    compile_template(text)
    return text


def _key_template(text: str) -> str:
    if not text:
        raise ValueError('expected a template of the key, such as "{path}"')
    return _template(text)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return text


def _bucket(name: str) -> str:
    """Only what no S3 server takes is refused: old buckets of us-east-1 have capitals, underscores and long names."""
    if name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]", name):
        raise ValueError("expected the name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens")
    if ".." in name or _is_address(name):
        raise ValueError("a bucket's name has no two dots in a row and is no IP address")
    return name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _prefix(prefix: str) -> str:
    problem = key_problem(prefix) if prefix else None
    if problem:
        raise ValueError(problem.replace("the key", "the prefix"))
    return prefix


def _key_start(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("expected valid UTF-8") from None
    if size > MAX_KEY_BYTES:
        raise ValueError(f"found {size} bytes; expected at most {MAX_KEY_BYTES}, the longest key")
    return text


def _web_address(url: str) -> str:
    if not url:
        return url
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise ValueError("expected a URL such as https://host or http://host:9000")
    if "@" in parts.netloc:
        raise ValueError("a URL here holds no user name and no password: credentials come from the environment")
    if parts.query or parts.fragment:
        raise ValueError("expected a URL without ? and #")
    return url


def _trimmed_address(url: str) -> str:
    return _web_address(url).rstrip("/")


def folder_of(url: str) -> Path:
    """The folder of a `file:///...` URL. Raises ValueError when it is no such URL."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc or not path.startswith("/"):
        raise ValueError("expected file:/// and an absolute path, such as file:///mnt/archive")
    if parts.query or parts.fragment or "\0" in path:
        raise ValueError("a ? or # in the path is written %3F or %23")
    return Path(path)


def _folder_url(url: str) -> str:
    if url:
        folder_of(url)
    return url


def _header(text: str) -> str:
    if text and not (text.isascii() and text.isprintable()):
        raise ValueError("expected printable ASCII: it is sent as an HTTP header")
    return text


def _path_text(value: object) -> object:
    if isinstance(value, str) and (not value or "\0" in value):
        raise ValueError('expected a path; "." is the working directory')
    return value


def _trash(text: str) -> str:
    steps = text.strip("/").split("/")
    if "\0" in text or any(step in ("", ".", "..") for step in steps):
        raise ValueError('expected a folder, below the root of each source or absolute, such as ".migrator-trash"')
    return text


def _optional_path_text(value: object) -> object:
    return None if value == "" else _path_text(value)


def _optional(value: object) -> object:
    return None if value == "" else value


def _colour(text: str) -> str:
    if text.lower() in COLOURS:
        return text.lower()
    if not re.fullmatch(r"#(?:[0-9A-Fa-f]{3}|[0-9A-Fa-f]{6})", text):
        raise ValueError(f"expected #rgb, #rrggbb or one of {', '.join(COLOURS)}")
    return text


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Red, green and blue (0 to 255) of a colour that was checked."""
    digits = COLOURS.get(colour, colour).lstrip("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


def _formats(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("expected one format or more")
    if len(set(names)) < len(names):
        raise ValueError("a format stands here twice")
    return names


def _filled(text: str) -> str:
    if not text:
        raise ValueError("expected some text")
    return text


def _metadata(values: dict[str, str]) -> dict[str, str]:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html"""
    for name in values:
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise ValueError(f'"{name}" cannot name metadata: letters, digits and hyphens can')
        if name.lower() in (PUT_ID, SHA256):
            raise ValueError(f'"{name}" is a mark of this tool\'s own')
    if len({name.lower() for name in values}) < len(values):
        raise ValueError("two names differ only in case: S3 makes all of them lower-case")
    return values


def _tags(values: dict[str, str]) -> dict[str, str]:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html"""
    if len(values) > 10:
        raise ValueError(f"{len(values)} tags; an object has at most 10")
    for name in values:
        if not 1 <= len(name) <= 128 or name.lower().startswith("aws:"):
            raise ValueError(f'"{name}" cannot name a tag: 1 to 128 characters, not beginning with aws:')
    return values


_NO_TYPE = re.compile(
    r"\b(NOT|NULL|DEFAULT|PRIMARY|KEY|UNIQUE|REFERENCES|CHECK|CONSTRAINT|GENERATED|AS|IDENTITY|AUTO_INCREMENT|COMMENT|ON"
    r"|ADD|DROP|FIRST|AFTER)\b",
    re.IGNORECASE,
)
"""Words of a column's definition that say more than its type."""


def _sql_type(text: str) -> str:
    """A type is passed on as it is written: it must be nothing else."""
    sizes = r"(?: ?\( ?[0-9]{1,5}(?: ?, ?[0-9]{1,5})? ?\))?"
    word = rf"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?{sizes}"
    if not re.fullmatch(rf"{word}(?: {word})*(?: ?\[\])?", text, re.ASCII):
        raise ValueError("expected a plain SQL type, such as VARCHAR(512), JSONB or TIMESTAMP WITH TIME ZONE")
    more = _NO_TYPE.search(text)
    if more:
        raise ValueError(f"{more[0]} is no part of a type; expected the type alone, such as VARCHAR(512)")
    return text


def _text(word: str, expected: str, check: Callable[[str], str]) -> tuple[AfterValidator, Form]:
    return AfterValidator(check), Form(word, expected)


Size = Annotated[int, BeforeValidator(parse_size), SIZE]
OptionalSize = Annotated[int | None, BeforeValidator(_optional_size), SIZE]
PartSize = Annotated[int, BeforeValidator(_part_size), SIZE]
Rate = Annotated[int | None, BeforeValidator(_rate), SIZE]
Duration = Annotated[float, BeforeValidator(_duration), DURATION]
Grace = Annotated[float, BeforeValidator(parse_duration), DURATION]
TrashPath = Annotated[str, *_text("path", 'a folder such as ".migrator-trash"', _trash)]

TemplateText = Annotated[str, *_text("template", 'a template such as "{path}"', _template)]
KeyTemplate = Annotated[str, *_text("template", 'a template such as "{path}"', _key_template)]
Pattern = Annotated[str, *_text("regex", "a regular expression", _pattern)]
BucketName = Annotated[str, *_text("string", "the name of a bucket", _bucket)]
Prefix = Annotated[str, *_text("string", "the beginning of keys", _prefix)]
KeyStart = Annotated[str, *_text("string", "the beginning of keys", _key_start)]
"""Of keys that stand already, whatever they are; a destination's prefix is a `Prefix`."""
WebAddress = Annotated[str, *_text("URL", "an http or https URL", _web_address)]
BareWebAddress = Annotated[str, *_text("URL", "an http or https URL", _trimmed_address)]
FolderUrl = Annotated[str, *_text("URL", "a URL such as file:///mnt/archive", _folder_url)]
Header = Annotated[str, *_text("string", "the text of an HTTP header", _header)]
Glob = Annotated[str, *_text("glob", 'a pattern such as "lots/**/*.json"', _filled)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"), NAME]

OptionalName = Annotated[
    str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$"), Form("string", f"nothing or {NAME.expected}")
]

FolderPath = Annotated[Path, Field(strict=False), BeforeValidator(_path_text), Form("path", "a path")]
OptionalFolderPath = Annotated[
    Path | None, Field(strict=False), BeforeValidator(_optional_path_text), Form("path", "a path")
]

# TOML has lists where the values here are tuples, which a strict field would refuse.
Texts = Annotated[
    tuple[Annotated[str, AfterValidator(_filled)], ...],
    Field(strict=False),
    Form("list of strings", 'a list such as ["a", "b"]', text=False),
]
Globs = Annotated[
    tuple[Annotated[str, AfterValidator(_filled)], ...],
    Field(strict=False),
    Form("list of globs", 'a list such as ["photos/**", "*.jpg"]', text=False),
]
BucketNames = Annotated[
    tuple[BucketName, ...], Field(strict=False), Form("list of strings", 'a list such as ["a", "b"]', text=False)
]
ColumnName = Annotated[str, Field(min_length=1, max_length=128)]
Metadata = Annotated[
    dict[str, TemplateText], AfterValidator(_metadata), Form("table of templates", "a table of strings", text=False)
]
Tags = Annotated[
    dict[str, TemplateText], AfterValidator(_tags), Form("table of templates", "a table of strings", text=False)
]

RowTemplates = Annotated[
    dict[ColumnName, TemplateText], Form("table of templates", 'a table such as { s3_key = "{key}" }', text=False)
]
SqlTypes = Annotated[
    dict[ColumnName, Annotated[str, AfterValidator(_sql_type)]],
    Form("table of SQL types", 'a table such as { s3_key = "VARCHAR(512)" }', text=False),
]

VariantName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,49}$"),
    Form("string", "1 to 50 letters, digits, hyphens and underscores, beginning with a letter"),
]
VariantNames = Annotated[
    tuple[str, ...] | None,
    Field(strict=False),
    BeforeValidator(_optional),
    Form("list of strings", 'a list such as ["thumbnail"]', text=False),
]
ImageFormat = Literal["jpeg", "webp", "avif", "png"]
ImageFormats = Annotated[
    tuple[ImageFormat, ...],
    Field(strict=False),
    AfterValidator(_formats),
    Form("list of formats", 'a list of "jpeg", "webp", "avif", "png"', text=False),
]
Pixels = Annotated[
    Annotated[int, Field(ge=1, le=16383)] | None,
    BeforeValidator(_optional),
    Form("number", "a whole number from 1 to 16383", text=False),
]
"""A side of an image. WebP's bound holds for all: https://developers.google.com/speed/webp/faq"""
Quality = Annotated[
    Annotated[int, Field(ge=1, le=100)] | None,
    BeforeValidator(_optional),
    Form("number", "a whole number from 1 to 100", text=False),
]
Colour = Annotated[str, *_text("colour", 'a colour such as "white" or "#f4f4f4"', _colour)]

StorageClass = Literal[
    "",
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "GLACIER_IR",
    "OUTPOSTS",
    "SNOW",
    "EXPRESS_ONEZONE",
    "FSX_OPENZFS",
]
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html"""

Encryption = Literal["", "AES256", "aws:kms", "aws:kms:dsse"]

CannedAcl = Literal[
    "",
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
]
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#canned-acl"""
