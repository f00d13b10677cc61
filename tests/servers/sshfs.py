"""A folder mounted through FUSE by sshfs, whose inode numbers count what was looked up since it was mounted."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.s3 import ServerMissing

SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")
_PATIENCE = 30.0


@contextmanager
def mounted(folder: Path, at: Path) -> Iterator[Callable[[], None]]:
    """`folder` as a share at `at`; it talks to its server through pipes, without ssh. Raises ServerMissing.

    What it hands over kills sshfs: the mount stays, and nothing behind it answers any more.
    """
    if os.geteuid() != 0 or not Path("/dev/fuse").exists() or not (shutil.which("sshfs") and SFTP_SERVER.exists()):
        raise ServerMissing("sshfs, openssh-sftp-server, /dev/fuse and root are needed")
    at.mkdir(exist_ok=True)
    with subprocess.Popen([SFTP_SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        command = ["sshfs", "-f", f":{folder}", str(at), "-o", "passive"]
        with subprocess.Popen(command, stdin=server.stdout, stdout=server.stdin) as share:
            deadline = time.monotonic() + _PATIENCE
            while not at.is_mount():
                if time.monotonic() > deadline:
                    raise RuntimeError("sshfs did not mount")
                time.sleep(0.02)  # that it is mounted has no event to wait for from outside
            try:
                yield share.kill
            finally:
                subprocess.run(["fusermount3", "-u", "-z", at], check=True)
        server.kill()
