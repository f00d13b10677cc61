"""Servers (one of each kind for all tests of a process), fresh buckets, and migrations of them."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import servers
from tests.faults.checker import Bucket
from tests.faults.proxy import Proxy
from tests.faults.servers import Server
from tests.servers.s3 import S3Server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def moto(moto_server: S3Server) -> Server:
    """moto: preconditions, multipart and versions, but it checks neither digests nor signatures."""
    return Server("moto", moto_server.port, has_versions=True)


@pytest.fixture(scope="session")
def rclone(rclone_server: S3Server) -> Server:
    """rclone: ignores preconditions, checks only Content-MD5, has no versions."""
    return Server("rclone", rclone_server.port, has_versions=False)


@pytest.fixture(scope="session")
def ceph20() -> Iterator[Server]:
    """A Ceph RGW 20, where it is installed."""
    if missing := servers.ceph_missing():
        pytest.skip(missing)
    with servers.ceph20() as server:
        yield server


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Server:
    """The server that an indirect parameter names; moto without one."""
    found: Server = request.getfixturevalue(getattr(request, "param", "moto"))
    return found


@pytest.fixture
def bucket(server: Server) -> Bucket:
    """A fresh bucket on `server`; versioned where it can be, so that nothing stored twice can hide."""
    return server.make_bucket(f"faults-{os.getpid()}-{next(_numbers)}", versioned=True)


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """A proxy before `server`, without rules yet."""
    with Proxy(server.address) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a migration lives."""
    return tmp_path
