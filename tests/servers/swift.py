"""OpenStack Swift with its S3 middleware: proxy, account, container and object server, each a process of its own."""

import getpass
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tests.servers.s3 import S3Server, ServerMissing, free_port, listens, process, takes_a_bucket

_RINGS = ("account", "container", "object")

_PROXY = {
    "catch_errors": "",
    "gatekeeper": "",
    "cache": "",
    "listing_formats": "",
    "s3api": "location = us-east-1",
    "tempauth": "user_test_tester = testing .admin",
    "copy": "",
    "slo": "",
    "dlo": "",
    "versioned_writes": "allow_object_versioning = true",
    "symlink": "",
}
"""The middleware of the proxy, in its order, and its settings."""

_NAMES = {"cache": "memcache"}
"""Middleware whose code has another name."""


@contextmanager
def swift(folder: Path) -> Iterator[S3Server]:
    """Swift with its data in `folder`. Raises ServerMissing."""
    if not shutil.which("swift-proxy-server"):
        raise ServerMissing("Swift is not installed here: make servers")
    (folder / "disks" / "disk").mkdir(parents=True)
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = tests\n[storage-policy:0]\nname = only\ndefault = yes\n"
    )
    # Its users are called account:user, which is their access key too.
    server = S3Server("swift", free_port(), "test:tester", "testing")
    with ExitStack() as running:
        for name in _RINGS:
            port = free_port()
            _make_ring(folder, name, port)
            running.enter_context(_server(folder, name, port, f"{name}-server", ""))
        filters = "".join(
            f"[filter:{name}]\nuse = egg:swift#{_NAMES.get(name, name)}\n{settings}\n"
            for name, settings in _PROXY.items()
        )
        pipeline = " ".join([*_PROXY, "proxy-server"])
        running.enter_context(_server(folder, "proxy", server.port, pipeline, filters, server))
        yield server


def _make_ring(folder: Path, name: str, port: int) -> None:
    builder = folder / f"{name}.builder"
    for step in (("create", "4", "1", "1"), ("add", f"r1z1-127.0.0.1:{port}/disk", "1"), ("rebalance",)):
        subprocess.run(["swift-ring-builder", str(builder), *step], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def _server(
    folder: Path, name: str, port: int, pipeline: str, filters: str, s3: S3Server | None = None
) -> Iterator[None]:
    config = folder / f"{name}.conf"
    config.write_text(
        f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nuser = {getpass.getuser()}\nworkers = 0\n"
        f"swift_dir = {folder}\ndevices = {folder}/disks\nmount_check = false\n"
        f"[pipeline:main]\npipeline = {pipeline}\n{filters}"
        f"[app:{name}-server]\nuse = egg:swift#{name}\n"
        + ("account_autocreate = true\nallow_account_management = true\n" if s3 else "")
    )
    # Every one of them looks for swift.conf in SWIFT_DIR, whatever its own file says.
    command = ["env", f"SWIFT_DIR={folder}", f"swift-{name}-server", str(config)]
    with process(command, partial(takes_a_bucket, s3) if s3 else partial(listens, port)):
        yield
