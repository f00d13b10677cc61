"""Text files of any Unicode encoding as UTF-8 bytes: by their byte order mark, else by where their zero bytes stand."""

import codecs
import io
from typing import BinaryIO

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_READ = 65_536


def detect(head: bytes) -> tuple[str, int]:
    """(encoding, length of the byte order mark) of a text whose first bytes are `head` (4 are enough)."""
    if head[:1] in (b"{", b"[") and head[1:2] != b"\0":
        return "utf-8", 0
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    # A manifest begins with an ASCII character, so its zero bytes tell the width (RFC 4627, section 3).
    zeros = tuple(byte == 0 for byte in head[:4])
    by_zeros: dict[tuple[bool, ...], str] = {
        (False, True, True, True): "utf-32-le",
        (True, True, True, False): "utf-32-be",
        (False, True, False, True): "utf-16-le",
        (True, False, True, False): "utf-16-be",
    }
    return by_zeros.get(zeros, "utf-8"), 0


def as_utf8(data: bytes) -> bytes:
    """`data` as UTF-8 without a byte order mark. Raises UnicodeDecodeError."""
    encoding, mark = detect(data[:4])
    if encoding == "utf-8":
        return data[mark:] if mark else data
    return data[mark:].decode(encoding).encode()


def utf8_stream(file: BinaryIO) -> BinaryIO:
    """The rest of `file`, which stands at its beginning, as UTF-8. Reading it raises UnicodeDecodeError."""
    head = file.read(4)
    encoding, mark = detect(head)
    file.seek(mark)
    return file if encoding == "utf-8" else io.BufferedReader(_Transcoded(file, encoding), _READ)


class _Transcoded(io.RawIOBase):
    def __init__(self, file: BinaryIO, encoding: str) -> None:
        super().__init__()
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        ended = False
        while not self._ready and not ended:
            raw = self._file.read(_READ)
            ended = not raw
            self._ready = self._decoder.decode(raw, final=ended).encode()
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size
