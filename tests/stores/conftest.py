"""Every S3 server of this machine, one after the other."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack

import pytest

from tests.servers import s3
from tests.servers.s3 import S3Server, ServerMissing


@pytest.fixture(scope="session", params=("moto", "rclone", "ceph16", "ceph20", "seaweedfs"))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Each server in turn; `make conformance` runs all of them."""
    name: str = request.param
    if name in ("moto", "rclone"):
        yield request.getfixturevalue(f"{name}_server")
        return
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip(f"{name}: one instance for all, so not in parallel tests; `make conformance` runs it")
    with ExitStack() as stack:
        try:
            running = stack.enter_context(_started(name, tmp_path_factory))
        except ServerMissing as missing:
            pytest.skip(str(missing))
        yield running


def _started(name: str, folders: pytest.TempPathFactory) -> AbstractContextManager[S3Server]:
    return s3.seaweedfs(folders.mktemp(name)) if name == "seaweedfs" else s3.ceph(int(name.removeprefix("ceph")))
