"""A worker whose codecs misbehave: `rogue.py HOW SOCKET LIMITS`. What runs it is the pool, as it runs the real one."""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from PIL import Image, JpegImagePlugin

from migrator.images import worker
from migrator.images.messages import Limits, frame
from migrator.images.worker import confine, serve

SAVE = Image.Image.save


def crash() -> None:
    """As a decoder does that writes where it may not."""
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    """As a decoder does that never finds the end."""
    while True:
        time.sleep(3600)


def gorge() -> None:
    """Takes 4 GiB."""
    bytearray(4 << 30)


def spin() -> None:
    """Deaf to every exception and busy."""
    while True:
        pass


def misbehave_in(how: Callable[[], None], image_format: str) -> None:
    """Encoding this format goes wrong from now on."""

    def save(image: Image.Image, target: Any, format_name: str, **options: Any) -> None:
        if format_name == image_format:
            how()
        SAVE(image, target, format_name, **options)

    Image.Image.save = save  # type: ignore[method-assign,assignment]


def main() -> None:
    """The life of a bad worker."""
    how, number, limits = sys.argv[1], int(sys.argv[2]), Limits(**json.loads(sys.argv[3]))
    confine(limits)
    pool = socket.socket(fileno=number)
    ways: dict[str, Callable[[], None]] = {"crash": crash, "hang": hang, "gorge": gorge, "spin": spin}
    if how == "absent":
        sys.exit(1)
    if how == "decoder":
        JpegImagePlugin.JpegImageFile.load = lambda _: crash()  # type: ignore[method-assign,assignment]
    elif how == "brief":
        worker.IMAGES = 1
    elif how == "nonsense":
        misbehave_in(lambda: pool.sendall(frame({"done": 99}, 0)), "webp")
    elif how == "pretend":
        lie = {"done": 0, "width": 1, "height": 1, "quality": 1, "encodes": 1, "seconds": 0, "source": [1, 1]}
        misbehave_in(lambda: pool.sendall(frame(lie, 9) + b"<!doctype"), "webp")
    else:
        misbehave_in(ways[how], "webp")
    serve(pool, limits)


if __name__ == "__main__":
    main()
