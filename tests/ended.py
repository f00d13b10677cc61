"""What is left of a command: how it ended, and what it said."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ended:
    """A negative status is the signal that ended it."""

    status: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Everything it said."""
        return self.out + self.err
