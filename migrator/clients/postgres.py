"""PostgreSQL's driver with what it lacks: an end to the server's silence. Imported where such a database is named."""

from collections.abc import Generator
from time import monotonic
from typing import Any, cast

import psycopg

_GRACE = 5.0
"""Seconds longer than the server's own limit of a statement: it gets to say first that it took too long."""


def open_postgres(timeout: float, arguments: tuple[Any, ...], options: dict[str, Any]) -> psycopg.Connection:
    """A connection whose statements fail with OperationalError once the server has been silent for `timeout` seconds.

    PostgreSQL's `statement_timeout` says nothing where the line is dead or the server (or a pooler before it) hangs.
    The kernel notices a dead line after a quarter of an hour, and a hanging server never.
    """
    connection = _Connection.connect(*arguments, **options)
    connection.silence = timeout + _GRACE
    return connection


class _Connection(psycopg.Connection[Any]):
    silence: float | None = None
    """Seconds; None until the connection stands."""

    def wait(self, gen: Generator[Any, Any, Any], *arguments: Any, **options: Any) -> Any:
        """Every exchange with the server passes here. The driver wakes `gen` several times a second."""
        return super().wait(cast("Any", self._bounded(gen)), *arguments, **options)

    def _bounded(self, exchange: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        heard = monotonic()
        ready = None
        while True:
            try:
                wanted = exchange.send(ready)
            except StopIteration as end:
                return end.value
            ready = yield wanted
            if ready:
                heard = monotonic()
            elif self.silence and monotonic() - heard > self.silence:
                self.pgconn.finish()  # in the middle of an exchange it is of no further use
                raise psycopg.OperationalError(f"no answer within {self.silence:g} s")
