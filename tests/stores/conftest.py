"""Every S3 server of this machine, one after the other."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.servers import s3
from tests.servers.s3 import S3Server, ServerMissing


@pytest.fixture(scope="session", params=("moto", "rclone", "ceph16", "ceph20"))
def server(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    """Each server in turn; `make conformance` runs all of them."""
    name: str = request.param
    if not name.startswith("ceph"):
        yield request.getfixturevalue(f"{name}_server")
        return
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip(f"{name}: one instance for all, so not in parallel tests; `make conformance` runs it")
    with ExitStack() as stack:
        try:
            running = stack.enter_context(s3.ceph(int(name.removeprefix("ceph"))))
        except ServerMissing as missing:
            pytest.skip(str(missing))
        yield running
