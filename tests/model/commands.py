"""`migrator` commands at the price of a fork: a warm process without threads makes a child for each.

A child may be told to die (SIGKILL) at its Nth moment: before a request is written or an answer read, before and after
a commit of SQLite, before a file is renamed, linked or removed.
"""

import asyncio.selector_events
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import typer.main

from tests.ended import Ended

ROOT = Path(__file__).parents[2]
KILLED = -signal.SIGKILL


class Commands:
    """Runs commands while the `with` block lasts."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {**environment, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
        self._words = TemporaryDirectory(prefix="migrator-said-")

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.model.commands"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._server.pid, signal.SIGKILL)
        self._server.communicate()
        self._words.cleanup()

    def run(
        self,
        folder: Path,
        arguments: Sequence[str],
        kill_at: int = 0,
        environment: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Ended:
        """`migrator ARGUMENTS` in `folder`; killed at its moment `kill_at`, if it lives that long.

        Raises TimeoutExpired after `timeout` seconds; then nothing more can be run here.
        """
        assert self._server.stdin
        assert self._server.stdout
        order = {
            "folder": str(folder),
            "arguments": list(arguments),
            "kill_at": kill_at,
            "environment": dict(self._environment if environment is None else environment),
            "words": self._words.name,
        }
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        if not select.select([self._server.stdout], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(list(arguments), timeout or 0)
        status = int(self._server.stdout.readline())
        out, err = (Path(self._words.name, name).read_text(errors="replace") for name in ("out", "err"))
        return Ended(status, out, err)


def serve() -> None:
    """Answers orders on stdin with the status of what was run."""
    for package in (
        "migrator",
        *(f"sqlalchemy.dialects.{name}" for name in ("sqlite", "postgresql.psycopg", "mysql.pymysql")),
        "psycopg",
        "pymysql",
        "aiobotocore",
        "sqlite_utils",
    ):
        _warm(package)
    from migrator.cli.app import application

    command = typer.main.get_command(application())
    gc.freeze()  # a collection in a child would copy every page of what is shared
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            _run(command, order)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _warm(package: str) -> None:
    module = importlib.import_module(package)
    if package != "migrator":
        return
    for found in pkgutil.walk_packages(module.__path__, "migrator."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)


def _run(command: Callable[[Sequence[str]], object], order: dict[str, Any]) -> None:
    status = 1
    try:
        for number, name in ((0, os.devnull), (1, f"{order['words']}/out"), (2, f"{order['words']}/err")):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(name, flags, 0o600), number)
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        if order["kill_at"]:
            arm(order["kill_at"])
        command(order["arguments"])
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def arm(moment: int) -> None:
    """From now on this process counts its moments, and dies at the one that is `moment`."""
    left = moment

    def tick() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    transport: Any = asyncio.selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    for name in ("write", "_read_ready"):
        setattr(transport, name, _before(tick, getattr(transport, name)))

    class Counted(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            counts = sql.startswith("COMMIT")
            if counts:
                tick()
            cursor = super().execute(sql, *parameters)
            if counts:
                tick()
            return cursor

        def commit(self) -> None:
            tick()
            super().commit()
            tick()

    connect = sqlite3.connect

    def counted(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return connect(*arguments, factory=Counted, **options)

    sqlite3.connect = sqlite3.dbapi2.connect = counted  # type: ignore[assignment]

    def hook(event: str, _: Any) -> None:
        if event in ("os.rename", "os.remove", "os.link"):
            tick()

    sys.addaudithook(hook)


def _before(tick: Callable[[], None], method: Callable[..., Any]) -> Callable[..., Any]:
    def ticking(*arguments: Any) -> Any:
        tick()
        return method(*arguments)

    return ticking


if __name__ == "__main__":
    serve()
