"""The thread that owns the writing connection. Work that waits at the same moment shares one transaction."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from migrator.core.errors import LedgerError
from migrator.ledger.audit import AuditLog
from migrator.ledger.connection import close_writer, ledger_error

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class _Job(NamedTuple):
    """Work and its result. `alone`: it begins and commits by itself."""

    work: Work[Any]
    future: "Future[Any]"
    alone: bool


_TOGETHER = 16
"""Jobs that may share a transaction: enough to spread an fsync, few enough that none waits long for its neighbours."""


class Writer:
    """Runs work one piece after the other. What `run` returns is on disk by then.

    A piece of work that fails undoes itself only; a commit that fails undoes, and fails, all that shared it.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, audit: AuditLog) -> None:
        self._connection = connection
        self._path = path
        self._audit = audit
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._next: _Job | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name=f"ledger {path.stem}", daemon=True)
        self._thread.start()

    async def run(self, work: Work[T]) -> T:
        """The result of `work`, once its transaction is committed. Cancelled before it began, it never runs."""
        return await asyncio.wrap_future(self._submit(work))

    async def run_alone(self, work: Work[T]) -> T:
        """The result of `work`, which begins and commits by itself. Cancelled before it began, it never runs."""
        return await asyncio.wrap_future(self._submit(work, alone=True))

    def close(self) -> None:
        """Finishes what was handed in and closes the connection. Idempotent; blocks."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        self._thread.join()

    def _submit(self, work: Work[T], *, alone: bool = False) -> "Future[T]":
        if self._closed:
            raise LedgerError(f"{self._path} is closed")
        future: Future[T] = Future()
        self._jobs.put(_Job(work, future, alone))
        return future

    def _serve(self) -> None:
        try:
            while (first := self._first()) is not None:
                if first.alone:
                    self._execute(first)
                else:
                    self._transact(first)
        finally:
            close_writer(self._connection)
            self._audit.close()

    def _first(self) -> _Job | None:
        first, self._next = self._next, None
        return first or self._jobs.get()

    def _execute(self, job: _Job) -> None:
        if job.future.set_running_or_notify_cancel():
            try:
                job.future.set_result(job.work(self._connection))
            except Exception as error:
                job.future.set_exception(self._translated(error))

    def _transact(self, first: _Job) -> None:
        begun: list[Future[Any]] = []
        results: dict[Future[Any], Any] = {}
        try:
            for work, future, _ in self._waiting(first):
                if future.set_running_or_notify_cancel():
                    begun.append(future)
                    if not self._connection.in_transaction:
                        self._connection.execute("BEGIN IMMEDIATE")
                    self._attempt(work, future, results)
            if self._connection.in_transaction:
                self._audit.write(self._connection)
                self._connection.execute("COMMIT")
        except (sqlite3.Error, LedgerError) as error:
            self._undo()
            for future in begun:
                if not future.done():
                    future.set_exception(self._translated(error))
        else:
            for future, result in results.items():
                future.set_result(result)

    def _waiting(self, first: _Job) -> Iterator[_Job]:
        yield first
        for _ in range(_TOGETHER - 1):
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job is None:
                self._jobs.put(None)
                return
            if job.alone:
                self._next = job
                return
            yield job

    def _attempt(self, work: Work[Any], future: "Future[Any]", results: dict["Future[Any]", Any]) -> None:
        self._connection.execute("SAVEPOINT job")
        mark = self._audit.mark()
        try:
            results[future] = work(self._connection)
            self._connection.execute("RELEASE job")
        except Exception as error:
            results.pop(future, None)
            # A full disk makes SQLite roll the whole transaction back by itself: the neighbours' work is gone too.
            if not self._connection.in_transaction and isinstance(error, sqlite3.Error):
                raise
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            self._audit.forget(mark)
            future.set_exception(self._translated(error))

    def _translated(self, error: Exception) -> Exception:
        return ledger_error(error, self._path) if isinstance(error, sqlite3.Error | OSError) else error

    def _undo(self) -> None:
        self._audit.forget()
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
