"""What the contestants talk to: an S3 server (rclone, Ceph 20), an HTTP origin, and the proxy that counts requests."""

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from benchmarks.measuring import descendants

ACCESS_KEY = "AKIABENCHMARK0000001"
SECRET_KEY = "benchmarkSecret0123456789abcdefABCDEFGHI"
SCRIPTS = Path(sysconfig.get_path("scripts"))
RCLONE = SCRIPTS / "rclone"
_CEPH_SCRIPT = Path(__file__).parents[1] / "tests" / "servers" / "ceph20.sh"


class Unavailable(Exception):
    """A server cannot be started here; the message says what is missing."""


class Server(Protocol):
    """Something on a port of 127.0.0.1. `start` begins empty, `stop` throws everything away."""

    provider: str
    """What rclone calls this kind of S3 server."""

    @property
    def url(self) -> str: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def pids(self) -> list[int]:
        """Every process of it."""
        ...


class _Process:
    """A server that is one child process in the foreground."""

    provider = "Other"

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        await_port(self.port, self._process)

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def pids(self) -> list[int]:
        return descendants(self._process.pid) if self._process else []

    def _command(self) -> list[str]:
        raise AssertionError("each server says how it is run")


class RcloneServer(_Process):
    """`rclone serve s3` on a memory-backed folder: a quick byte sink."""

    provider = "Rclone"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder / "rclone-s3"

    def start(self) -> None:
        self._folder.mkdir(parents=True)
        super().start()

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _command(self) -> list[str]:
        keys = f"{ACCESS_KEY},{SECRET_KEY}"
        return [str(RCLONE), "serve", "s3", "--auth-key", keys, "--addr", f"127.0.0.1:{self.port}", str(self._folder)]


class CephServer:
    """Ceph RGW 20 on memstore, in a cluster of its own beside any other that runs from the same installation."""

    provider = "Ceph"

    def __init__(self) -> None:
        self._root = self.root()
        if not self.installed():
            raise Unavailable(f"Ceph 20 is not installed: run {_CEPH_SCRIPT} install")
        # Any command of the script mounts /proc in the folder and copies the script that runs inside it.
        subprocess.run([_CEPH_SCRIPT, "status"], check=False, capture_output=True)
        self.port = free_port()
        self._monitor_port = free_port()
        self._state = f"/benchmark-{os.getpid()}-{self.port}"

    @staticmethod
    def root() -> Path:
        """The folder that ceph20.sh installs into."""
        return Path(os.environ.get("ROOT") or Path(os.environ.get("TMPDIR", "/var/tmp")) / "migrator-ceph20")

    @classmethod
    def installed(cls) -> bool:
        """Whether Ceph 20 can be started here."""
        return (cls.root() / "usr/bin/radosgw").exists()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._script("start")

    def stop(self) -> None:
        self._script("stop")
        shutil.rmtree(self._root / self._state[1:], ignore_errors=True)

    def pids(self) -> list[int]:
        found = []
        for name in ("mon", "osd", "rgw"):
            with suppress(OSError, ValueError):
                found.append(int((self._root / self._state[1:] / f"{name}.pid").read_text()))
        return found

    def _script(self, action: str) -> None:
        settings = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C",
            "D": self._state,
            "MONPORT": str(self._monitor_port),
            "PORT": str(self.port),
            "AK": ACCESS_KEY,
            "SK": SECRET_KEY,
        }
        command = ["chroot", str(self._root), "/ceph-rgw.sh", action]
        done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"Ceph 20 did not {action}: {done.stdout}{done.stderr}")


class Nginx(_Process):
    """nginx over a folder, as plain as it gets."""

    def __init__(self, binary: str, root: Path, folder: Path) -> None:
        super().__init__()
        self._binary = binary
        self._config = folder / "nginx.conf"
        self._config.write_text(f"""
daemon off; user root; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type image/jpeg;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{self.port} backlog=1024; root {root}; }}
}}
""")

    def _command(self) -> list[str]:
        return [self._binary, "-c", str(self._config), "-e", "/dev/null"]


class RcloneOrigin(_Process):
    """`rclone serve http` over a folder, where nginx is missing."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def _command(self) -> list[str]:
        return [str(RCLONE), "serve", "http", "--read-only", "--addr", f"127.0.0.1:{self.port}", str(self._root)]


class CountingProxy(_Process):
    """Stands before an S3 server and writes every request line that passes to a file."""

    def __init__(self, upstream: Server, log: Path) -> None:
        super().__init__()
        self._upstream = upstream
        self._log = log
        self.provider = upstream.provider

    def _command(self) -> list[str]:
        upstream = self._upstream.url.removeprefix("http://")
        return [sys.executable, "-m", "benchmarks.counter", str(self.port), upstream, str(self._log)]


def http_origin(root: Path, folder: Path) -> Server:
    """The fastest origin that is installed."""
    binary = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    return Nginx(binary, root, folder) if binary else RcloneOrigin(root)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def await_port(port: int, process: subprocess.Popen[bytes], seconds: float = 15.0) -> None:
    """Returns once `process` listens on `port`; raises Unavailable when it ended or took too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    process.kill()
    process.wait()
    raise Unavailable(f"no server came up on port {port}: {process.args!r}")
