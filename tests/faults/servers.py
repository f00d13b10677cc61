"""Buckets on real S3 servers, and a Ceph RGW 20 of the fault tests' own, which nobody else stops or fills."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.checker import ACCESS_KEY, SECRET_KEY, Bucket, s3_client
from tests.servers.s3 import free_port

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
