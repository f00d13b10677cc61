"""Empties the trash: what was put there longer ago than the grace period, while its objects still stand."""

from collections.abc import AsyncIterator

from msgspec.structs import replace

from migrator.core.cleaning import Cleaned, Gone, Kept, Removal, Where
from migrator.core.errors import Changed, ObjectError
from migrator.core.model import Fault
from migrator.engine.cleaning import Verdict, by_ledger, trouble_of
from migrator.engine.lanes import through_lanes
from migrator.engine.taking import PAGE, Taking


class Purge(Taking):
    """One purge over one ledger.

    Of a source only what its ledger put into the trash goes, and only while each object that was made of it is what
    the ledger says: until now there were two of it.
    """

    async def execute(self) -> None:
        """Deletes everything that may go. Raises what stopped it; what was done is in the ledger."""
        self.stop.heed()
        await through_lanes(self._pages(), self.purge, self._keep, self.config.transfer.concurrency, self.stop)
        self.patience.go_on()

    async def _pages(self) -> AsyncIterator[list[Removal]]:
        after = 0
        while not self.full:
            page = await self.ledger.removals((Gone.TRASHED,), after, PAGE, self.options.names)
            if not page:
                return
            after = page[-1].number
            yield page

    async def _keep(self, batch: list[Cleaned | None]) -> None:
        done = [one for one in batch if one]
        if not self.options.dry_run:
            await self.ledger.settle_removals([one.removal for one in done if one.removal])
        self.count(done)

    async def purge(self, removal: Removal) -> Cleaned | None:
        """One source, patiently; None where the limit was reached. Raises Fatal and Stopped; all else is a result."""
        if self.full:
            return None
        nothing = Cleaned(removal.location, removal.source, removal.size)
        try:
            return await self._purge(removal, nothing)
        except Changed as error:
            return replace(nothing, kept=Kept.SOURCE_CHANGED, message=error.message, fault=error.fault)
        except ObjectError as error:
            if error.fault is Fault.FATAL:
                raise
            return replace(nothing, kept=Kept.REFUSED, message=str(error), fault=error.fault)

    async def _purge(self, removal: Removal, nothing: Cleaned) -> Cleaned | None:
        if self.stop.time() - removal.at < self.config.cleanup.grace:
            return replace(nothing, kept=Kept.GRACE, message="it was put into the trash later than that")
        found = await self.patience.call(lambda: self.ends.remover.find(removal))
        match found.where:
            case Where.SOURCE:
                back = replace(removal, state=Gone.RESTORED)
                return replace(nothing, kept=Kept.RESTORED, message="somebody brought it back", removal=back)
            case Where.LOST:  # a purge that was killed had done it, or somebody else
                purged = replace(removal, state=Gone.PURGED)
                return replace(nothing, kept=Kept.SOURCE_GONE, message=found.message, removal=purged)
            case Where.OTHER:
                return replace(nothing, kept=Kept.SOURCE_CHANGED, message=found.message)
            case _:
                pass
        if verdict := await self._still_needed(removal):
            return replace(nothing, kept=verdict[0], message=verdict[1])
        if self.full:
            return None
        self.chosen += 1
        known = replace(removal, marker_id=found.marker_id)
        gone = replace(nothing, way=removal.way, removal=replace(known, state=Gone.PURGED))
        if not self.options.dry_run:
            await self.patience.call(lambda: self._once(known))
        return gone

    async def _once(self, removal: Removal) -> None:
        """A repeated attempt may find that the one before had done it."""
        if (await self.ends.remover.find(removal)).where is not Where.LOST:
            await self.ends.remover.purge(removal)

    async def _still_needed(self, removal: Removal) -> Verdict | None:
        candidate = await self.ledger.claims_of(removal, self.wanted)
        if verdict := by_ledger(candidate, self.stop.time(), 0, self.wanted):
            return verdict
        for claim in candidate.claims:
            for one in claim.arrived:
                standing = await self.patience.call(lambda key=one.key: self.ends.store.head(key))  # type: ignore[misc]
                if trouble := trouble_of(one, standing, trusted=self.ends.trusted):
                    return Kept.OBJECT_CHANGED, f"{one.key} {trouble}"
        return None
