"""Every S3 server of this machine, one after the other."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from tests.servers import s3
from tests.servers.s3 import S3Server, ServerMissing
from tests.servers.swift import swift


@pytest.fixture(scope="session", params=("moto", "rclone", "ceph16", "ceph20", "seaweedfs", "swift", "localstack"))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Each server in turn; `make conformance` runs all of them."""
    name: str = request.param
    if name in ("moto", "rclone"):
        yield request.getfixturevalue(f"{name}_server")
        return
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip(f"{name}: one instance for all, so not in parallel tests; `make conformance` runs it")
    with pytest.MonkeyPatch.context() as patch:
        try:
            with _started(name, tmp_path_factory) as running:
                patch.setenv("AWS_ACCESS_KEY_ID", running.access_key)
                patch.setenv("AWS_SECRET_ACCESS_KEY", running.secret_key)
                yield running
        except ServerMissing as missing:
            pytest.skip(str(missing))


def _started(name: str, folders: pytest.TempPathFactory) -> AbstractContextManager[S3Server]:
    match name:
        case "localstack":
            return s3.localstack()
        case "swift":
            return swift(folders.mktemp(name))
        case "seaweedfs":
            return s3.seaweedfs(folders.mktemp(name))
    return s3.ceph(int(name.removeprefix("ceph")))
