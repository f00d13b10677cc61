"""Fills the ports of `cleanup` and of bringing sources back: what an open ledger is to them."""

from collections.abc import Callable, Collection, Sequence

from migrator.core.cleaning import Candidate, Gone, Removal, Wanted
from migrator.core.undoing import Scope
from migrator.ledger import cleaned, cleanup
from migrator.ledger.audit import AuditLog
from migrator.ledger.journal import source_numbers
from migrator.ledger.writer import Writer


class CleaningLedger:
    """See `CleanupLedger` and `ReturningLedger`. `run` tells the number of the run under way."""

    def __init__(self, ledger_id: str, writer: Writer, audit: AuditLog, run: Callable[[], int]) -> None:
        self.id = ledger_id
        self._writer = writer
        self._audit = audit
        self._run = run

    async def begin_cleanup(self) -> None:
        """See the port."""
        await self._writer.run(cleanup.begin)

    async def candidates(
        self, after: int, limit: int, wanted: Wanted, sources: Sequence[str]
    ) -> tuple[list[Candidate], int | None]:
        """See the port."""
        return await self._writer.run(
            lambda c: cleanup.candidates(c, cleanup.Naming(source_numbers(c), wanted, self.id), after, limit, sources)
        )

    async def claims_of(self, removal: Removal, wanted: Wanted) -> Candidate:
        """See the port."""
        found = await self._writer.run(
            lambda c: cleanup.claims_of(c, cleanup.Naming(source_numbers(c), wanted, self.id), removal.items)
        )
        return Candidate(removal.location, tuple(found[item] for item in removal.items))

    async def owns(self, key: str) -> bool:
        """See the port."""
        return await self._writer.run(lambda c: cleanup.owns(c, key))

    async def intend(self, removal: Removal) -> Removal:
        """See the port."""
        return await self._writer.run(lambda c: cleaned.intend(c, removal, self._run()))

    async def settle_removals(self, removals: Sequence[Removal]) -> None:
        """See the port."""
        await self._writer.run(lambda c: self._audit.add(cleaned.settle(c, removals)))

    async def forget_removals(self, numbers: Sequence[int]) -> None:
        """See the port."""
        await self._writer.run(lambda c: cleaned.forget(c, numbers))

    async def removals(self, states: Collection[Gone], after: int, limit: int, sources: Sequence[str]) -> list[Removal]:
        """See the port."""
        return await self._writer.run(lambda c: cleaned.removals(c, states, after, limit, sources))

    async def removals_to_undo(self, after: int, limit: int, scope: Scope) -> list[Removal]:
        """See the port."""
        return await self._writer.run(lambda c: cleaned.to_undo(c, after, limit, scope))

    async def digest_of(self, item: int) -> tuple[bytes | None, int | None]:
        """See the port."""
        return await self._writer.run(lambda c: cleaned.digest_of(c, item))

    async def keep_bereft(self, items: Sequence[int]) -> None:
        """See the port."""
        await self._writer.run(lambda c: cleaned.keep_bereft(c, items))

    async def bereft(self, items: Sequence[int]) -> set[int]:
        """See the port."""
        return await self._writer.run(lambda c: cleaned.bereft(c, items))
