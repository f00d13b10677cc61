"""How fast objects arrived, run by run: the values behind the chart of a report. No behaviour but sums."""

from msgspec import Struct


class Stretch(Struct, frozen=True):
    """What was stored from `begin` to `end`, in seconds since the run began."""

    begin: int
    end: int
    items: int
    bytes: int


class RunPace(Struct, frozen=True):
    """One run that stored something: when it began (seconds since the epoch), how long it took, and what came when.

    A killed run ends with the last thing that it stored. Stretches in which nothing arrived are left out.
    """

    run: int
    started_at: int
    seconds: int
    stretches: tuple[Stretch, ...]

    @property
    def items(self) -> int:
        """Objects that it stored, as far as is still known."""
        return sum(each.items for each in self.stretches)

    @property
    def bytes(self) -> int:
        """Their bytes."""
        return sum(each.bytes for each in self.stretches)
