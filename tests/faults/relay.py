"""A relay before a database server that passes bytes on, until an update is committed: that answer never arrives."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self


class Relay:
    """Serves on a free port of 127.0.0.1 while the `with` block lasts. `held` is set when an answer is kept back."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lines: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.held = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in (self._listener, *self._lines):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed: the test is over
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._lines += [client, server]
                kept = threading.Event()
                threading.Thread(target=self._ask, args=(client, server, kept), daemon=True).start()
                threading.Thread(target=self._answer, args=(client, server, kept), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, kept: threading.Event) -> None:
        updated = False
        with suppress(OSError):
            while data := client.recv(65536):
                updated |= b"UPDATE " in data.upper()
                last = updated and b"COMMIT" in data.upper()
                if last:
                    kept.set()  # before the server hears of it, so that its answer cannot slip through
                server.sendall(data)
                if last:
                    self.held.set()
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _answer(self, client: socket.socket, server: socket.socket, kept: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if not kept.is_set():
                    client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)
