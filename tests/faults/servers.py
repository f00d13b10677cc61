"""The real S3 servers that the fault tests run against, each a process of its own on a free port of 127.0.0.1."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.checker import ACCESS_KEY, SECRET_KEY, Bucket, s3_client

CEPH20 = Path(os.environ.get("ROOT", "/var/tmp/migrator-ceph20"))
CEPH_SCRIPT = Path(__file__).parents[1] / "servers" / "ceph-rgw.sh"


@dataclass(frozen=True, slots=True)
class Server:
    """A running S3 server."""

    name: str
    port: int
    has_versions: bool

    @property
    def address(self) -> str:
        """`host:port`, as a proxy wants it."""
        return f"127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://{self.address}"

    def make_bucket(self, name: str, *, versioned: bool = False) -> Bucket:
        """A new bucket; with versioning on where asked for and possible, so that nothing stored twice can hide."""
        s3 = s3_client(self.endpoint)
        s3.create_bucket(Bucket=name)
        versioned = versioned and self.has_versions
        if versioned:
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return Bucket(self.endpoint, name, versioned)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def moto() -> Iterator[Server]:
    """moto: preconditions, multipart and versions, but it checks neither digests nor signatures."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p"]
    with _process(command, name="moto", has_versions=True) as server:
        yield server


@contextmanager
def rclone(folder: Path) -> Iterator[Server]:
    """rclone: ignores preconditions, checks only Content-MD5, has no versions."""
    program = Path(sys.executable).parent / "rclone"
    command = [str(program), "serve", "s3", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--config", os.devnull]
    with _process([*command, str(folder), "--addr"], name="rclone", has_versions=False, host="127.0.0.1:") as server:
        yield server


@contextmanager
def _process(command: list[str], *, name: str, has_versions: bool, host: str = "") -> Iterator[Server]:
    port = free_port()
    output = subprocess.DEVNULL
    process = subprocess.Popen([*command, f"{host}{port}"], stdout=output, stderr=output, start_new_session=True)
    try:
        _await_port(port, process)
        yield Server(name, port, has_versions)
    finally:
        process.kill()
        process.wait()


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen on port {port}")


def ceph_missing() -> str | None:
    """Why Ceph 20 cannot be started here; None when it can."""
    if os.geteuid() != 0:
        return "Ceph RGW 20 needs root (a chroot)"
    if not (CEPH20 / "usr/bin/radosgw").exists():
        return "Ceph RGW 20 is not installed: tests/servers/ceph20.sh install"
    return None


@contextmanager
def ceph20() -> Iterator[Server]:
    """Ceph RGW 20: the strictest here; checks signatures, digests, preconditions and the clock."""
    port, monitor_port = free_port(), free_port()
    script = CEPH20 / f"ceph-rgw-{port}.sh"
    shutil.copy(CEPH_SCRIPT, script)
    state = f"/ceph-{port}"
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LC_ALL": "C",
        "D": state,
        "PORT": str(port),
        "MONPORT": str(monitor_port),
        "AK": ACCESS_KEY,
        "SK": SECRET_KEY,
    }

    def control(verb: str) -> None:
        command = ["chroot", str(CEPH20), f"/{script.name}", verb]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)

    if not (CEPH20 / "proc/self").exists():
        subprocess.run(["mount", "--bind", "/proc", str(CEPH20 / "proc")], check=True)
    try:
        control("start")
        yield Server("ceph20", port, has_versions=True)
    finally:
        control("stop")
        script.unlink()
        shutil.rmtree(CEPH20 / state.lstrip("/"), ignore_errors=True)
