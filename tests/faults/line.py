"""A line to a database server: it can be cut and mended, and it can keep back the answer to a commit."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self


class Line:
    """Serves on a free port of 127.0.0.1 while the `with` block lasts.

    Cut, it drops every connection and takes no new one; `refused` is set by a try meanwhile. With `hold_commit` the
    answer to the first commit of an update never arrives, nor anything after it on that connection; `held` is set when
    the server was asked.
    `asked` counts what the client has sent, by the piece.
    """

    def __init__(self, server: tuple[str, int], *, hold_commit: bool = False) -> None:
        self._server = server
        self._hold_commit = hold_commit
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._whole = True
        self.port: int = self._listener.getsockname()[1]
        self.refused = threading.Event()
        self.held = threading.Event()
        self.asked = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def cut(self) -> None:
        """Nothing goes through any more."""
        self._whole = False
        for end in self._ends:
            _close(end)
        self._ends.clear()

    def mend(self) -> None:
        """New connections go through again."""
        self._whole = True

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed: the test is over
            while True:
                client, _ = self._listener.accept()
                if not self._whole:
                    self.refused.set()
                    _close(client)
                    continue
                server = socket.create_connection(self._server)
                self._ends += [client, server]
                talk = _Talk(client, server, self._count, self.held if self._hold_commit else None)
                for work in (talk.ask, talk.answer):
                    threading.Thread(target=work, daemon=True).start()

    def _count(self) -> None:
        self.asked += 1


class _Talk:
    """One connection. `held` is set, and no answer passes any more, once the first update has been committed."""

    def __init__(
        self, client: socket.socket, server: socket.socket, count: Callable[[], None], held: threading.Event | None
    ) -> None:
        self._client = client
        self._server = server
        self._count = count
        self._held = held
        self._updated = False
        self._kept = threading.Event()

    def ask(self) -> None:
        self._pump(self._client, self._server, self._send)

    def answer(self) -> None:
        self._pump(self._server, self._client, lambda data: None if self._kept.is_set() else self._client.sendall(data))

    def _send(self, data: bytes) -> None:
        self._count()
        self._updated |= b"UPDATE " in data.upper()
        first = self._held is not None and not self._held.is_set()
        last = first and self._updated and b"COMMIT" in data.upper()
        if last:
            self._kept.set()  # before the server hears of it, so that its answer cannot slip through
        self._server.sendall(data)
        if last and self._held:
            self._held.set()

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket, pass_on: Callable[[bytes], None]) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                pass_on(data)
        _close(one)
        _close(other)


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
