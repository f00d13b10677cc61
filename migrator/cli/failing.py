"""How whatever went wrong is said to the operator: one line, what to do about it, an exit status. No traceback."""

import json
import os
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path

from migrator.core.errors import ConfigError, Interrupted, LimitReached, MigratorError, PreflightError, first_leaf
from migrator.core.secrets import mask_text

INTERRUPTED = 130
BROKEN_PIPE = 141
"""128 + SIGPIPE, as the shell says of any tool whose reader left."""

_AGAIN = "nothing is lost: the same command goes on where this one stopped"


def explanation(error: MigratorError) -> list[str]:
    """The lines for stderr."""
    lines = [f"error: {mask_text(error.message)}"]
    if isinstance(error, ConfigError):
        lines += [f"  - {mask_text(problem)}" for problem in error.problems]
    if error.hint:
        lines.append(f"what to do: {mask_text(error.hint)}")
    return lines


def exit_status(error: MigratorError) -> int:
    """The status with which the process ends."""
    return 128 + error.signal_number if isinstance(error, Interrupted) else error.exit_status


def unforeseen(error: Exception, log: Path | None = None) -> MigratorError:
    """`error`, which nobody expected, in one line; its traceback goes to the end of `log`, or to a file of its own."""
    first = first_leaf(error)
    if isinstance(first, MemoryError):
        return LimitReached("there is not enough memory", f"lower transfer.memory or transfer.concurrency; {_AGAIN}")
    if isinstance(first, RuntimeError) and "start new thread" in str(first):
        return LimitReached(
            "the system allows this process no further thread",
            f"raise `ulimit -u`, or the limit of processes of the service or container; {_AGAIN}",
        )
    if isinstance(first, FileNotFoundError) and not _stands_somewhere():
        return PreflightError("the working directory was taken away", "cd to one that exists")
    what = mask_text(f"{type(first).__name__}: {first}".splitlines()[0])
    try:
        place = _write_traceback(error, log)
    except OSError as full:
        return MigratorError(f"unforeseen, {what}", f"the traceback could not be written either ({full.strerror})")
    return MigratorError(
        f"unforeseen, {what}",
        f"a full traceback is in {place}; this is a defect of migrator, please report it. {_AGAIN.capitalize()}",
    )


def _stands_somewhere() -> bool:
    try:
        return bool(Path.cwd())
    except FileNotFoundError:
        return False


def _write_traceback(error: Exception, log: Path | None) -> Path:
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": "error",
        "event": "unforeseen",
        "traceback": mask_text("".join(traceback.format_exception(error))),
    }
    if log is None:
        descriptor, name = tempfile.mkstemp(prefix="migrator-", suffix=".log")
        log = Path(name)
    else:
        log.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(line) + "\n")
    return log
