"""The audit log when a kill, or a disk that fails, comes just as it is written."""

import os
from pathlib import Path

import pytest

from tests.faults.checker import Bucket, audit_differences
from tests.faults.harness import Migration
from tests.faults.kills import strace_missing
from tests.faults.proxy import Proxy
from tests.faults.world import small_tree

pytestmark = pytest.mark.faults


def injected(migration: Migration, calls: str, what: str) -> list[str]:
    """A prefix under which system calls on the audit log, and on no other file, end in `what`."""
    log = str(migration.ledger.with_suffix(".audit.jsonl"))
    inject = ["-e", f"trace={calls}", "-e", f"inject={calls}:{what}"]
    return ["strace", "-f", "-qqq", "-o", os.devnull, "-P", log, *inject]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_kill_as_a_line_is_written_keeps_the_ledger_behind_the_log(
    folder: Path, bucket: Bucket, proxy: Proxy, call: str
) -> None:
    if missing := strace_missing():
        pytest.skip(missing)
    contents = small_tree(folder)
    migration = Migration(folder, bucket, endpoint=proxy.url)
    killed = migration.run(before=injected(migration, call, "signal=SIGKILL:when=1"))
    assert killed.status == -9, killed.words
    assert {state for state, _ in migration.items().values()} == {"intended"}, "nothing is settled without its line"
    assert audit_differences(migration.ledger) == []
    again = migration.run()
    assert again.status == 0, again.words
    assert migration.check(contents) == []
    log = migration.ledger.with_suffix(".audit.jsonl").read_text()
    assert '"deed":"adopt"' in log
    if call == "fsync":
        assert "were never heard of by the ledger" in log


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_log_that_cannot_be_written_stops_the_run_and_loses_nothing(
    folder: Path, bucket: Bucket, proxy: Proxy, error: str
) -> None:
    if missing := strace_missing():
        pytest.skip(missing)
    contents = small_tree(folder)
    migration = Migration(folder, bucket, endpoint=proxy.url)
    stopped = migration.run(before=injected(migration, "write,fsync", f"error={error}:when=1+"))
    assert stopped.status == 4, stopped.words
    assert "audit.jsonl" in stopped.words
    assert "Traceback" not in stopped.words
    again = migration.run()
    assert again.status == 0, again.words
    assert migration.check(contents) == []
