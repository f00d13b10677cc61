"""How many files and connections may be open at once: as many as a run needs, where the system allows it."""

import resource
import sys

from migrator.core.errors import ConfigError

A_TRANSFER = 3
"""A connection to each end, and a file."""
BESIDE = 500
"""Connections that are kept or waited for, ledger, logs, modules that are loaded late."""
BESIDE_AT_LEAST = 50


def make_room(concurrency: int) -> None:
    """Raises the limit of this process to what so many transfers at once need, as far as its hard limit goes.

    Raises ConfigError when that is too low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = sys.maxsize if hard == resource.RLIM_INFINITY else hard
    least = A_TRANSFER * concurrency + BESIDE_AT_LEAST
    if most < least:
        raise ConfigError(
            f"{concurrency} transfers at once need {least} open files, and this process may open {most}",
            hint="lower transfer.concurrency, or raise the limit (ulimit -Hn; LimitNOFILE of a service)",
        )
    wanted = min(most, A_TRANSFER * concurrency + BESIDE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
