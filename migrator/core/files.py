"""How a local file is named: `file://` locations, byte for byte."""

import os
from urllib.parse import quote_from_bytes, unquote_to_bytes

_SAFE = "/!$&'()*+,;=:@~"
_SCHEME = "file://"


def file_location(path: str) -> str:
    """The location of the file at the absolute `path`; a name of any bytes comes back from `file_path` as it was."""
    return _SCHEME + quote_from_bytes(os.fsencode(path), safe=_SAFE)


def file_path(location: str) -> str:
    """The path of a `file://` location. Raises ValueError on any other location, or one that names a host."""
    if not location.startswith(_SCHEME + "/"):
        raise ValueError(f"{location!r} is no file:/// location")
    return os.fsdecode(unquote_to_bytes(location[len(_SCHEME) :]))
