"""Key templates: compiled once, filled per item; and what a key may be. A template is text with `{names}`.

Nothing else is understood: no attributes, no indexing, no format specs. `{{` and `}}` are braces.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from migrator.core.model import RESERVED_PREFIX

MAX_KEY_BYTES = 1024
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""

PATH_NAMES = ("path", "dir", "name", "stem", "ext", "host", "bucket")
"""Names that every location has."""

STORED_NAMES = ("key", "url", "sha256", "size", "content_type", "destination.bucket")
"""Names that are known once the bytes are, beside those of the item; for metadata and updates."""

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NAME = re.compile(r"[^\W\d][\w-]*(?:\.[\w-]+)*")


class TemplateError(ValueError):
    """A template that cannot be compiled, or a value that is missing or null when it is filled."""


class Template(Struct, frozen=True):
    """A compiled template: literal pieces at even places, names at odd ones."""

    pieces: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names used, in order of appearance."""
        return self.pieces[1::2]

    def fill(self, values: Mapping[str, str | None]) -> str:
        """The text. Raises TemplateError naming the first value that is missing or null."""
        pieces: list[str | None] = list(self.pieces)
        pieces[1::2] = map(values.get, self.names)
        try:
            return "".join(pieces)  # type: ignore[arg-type]
        except TypeError:
            missing = next(name for name in self.names if values.get(name) is None)
            raise TemplateError(f"{{{missing}}} has no value here") from None


def names_in(texts: Iterable[str]) -> tuple[str, ...]:
    """The names that these templates use, each once, in their order. Raises TemplateError."""
    return tuple(dict.fromkeys(name for text in texts for name in compile_template(text).names))


def compile_template(text: str) -> Template:
    """Compiles `text`. Raises TemplateError on a lone brace or on anything in braces that is no plain name."""
    pieces = [""]
    end = 0
    for token in _TOKEN.finditer(text):
        pieces[-1] += text[end : token.start()]
        end = token.end()
        name = token[1]
        if token[0] in ("{{", "}}"):
            pieces[-1] += token[0][0]
        elif name is None:
            raise TemplateError(f"a lone {token[0]} at character {token.start() + 1}; write {token[0] * 2} for a brace")
        elif not _NAME.fullmatch(name):
            raise TemplateError(f"{{{name}}} is no plain name: attributes, indexing and format specs are not allowed")
        else:
            pieces += [name, ""]
    pieces[-1] += text[end:]
    return Template(tuple(pieces))


def key_problem(key: str) -> str | None:
    """Why `key` cannot be an S3 key, in words for the plan; None when it can."""
    if not key:
        return "the key is empty"
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "the key is not valid UTF-8"
    if size > MAX_KEY_BYTES:
        return f"the key has {size} bytes; S3 allows {MAX_KEY_BYTES}"
    if key[0] == "/":
        return "the key begins with /"
    if "\0" in key:
        return "the key holds a NUL character"
    # Only a dot before a slash or at the end can end such a segment; nearly no key has one.
    if ("./" in key or key[-1] == ".") and any(segment in (".", "..") for segment in key.split("/")):
        return "the key has a . or .. segment"
    return None


def location_path(location: str) -> str:
    """`{path}` of a location: of an s3 one the whole key as it stands, of an http(s) one without query or first slash,
    percent-decoded once.
    """
    if location.startswith("s3://"):
        return location[len("s3://") :].partition("/")[2]
    path = urlsplit(location).path.lstrip("/")
    return unquote(path, errors="surrogateescape") if "%" in path else path


def _stem(path: str) -> str:
    name = path.rpartition("/")[2]
    dot = name.rfind(".")
    return name[:dot] if dot > 0 else name


def _ext(path: str) -> str:
    name = path.rpartition("/")[2]
    dot = name.rfind(".")
    return name[dot + 1 :] if dot > 0 else ""


_PATH_PARTS: dict[str, Callable[[str], str]] = {
    "path": lambda path: path,
    "dir": lambda path: path.rpartition("/")[0],
    "name": lambda path: path.rpartition("/")[2],
    "stem": _stem,
    "ext": _ext,
}


class NoMatch(ValueError):
    """The source's `match` was not found in the path."""


class Naming(Struct, frozen=True):
    """What the keys of all sources have in common.

    prefix   stands before each of them
    carry    names of values that later templates (metadata) want beside the key
    refuses  why the destination cannot hold a key; None when it can
    """

    prefix: str = ""
    carry: Collection[str] = ()
    refuses: Callable[[str], str | None] = key_problem


class KeyMaker:
    """Makes the destination key of each location of one source; compiled once from its config."""

    def __init__(self, key: str, naming: Naming, *, match: str = "") -> None:
        self._template = compile_template(key)
        self._prefix = naming.prefix
        self._refuses = naming.refuses
        self._reserved = naming.prefix + RESERVED_PREFIX
        self._match = re.compile(match) if match else None
        self._carry = tuple(dict.fromkeys(naming.carry))
        wanted = {*self._template.names, *self._carry}
        self._parts = tuple((name, part) for name, part in _PATH_PARTS.items() if name in wanted)
        self._whole_path = key == "{path}" and not match and not self._carry

    def make(
        self, path: str, *, host: str = "", bucket: str = "", fields: Mapping[str, str | None] | None = None
    ) -> tuple[str, dict[str, str] | None]:
        """(key, carried values) for the object at `path`.

        Raises NoMatch, or TemplateError when a value is missing or the key is not allowed.
        """
        if self._whole_path:
            key = self._prefix + path
            carried = None
        else:
            values = self._values(path, host, bucket, fields)
            key = self._prefix + self._template.fill(values)
            carried = {name: v for name in self._carry if (v := values.get(name)) is not None} if self._carry else None
        problem = self._refuses(key)
        if problem:
            raise TemplateError(problem)
        if key.startswith(self._reserved):
            raise TemplateError(f"the key lies under {self._reserved}, which is kept for this tool's own objects")
        return key, carried

    def _values(
        self, path: str, host: str, bucket: str, fields: Mapping[str, str | None] | None
    ) -> dict[str, str | None]:
        values: dict[str, str | None] = dict(fields) if fields else {}
        for name, part in self._parts:
            values[name] = part(path)
        values["host"] = host
        values["bucket"] = bucket
        if self._match:
            found = self._match.search(path)
            if not found:
                raise NoMatch(f"{path!r} does not match {self._match.pattern!r}")
            values.update(found.groupdict())
        return values
