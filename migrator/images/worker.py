"""A worker process: takes images from its socket, gives variants back one by one, and dies rather than do harm.

`python -m migrator.images.worker SOCKET LIMITS`; the pool starts it.
"""

import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence

from migrator.core.errors import Unrendered
from migrator.core.variants import Rendered, Wanted
from migrator.images.messages import DECODING, HEAD, Limits, about, frame, read_wanted
from migrator.images.render import described, render

Render = Callable[[bytes, Sequence[Wanted], Callable[[int], None], int], Iterator[tuple[int, "Rendered | Unrendered"]]]

IMAGES = 1000
"""Images after which a worker makes place for a fresh one: what a codec leaks ends with it."""

_GRACE = 10
"""Seconds beyond the limit after which a worker ends by itself: the pool that should have killed it is gone."""

_NICE = 5
"""Below the process that moves the bytes: its event loop comes first."""


def confine(limits: Limits) -> None:
    """Bounds this process. It ends with its pool, not by signals that are meant for it."""
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(_NICE)
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)


def serve(pool: socket.socket, limits: Limits, rendering: Render = render) -> None:
    """Renders until the pool is gone, or IMAGES were rendered."""
    for number in range(1, IMAGES + 1):
        head = _read(pool, HEAD.size)
        if head is None:
            return
        text, length = HEAD.unpack(head)
        message = json.loads(_read(pool, text) or b"{}")
        data = _read(pool, length) or b""
        if not _answer(pool, data, read_wanted(message["wanted"]), limits, rendering):
            return
        signal.alarm(0)
        pool.sendall(frame({"end": "last" if number == IMAGES else "next"}))


def _answer(pool: socket.socket, data: bytes, wanted: Sequence[Wanted], limits: Limits, rendering: Render) -> bool:
    """Sends what becomes of each variant. False: memory ran out, and this process had better end."""
    at = DECODING

    def begin(number: int) -> None:
        nonlocal at
        at = number
        signal.alarm(int(limits.seconds) + _GRACE)
        pool.sendall(frame({"at": number}))

    begin(DECODING)
    try:
        for number, result in rendering(data, wanted, begin, limits.pixels):
            if isinstance(result, Unrendered):
                pool.sendall(frame({"failed": number, "message": result.message}))
            else:
                pool.sendall(frame({"done": number, **about(result)}, len(result.body)))
                pool.sendall(result.body)
    except MemoryError:
        message = f"it needs more than {limits.memory >> 20} MiB of memory"
        pool.sendall(frame({"none": message} if at == DECODING else {"failed": at, "message": message}))
        return False
    except ConnectionError:
        raise
    except Unrendered as refused:
        pool.sendall(frame({"none": refused.message}))
    except Exception as error:
        pool.sendall(frame({"none": described(error)}))
    return True


def _read(pool: socket.socket, length: int) -> bytes | None:
    """The next bytes; None where the pool is gone."""
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = pool.recv_into(view)
        if not count:
            return None
        view = view[count:]
    return bytes(data)


def main() -> None:
    """The whole life of a worker."""
    limits = Limits(**json.loads(sys.argv[2]))
    confine(limits)
    with socket.socket(fileno=int(sys.argv[1])) as pool:
        try:
            serve(pool, limits)
        except ConnectionError:
            return


if __name__ == "__main__":
    main()
