"""How many requests to the destination a plan will take."""

from collections.abc import Iterator
from dataclasses import dataclass

from migrator.core.model import Digest, State
from migrator.reports import words
from migrator.reports.overview import Overview


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests by kind. Retries, and objects that turn out large only when they are read, come on top."""

    puts: int
    """One for each small object."""
    large: int
    """Objects that go in parts, with two requests more each: to begin and to complete."""
    parts: int
    heads: int
    """Of items that an earlier run may have stored."""
    reads: int
    """Of small objects that are read back, because the server checks no digest."""
    lists_destination: bool
    """The server ignores preconditions: one listing of the prefix (a request for each 1,000 keys in it)."""

    @property
    def total(self) -> int:
        """What can be counted beforehand."""
        return self.puts + self.parts + 2 * self.large + self.heads + self.reads

    def lines(self) -> Iterator[str]:
        """For people."""
        pieces = [f"{words.count(self.puts)} PUT"]
        if self.large:
            objects = words.count(self.large, "large object")
            pieces.append(f"{words.count(self.parts)} parts of {objects} and {words.count(2 * self.large)} around them")
        if self.heads:
            pieces.append(f"{words.count(self.heads)} HEAD for what an earlier run may have stored")
        if self.reads:
            pieces.append(f"{words.count(self.reads)} GET to read back (the server checks no digest)")
        yield f"about {words.count(self.total)}: {', '.join(pieces)}"
        if self.lists_destination:
            yield "and one listing of the destination, because it ignores preconditions (1 request for each 1,000 keys)"


def estimate(seen: Overview, large: int, parts: int) -> Requests:
    """For what is still to be moved; `large` of these items go in `parts` parts."""
    found = seen.capabilities
    return Requests(
        puts=seen.to_move - large,
        large=large,
        parts=parts,
        heads=seen.items(State.INTENDED),
        reads=seen.to_move - large if found and found.digest is Digest.READ_BACK else 0,
        lists_destination=bool(found and not found.conditional_put),
    )
