"""Glob patterns compiled to one regular expression each way: what is taken, and which folders need not be entered.

`Selection` reads `include` and `exclude` as .gitignore reads its lines: `*` and `?` stay within a name, `**` spans
folders, a pattern without a slash matches at any depth, and a folder that matches stands for all below it.
`PathGlob` reads `files` as a shell does. Python's own translation (`glob.translate`) begins with 3.13
and cannot prune.
"""

import re
from collections.abc import Sequence

_SPANS = "**"
_TOKEN = re.compile(
    r"\\(?P<escaped>.)|(?P<star>\*+)|(?P<any>\?)|\[(?P<not>[!^]?)(?P<set>\]?[^\]]*)\]|(?P<plain>.)", re.S
)
_MAGIC = re.compile(r"[*?\[\\]")


class Selection:
    """Which relative paths of a source are wanted."""

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        included = [_segments(pattern) for pattern in include]
        self._include = _union([_whole(pattern) for pattern in included])
        self._reach = _union([_reach(segments, "(?:/.*)?") for segments, _ in included])
        self._exclude = _union([_whole(_segments(pattern)) for pattern in exclude])
        self.everything = not include and not exclude

    def takes(self, path: str) -> bool:
        """Whether the file at `path` is wanted."""
        if self._exclude and self._exclude.fullmatch(path):
            return False
        return not self._include or self._include.fullmatch(path) is not None

    def enters(self, folder: str) -> bool:
        """Whether anything below `folder` can be wanted."""
        if self._exclude and self._exclude.fullmatch(folder + "/"):
            return False
        return not self._reach or self._reach.fullmatch(folder) is not None


class PathGlob:
    """A shell's glob with `**`: wildcards do not match names that begin with a dot."""

    def __init__(self, pattern: str) -> None:
        segments = _collapsed(pattern.split("/"))
        fixed = next((i for i, segment in enumerate(segments) if _MAGIC.search(segment)), len(segments) - 1)
        if segments[-1] == _SPANS:
            segments.append("*")
        self.base = "/".join(segments[:fixed]) or ("/" if pattern.startswith("/") else ".")
        """The folder without wildcards below which everything lies."""
        moving = segments[fixed:]
        self._whole = re.compile("".join(map(_shell_piece, moving[:-1])) + _visible(moving[-1]), re.S)
        self._reach = re.compile(_reach(moving[:-1], "", shell=True), re.S)

    def takes(self, path: str) -> bool:
        """Whether the file at `path`, relative to `base`, is meant."""
        return self._whole.fullmatch(path) is not None

    def enters(self, folder: str) -> bool:
        """Whether anything below `folder` can be meant."""
        return self._reach.fullmatch(folder) is not None


def _segments(pattern: str) -> tuple[list[str], bool]:
    """(segments, whether only folders are meant) of a .gitignore-like pattern."""
    folders_only = pattern.endswith("/")
    anchored = "/" in pattern.rstrip("/")
    segments = pattern.strip("/").split("/")
    return _collapsed(segments if anchored else [_SPANS, *segments]), folders_only


def _collapsed(segments: list[str]) -> list[str]:
    # `**/**` is `**`; kept apart, the two would make the expression slow for nothing.
    return [s for i, s in enumerate(segments) if s != _SPANS or i == 0 or segments[i - 1] != _SPANS]


def _union(expressions: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(expressions), re.S) if expressions else None


def _whole(pattern: tuple[list[str], bool]) -> str:
    segments, folders_only = pattern
    pieces = ["(?:.*/)?" if segment == _SPANS else _name(segment) + "/" for segment in segments[:-1]]
    if segments[-1] == _SPANS:
        return "".join(pieces) + ".*"
    return "".join(pieces) + _name(segments[-1]) + ("/.*" if folders_only else "(?:/.*)?")


def _reach(segments: list[str], tail: str, *, shell: bool = False) -> str:
    """Folders that lie on the way to a match: each segment may be where the folder's path ends."""
    expression = tail
    for i in range(len(segments) - 1, -1, -1):
        if segments[i] == _SPANS:
            hidden = not shell or any(segment.startswith(".") for segment in segments[i + 1 :])
            expression = ".*" if hidden else r"(?!\.)[^/]+(?:/(?!\.)[^/]+)*"
        else:
            below = f"(?:/{expression})?" if i + 1 < len(segments) else expression
            expression = (_visible if shell else _name)(segments[i]) + below
    return expression


def _shell_piece(segment: str) -> str:
    return r"(?:(?!\.)[^/]+/)*" if segment == _SPANS else _visible(segment) + "/"


def _visible(segment: str) -> str:
    return r"(?!\.)" + _name(segment) if segment[:1] in ("*", "?", "[") else _name(segment)


def _name(segment: str) -> str:
    """The expression for one name."""
    return "".join(map(_piece, _TOKEN.finditer(segment)))


def _piece(token: re.Match[str]) -> str:
    if token["star"]:
        return "[^/]*"
    if token["any"]:
        return "[^/]"
    if token["set"]:
        characters = re.sub(r"([\\\[\]^&~|])", r"\\\1", token["set"])
        return f"(?!/)[{'^' if token['not'] else ''}{characters}]"
    return re.escape(token["escaped"] or token["plain"] or token[0])
