"""Everything that can go wrong on purpose: one tree, each class with its exit status, object errors with their fault.

    MigratorError                 exit 1   what happened, and what to do next
    ├── ConfigError               exit 2   the config file, the environment or the command line
    ├── PreflightError            exit 3   the run cannot start: credentials, permissions, bucket
    ├── LedgerError               exit 4   the ledger cannot be used
    │   ├── LedgerLocked          exit 4   another process works on it
    │   └── LedgerFull            exit 4   no room for it
    ├── LimitReached              exit 5   stopped by a limit; resumable
    ├── Interrupted               exit 128 + signal; resumable
    └── ObjectError               exit 1   one object, one fault
        ├── Gone                  gone
        ├── Forbidden             forbidden
        │   └── Unconditional     forbidden, by ourselves: it might hit another object
        ├── Invalid               invalid
        │   └── Truncated         invalid, but tried again
        ├── Archived              archived
        ├── Changed               changed
        ├── Conflict              conflict
        ├── Throttled             throttled
        ├── Transient             transient
        ├── Unrendered            render
        └── Fatal                 fatal    exit 3; the whole run stops and no item is marked failed

A foreign error becomes one of these in `migrator.clients` (or, for files, in `migrator.stores.local`) and nowhere
else. Messages never hold a secret.
"""

from typing import ClassVar

from migrator.core.model import Fault, Side


class MigratorError(Exception):
    """What happened (`message`) and what the operator can do about it (`hint`), one line each."""

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(MigratorError):
    """The configuration cannot be used; `problems` lists every reason at once, a line each."""

    exit_status = 2

    def __init__(self, message: str, problems: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint)
        self.problems = problems


class PreflightError(MigratorError):
    """The run cannot start: the destination, the credentials or a source is not usable."""

    exit_status = 3


class LedgerError(MigratorError):
    """The ledger cannot be opened or written: damaged, too new, or on a network filesystem."""

    exit_status = 4


class LedgerLocked(LedgerError):
    """Another process holds the ledger; the message names its pid, host and start time."""


class LedgerFull(LedgerError):
    """The disk under the ledger is full. Nothing is put without its intent on disk, so the run stops."""


class LimitReached(MigratorError):
    """A limit of the operator's (--limit) or of the system's (memory) stopped the run; the same command resumes it."""

    exit_status = 5


class Interrupted(MigratorError):
    """A signal stopped the run; the same command resumes it."""

    def __init__(self, signal_number: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.signal_number = signal_number


class ObjectError(MigratorError):
    """One object could not be read or stored.

    `side` says which end failed. `retry_after` is the server's wish in seconds. `ambiguous` is true when the whole
    request may have been carried out although no answer came: whoever tries again looks (HEAD) before it sends.
    `silent` is true when no answer came, or one that came to nothing: whoever was asked may be down.
    """

    fault: ClassVar[Fault]

    def __init__(
        self,
        message: str,
        *,
        side: Side = Side.SOURCE,
        hint: str = "",
        retry_after: float | None = None,
        ambiguous: bool = False,
        silent: bool = False,
    ) -> None:
        super().__init__(message, hint)
        self.side = side
        self.retry_after = retry_after
        self.ambiguous = ambiguous
        self.silent = silent


class Gone(ObjectError):
    """404, 410, NoSuchKey, a file that is no longer there."""

    fault = Fault.GONE


class Forbidden(ObjectError):
    """401 or 403 for one object, a file that may not be read, an address that may not be reached."""

    fault = Fault.FORBIDDEN


class Unconditional(Forbidden):
    """Its server would not look whether it is still the same object, so it is not deleted."""


class Invalid(ObjectError):
    """The content or the key is not what was asked for; trying again would not change that."""

    fault = Fault.INVALID


class Truncated(Invalid):
    """Fewer bytes arrived than were announced."""


class Archived(ObjectError):
    """The object must be restored from an archive class first."""

    fault = Fault.ARCHIVED


class Changed(ObjectError):
    """The source is not, or no longer, what the scan saw."""

    fault = Fault.CHANGED


class Conflict(ObjectError):
    """Other bytes stand under our key."""

    fault = Fault.CONFLICT


class Throttled(ObjectError):
    """The server asks us to slow down."""

    fault = Fault.THROTTLED


class Transient(ObjectError):
    """Reset, timeout, 5xx, DNS: likely to pass."""

    fault = Fault.TRANSIENT


class Unrendered(ObjectError):
    """One variant of an image could not be made; its original is another matter."""

    fault = Fault.RENDER


class Fatal(ObjectError):
    """Nothing can be moved any more: credentials refused for everything, bucket gone, wrong region."""

    fault = Fault.FATAL
    exit_status = 3


def first_leaf(error: BaseException) -> BaseException:
    """The error that ended a group of tasks: the first one; the others are its consequences. Any other error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
