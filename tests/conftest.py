"""What every test may ask for: real S3 servers on free ports, and an environment without anybody's own credentials."""

import os
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader
from hypothesis import HealthCheck, settings

from tests.servers import s3
from tests.servers.s3 import S3Server

# A machine that is busy with other things is no fault of an example.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def aws_environment() -> Iterator[None]:
    """The credentials of the test servers, and nothing of the machine's owner: no profile, no role, no proxy."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("AWS_", "MIGRATOR_")) or name.lower().endswith("_proxy"):
                patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", s3.ACCESS_KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", s3.SECRET_KEY)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="session", autouse=True)
def signals() -> Iterator[None]:
    """SIGINT and SIGHUP are heard, also in a job in the background and under `nohup`: what a process ignores, its
    children ignore too.
    """
    usual: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    ignored = [number for number in usual if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, usual[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="session", autouse=True)
def models_are_read_once() -> Iterator[None]:
    """Each session of botocore parses megabytes of models anew; a command has one, the tests have a thousand."""
    read = cache(JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: read(path))
        yield


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    """A moto server; `.endpoint`, `.client()`, `.new_bucket()`."""
    with s3.moto() as server:
        yield server


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """`rclone serve s3`: checks signatures and Content-MD5, ignores preconditions."""
    folder: Path = tmp_path_factory.mktemp("rclone")
    with s3.rclone(folder) as server:
        yield server
