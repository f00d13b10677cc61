"""What `cleanup`, and the first step of a rollback, ask of the places where sources lie, and of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from migrator.core.cleaning import Candidate, Found, Gone, Removal, SourceSeen, Wanted, Way
    from migrator.core.undoing import Scope


class Remover(Protocol):
    """Takes sources away, so that they can be had back wherever their place allows it.

    One call is one attempt. Every method raises ObjectError of side "source"; which source is meant is told by the name
    that the configuration gives it, and a location.
    """

    async def look(self, candidate: Candidate) -> SourceSeen | None:
        """What stands there now; None: nothing."""
        ...

    async def way(self, source: str, location: str, seen: SourceSeen) -> tuple[Way, str | None]:
        """How it would be taken away, and its place in the trash. Unconditional or Invalid where it may not be."""
        ...

    async def remove(self, removal: Removal) -> Removal:
        """Takes it away, as long as it has its fingerprint: what the ledger is to keep of it. Changed, Gone.

        After an attempt without an answer, `find` comes before the next one.
        """
        ...

    async def find(self, removal: Removal) -> Found:
        """Where it is now. Changes nothing."""
        ...

    async def restore(self, removal: Removal) -> None:
        """Brings it back from the trash. Conflict: something else stands at its place; nothing was changed then."""
        ...

    async def purge(self, removal: Removal) -> None:
        """Deletes it out of the trash. Changed: it is not what was put there."""
        ...

    async def close(self) -> None:
        """Gives connections back. Idempotent."""
        ...


class CleanupLedger(Protocol):
    """What `cleanup` needs of the ledger. Every write is durable on return."""

    id: str

    async def begin_cleanup(self) -> None:
        """Before `candidates`: finds out which locations several items share."""
        ...

    async def candidates(
        self, after: int, limit: int, wanted: Wanted, sources: Sequence[str]
    ) -> tuple[list[Candidate], int | None]:
        """Sources of the next `limit` items that were not taken away, each once, with all their items.

        The second value is where to go on (`after`), None at the end. `sources` empty: of all.
        """
        ...

    async def claims_of(self, removal: Removal, wanted: Wanted) -> Candidate:
        """The items of a source that was taken away, as they are now."""
        ...

    async def owns(self, key: str) -> bool:
        """Whether this ledger has put something under `key` of the destination, or may have."""
        ...

    async def intend(self, removal: Removal) -> Removal:
        """Notes what is about to be done; with its number."""
        ...

    async def settle_removals(self, removals: Sequence[Removal]) -> None:
        """What became of them; tallies move in the same transaction."""
        ...

    async def forget_removals(self, numbers: Sequence[int]) -> None:
        """Nothing was done to these after all."""
        ...

    async def removals(self, states: Collection[Gone], after: int, limit: int, sources: Sequence[str]) -> list[Removal]:
        """Sources in one of `states`, behind the number `after`."""
        ...


class ReturningLedger(Protocol):
    """What bringing sources back needs of the ledger."""

    async def removals_to_undo(self, after: int, limit: int, scope: Scope) -> list[Removal]:
        """Sources that are away, behind the number `after`: of items that `scope` names, or taken by its run."""
        ...

    async def settle_removals(self, removals: Sequence[Removal]) -> None:
        """See `CleanupLedger`."""
        ...

    async def digest_of(self, item: int) -> tuple[bytes | None, int | None]:
        """SHA-256 and size of what was stored of an item."""
        ...

    async def keep_bereft(self, items: Sequence[int]) -> None:
        """Notes, for as long as the ledger is open, items whose source is gone for good."""
        ...

    async def bereft(self, items: Sequence[int]) -> set[int]:
        """Those of `items` that were noted."""
        ...
