"""Connections that wait for the next request: for not too long, and not too many, whatever they lead to."""

import asyncio
from typing import Generic, Protocol, TypeVar

LEAST = 128
"""As many may be kept as there are transfers at once, and at least so many."""
LONGEST = 15.0
"""Seconds; servers close idle connections after 20 and more, and a request must not meet that."""


class Connected(Protocol):
    """A connection. `is_open`: a request may go over it."""

    idle_since: float

    @property
    def is_open(self) -> bool: ...

    def close(self) -> None: ...


C = TypeVar("C", bound=Connected)


class Idle:
    """Those to all servers: a manifest may name more hosts, or buckets, than files may be open."""

    def __init__(self, concurrency: int) -> None:
        self._most = max(LEAST, concurrency)
        self._oldest_first: dict[Connected, None] = {}

    def add(self, connection: Connected) -> None:
        """Closes the oldest when there are too many; who keeps that one sees it when it is wanted."""
        self._oldest_first[connection] = None
        if len(self._oldest_first) > self._most:
            oldest = next(iter(self._oldest_first))
            del self._oldest_first[oldest]
            oldest.close()

    def remove(self, connection: Connected) -> None:
        """It is in use again, or gone."""
        self._oldest_first.pop(connection, None)


class Kept(Generic[C]):
    """Those to one server."""

    def __init__(self, idle: Idle) -> None:
        self._idle = idle
        self._connections: list[C] = []

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._connections)

    def take(self) -> C | None:
        """The one used last: it is the least likely to have been closed."""
        now = asyncio.get_running_loop().time()
        while self._connections:
            connection = self._connections.pop()
            self._idle.remove(connection)
            if connection.is_open and now - connection.idle_since < LONGEST:
                return connection
            connection.close()
        return None

    def give(self, connection: C) -> None:
        """Keeps it for later, or closes it where nothing may go over it any more."""
        if connection.is_open:
            connection.idle_since = asyncio.get_running_loop().time()
            self._connections.append(connection)
            self._idle.add(connection)
        else:
            connection.close()

    def sweep(self) -> None:
        """Closes what was idle for long, and forgets what is closed."""
        now = asyncio.get_running_loop().time()
        for connection in self._connections[:]:
            if not connection.is_open or now - connection.idle_since >= LONGEST:
                self._connections.remove(connection)
                self._idle.remove(connection)
                connection.close()

    def close(self) -> None:
        """Closes all. Idempotent."""
        while self._connections:
            connection = self._connections.pop()
            self._idle.remove(connection)
            connection.close()
