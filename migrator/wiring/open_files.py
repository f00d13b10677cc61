"""How many files and connections may be open at once: as many as a run needs, where the system allows it."""

import resource
import sys

from migrator.core.errors import ConfigError

A_TRANSFER = 3
"""A connection to each end, and a file."""
BESIDE = 50
"""Ledger, logs, modules that are loaded late."""
MOST = 65_536
"""The limit is raised no further: what is inherited by other processes may be walked through by them."""


def make_room(concurrency: int) -> None:
    """Raises the limit of this process as far as its hard limit goes: that of old is for programs with `select`.

    Raises ConfigError when so many transfers at once need more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = sys.maxsize if hard == resource.RLIM_INFINITY else hard
    least = A_TRANSFER * concurrency + BESIDE
    if most < least:
        raise ConfigError(
            f"{concurrency} transfers at once need {least} open files, and this process may open {most}",
            hint="lower transfer.concurrency, or raise the limit (ulimit -Hn; LimitNOFILE of a service)",
        )
    wanted = min(most, max(least, MOST))
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
