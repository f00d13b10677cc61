"""Manifests that name many hosts: some whose names nobody resolves, more than files may be open."""

import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.checker import Bucket
from tests.faults.harness import Migration, finish
from tests.faults.proxy import Proxy
from tests.faults.test_rows_sources import migration_of_urls
from tests.faults.world import origin_of, small_tree

pytestmark = pytest.mark.faults

HERE = {f"here/{number}.bin": b"here %d" % number for number in range(60)}


def seeing(file: Path, target: str) -> list[str]:
    """A command before another, which then sees `file` in the place of `target`."""
    before = ["unshare", "--mount", "sh", "-c", f'mount --bind "$0" {target} && exec "$@"', str(file)]
    if subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here (needs root)")
    return before


def with_open_files(limit: str) -> list[str]:
    """A command before another, which then may open so many files: options of ulimit."""
    return ["sh", "-c", f'ulimit {limit} && exec "$@"', "sh"]


@pytest.fixture
def silent_resolver(folder: Path) -> Iterator[Sequence[str]]:
    """What to run a command under: whatever name it asks for, no resolver answers."""
    with ExitStack() as sockets:
        lines = []
        for number in range(3):
            resolver = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            try:
                resolver.bind((f"127.{folder.stat().st_ino % 200 + 1}.{number}.53", 53))
            except OSError as error:
                pytest.skip(f"no socket on port 53 here: {error}")
            lines.append(f"nameserver {resolver.getsockname()[0]}\n")
        (folder / "resolv.conf").write_text("".join(lines))
        yield seeing(folder / "resolv.conf", "/etc/resolv.conf")


def test_hosts_whose_names_nobody_resolves_keep_no_others_waiting(
    folder: Path, bucket: Bucket, proxy: Proxy, silent_resolver: Sequence[str]
) -> None:
    with origin_of(HERE) as origin:
        lost = [f"http://host-{number}.gone.test/{number}.bin" for number in range(80)]
        urls = lost + [f"{origin.url}/{key}" for key in HERE]
        migration = migration_of_urls(folder, bucket, urls, key="{path}")
        process = migration.start(
            "migrate", before=silent_resolver, environment={"MIGRATOR_DESTINATION__ENDPOINT_URL": proxy.url}
        )
        proxy.wait("PUT", "/here/", number=len(HERE))
        process.send_signal(signal.SIGINT)
        stopped = finish(process, timeout=20)  # a resolver takes half a minute to give up
    assert stopped.status == 130, stopped.words
    assert {key for key, (state, _) in migration.items().items() if state == "stored"} == HERE.keys()


def test_more_hosts_than_files_may_be_open(folder: Path, bucket: Bucket) -> None:
    contents = {f"{number}/a.bin": b"%d" % number for number in range(400)}
    names = [f"host-{number}.here.test" for number in range(400)]
    (folder / "hosts").write_text("".join(f"127.0.0.1 {name}\n" for name in ("localhost", *names)))
    with origin_of(contents) as origin:
        urls = [f"http://{name}:{origin.port}/{key}" for name, key in zip(names, contents, strict=True)]
        migration = migration_of_urls(folder, bucket, urls, key="{path}")
        finished = migration.run(before=[*seeing(folder / "hosts", "/etc/hosts"), *with_open_files("-n 250")])
    assert finished.status == 0, finished.words
    assert "retries" not in finished.words
    assert migration.check(contents) == []


def test_a_limit_that_may_be_raised_is_raised(folder: Path, bucket: Bucket) -> None:
    contents = small_tree(folder, count=200, size=20)
    migration = Migration(folder, bucket, transfer={"concurrency": 64})
    finished = migration.run(before=with_open_files("-S -n 40"))
    assert finished.status == 0, finished.words
    assert migration.check(contents) == []


def test_more_transfers_than_files_may_be_open_are_refused(folder: Path, bucket: Bucket) -> None:
    small_tree(folder, count=3, size=20)
    migration = Migration(folder, bucket, transfer={"concurrency": 64})
    finished = migration.run(before=with_open_files("-n 100"))
    assert finished.status == 2, finished.words
    assert "64 transfers at once need 242 open files, and this process may open 100" in finished.words
