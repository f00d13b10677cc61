"""One thing that setup found not to be as it should, and how to mend it."""

from collections.abc import Callable

from msgspec import Struct


class Change(Struct, frozen=True):
    """One thing that is not as it should be. `note`: why it stays as it is."""

    what: str
    now: str
    then: str
    act: Callable[[], None] | None = None
    applied: bool = False
    note: str = ""

    def describe(self) -> str:
        """One line for the operator."""
        return f"{self.what}: {self.note}" if self.note else f"{self.what}: {self.now} -> {self.then}"
