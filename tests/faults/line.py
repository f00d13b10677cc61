"""A line to a database server that can be cut and mended: cut, it drops every connection and takes no new one."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self


class Line:
    """Serves on a free port of 127.0.0.1 while the `with` block lasts; `refused` is set by a try while it is cut."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._whole = True
        self.port: int = self._listener.getsockname()[1]
        self.refused = threading.Event()

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
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    _close(one)
    _close(other)


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
