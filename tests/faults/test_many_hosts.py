"""Hosts whose names nobody resolves, and more hosts than files may be open."""

import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.checker import Bucket
from tests.faults.harness import Migration, finish, seeing
from tests.faults.proxy import Proxy
from tests.faults.test_rows_sources import migration_of_urls
from tests.faults.world import origin_of, small_tree

pytestmark = pytest.mark.faults

HERE = {f"here/{number}.bin": b"here %d" % number for number in range(60)}


def with_open_files(limit: str) -> list[str]:
    """A command before another, which then may open so many files: options of ulimit."""
    return ["sh", "-c", f'ulimit {limit} && exec "$@"', "sh"]


@dataclass(frozen=True, slots=True)
class Resolver:
    """Hears whatever names the command after `before` asks for, and answers nothing."""

    before: Sequence[str]
    ear: socket.socket

    def wait(self) -> None:
        """Returns when a name was asked for. Raises TimeoutError."""
        self.ear.recv(1000)


@pytest.fixture
def silent_resolver(folder: Path) -> Iterator[Resolver]:
    """Three of them: half a minute goes by until a lookup gives up."""
    with ExitStack() as sockets:
        ears = [sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(3)]
        try:
            for number, ear in enumerate(ears):
                ear.bind((f"127.{folder.stat().st_ino % 200 + 1}.{number}.53", 53))
        except OSError as error:
            pytest.skip(f"no socket on port 53 here: {error}")
        ears[0].settimeout(20)
        (folder / "resolv.conf").write_text("".join(f"nameserver {ear.getsockname()[0]}\n" for ear in ears))
        yield Resolver(seeing(folder / "resolv.conf", "/etc/resolv.conf"), ears[0])


def test_hosts_whose_names_nobody_resolves_keep_no_others_waiting(
    folder: Path, bucket: Bucket, proxy: Proxy, silent_resolver: Resolver
) -> None:
    with origin_of(HERE) as origin:
        lost = [f"http://host-{number}.gone.test/{number}.bin" for number in range(80)]
        urls = lost + [f"{origin.url}/{key}" for key in HERE]
        migration = migration_of_urls(folder, bucket, urls, key="{path}")
        process = migration.start(
            "migrate", before=silent_resolver.before, environment={"MIGRATOR_DESTINATION__ENDPOINT_URL": proxy.url}
        )
        proxy.wait("PUT", "/here/", number=len(HERE))
        process.send_signal(signal.SIGINT)
        stopped = finish(process, timeout=20)  # a resolver takes half a minute to give up
    assert stopped.status == 130, stopped.words
    assert {key for key, (state, _) in migration.items().items() if state == "stored"} == HERE.keys()


@pytest.mark.parametrize("command", ["migrate", "plan"])
def test_row_30_ctrl_c_does_not_wait_for_a_resolver(
    folder: Path, bucket: Bucket, silent_resolver: Resolver, command: str
) -> None:
    source = {"type": "bucket", "bucket": "old", "endpoint_url": "http://s3.gone.test", "key": "{path}"}
    small_tree(folder, count=3, size=20)
    migration = Migration(
        folder,
        bucket,
        sources=[source] if command == "plan" else (),
        endpoint="http://s3.gone.test",
        transfer={"connect_timeout": "60s"},
    )
    process = migration.start(command, before=silent_resolver.before)
    silent_resolver.wait()
    process.send_signal(signal.SIGINT)
    stopped = finish(process, timeout=10)
    assert stopped.status == 130, stopped.words
    assert "interrupted (Ctrl+C)" in stopped.words


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


@pytest.mark.parametrize("configured", [True, False], ids=["endpoint configured", "endpoint of the environment"])
def test_more_buckets_than_files_may_be_open(folder: Path, bucket: Bucket, configured: bool) -> None:
    names = [f"{bucket.name}-tenant-{number}" for number in range(300)]
    for name in names:
        bucket.client().create_bucket(Bucket=name)
        bucket.client().put_object(Bucket=name, Key="a.bin", Body=name.encode())
    urls = [f"s3://{name}/a.bin" for name in names]
    migration = migration_of_urls(folder, bucket, urls, key="{bucket}", buckets=names)
    endpoint = {} if configured else {"MIGRATOR_DESTINATION__ENDPOINT_URL": "", "AWS_ENDPOINT_URL": bucket.endpoint}
    few = with_open_files("-n 250 && ulimit -v 2000000")  # and 2 GB of memory: no client of 10 MB for each bucket
    finished = migration.run("migrate", "--copy-mode", "stream", before=few, environment=endpoint)
    assert finished.status == 0, finished.words
    assert {key for key, (state, _) in migration.items().items() if state == "stored"} == set(names)


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
