"""Runs the tool as an operator would: a folder with a config, a process of its own, its status and its words."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.ended import Ended
from tests.faults.checker import ACCESS_KEY, SECRET_KEY, Bucket, check
from tests.model.commands import Commands

TIMEOUT = 100
"""Seconds after which a run counts as hung."""


class Migration:
    """One migration: `folder` holds its config, its sources and its ledger."""

    words: Sequence[str] = ("migrate",)
    """The command that is run where none is named."""

    def __init__(
        self,
        folder: Path,
        bucket: Bucket,
        *,
        endpoint: str = "",
        sources: Sequence[Mapping[str, Any]] = (),
        destination: Mapping[str, Any] | None = None,
        transfer: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.bucket = bucket
        self.config = folder / "migrator.toml"
        self.ledger = folder / "checkpoints" / "faults.db"
        self.log = self.ledger.with_suffix(".log")
        # Without coverage: it doubles what a process costs to start, and of a killed one nothing is written anyway.
        strange = ("AWS_", "MIGRATOR_", "COVERAGE_")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(strange)},
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "HOME": str(folder),
            "MIGRATOR_DESTINATION__ENDPOINT_URL": endpoint or bucket.endpoint,
        }
        self.configure(sources or [tree_source(folder / "tree")], destination or {}, transfer or {})

    def configure(
        self, sources: Sequence[Mapping[str, Any]], destination: Mapping[str, Any], transfer: Mapping[str, Any]
    ) -> None:
        """Writes the config file."""
        text = 'name = "faults"\n'
        text += table("[destination]", {"bucket": self.bucket.name, **destination})
        text += "".join(table("[[sources]]", source) for source in sources)
        # Short waits: a retry that works is as good a proof after a second as after a minute.
        text += table("[transfer]", {"concurrency": 16, "timeout": "10s", "connect_timeout": "5s", **transfer})
        self.config.write_text(text)

    def start(
        self,
        *arguments: str,
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Starts `migrator ARGUMENTS -c CONFIG` in a process group of its own, under the command `before`."""
        command = [*before, sys.executable, "-m", "migrator", *self._arguments(arguments)]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def run(
        self,
        *arguments: str,
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> Ended:
        """Runs it to its end. Raises TimeoutExpired when it hangs."""
        if before or stdout != subprocess.PIPE or stderr != subprocess.PIPE:
            return finish(self.start(*arguments, before=before, environment=environment, stdout=stdout, stderr=stderr))
        # Nothing is done to it, so it may be a fork of a process that has imported everything: a third of the time.
        whole = {**self.environment, **(environment or {})}
        commands = _warm()
        try:
            return commands.run(self.folder, self._arguments(arguments), environment=whole, timeout=TIMEOUT)
        except BaseException:  # time is up, its own or the test's: what hangs must not keep the next test waiting
            _warm.cache_clear()
            commands.__exit__(None, None, None)
            raise

    def _arguments(self, arguments: Sequence[str]) -> list[str]:
        return [*(arguments or self.words), "-c", str(self.config)]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the ledger says."""
        with closing(sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()

    def items(self) -> dict[str, tuple[str, str]]:
        """State and fault (or empty) of each key in the ledger."""
        rows = self.rows("select key, state, coalesce(fault, '') from items")
        return {key: (state, fault) for key, state, fault in rows}

    def check(self, expected: Mapping[str, bytes], failed: Mapping[str, str] | None = None) -> list[str]:
        """What the oracle finds wrong."""
        return check(self.bucket, self.ledger, expected, failed)


@cache
def _warm() -> Commands:
    """Ends with this process: nobody writes to it any more."""
    return Commands(os.environ).__enter__()


def finish(process: subprocess.Popen[str], timeout: float = TIMEOUT) -> Ended:
    """Waits for the end of a run; one that hangs is killed and raises TimeoutExpired."""
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        kill(process)
        raise
    return Ended(process.returncode, stdout or "", stderr or "")


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL for the whole group of a process that this module started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def tree_source(root: Path, **keys: Any) -> dict[str, Any]:
    """A directory source that keeps paths as keys."""
    return {"type": "directory", "root": str(root), "key": "{path}", **keys}


def lots_source(files: str, **keys: Any) -> dict[str, Any]:
    """A manifest source of JSON lots whose URLs may point to this machine."""
    return {
        "type": "manifest",
        "files": files,
        "fields": ["image_url", "thumb_url"],
        "key": "{path}",
        "allow_private": True,
        **keys,
    }


def table(head: str, values: Mapping[str, Any]) -> str:
    """A table of TOML. JSON writes strings, numbers, booleans and lists of them as TOML reads them."""
    return "\n".join(["", head, *(f"{key} = {_value(value)}" for key, value in values.items()), ""])


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{json.dumps(key)} = {_value(each)}' for key, each in value.items())}}}"
    return json.dumps(value)


def seeing(file: Path, target: str) -> list[str]:
    """A command before another, which then sees `file` in the place of `target`, in a mount namespace of its own."""
    before = ["unshare", "--mount", "sh", "-c", f'mount --bind "$0" {target} && exec "$@"', str(file)]
    if subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here (needs root)")
    return before
