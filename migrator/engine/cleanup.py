"""Takes sources away whose objects were verified, one by one: decided, noted in the ledger, done, settled.

What is decided, and why, is in `cleaning.py`; a dry run ends there.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence

from msgspec.structs import replace

from migrator.core.cleaning import (
    Candidate,
    Cleaned,
    Found,
    Gone,
    Kept,
    Removal,
    SourceSeen,
    Way,
    Where,
)
from migrator.core.errors import Changed, ObjectError, Transient, Unconditional
from migrator.core.errors import Gone as GoneError
from migrator.core.model import MIB, Fault, Task
from migrator.core.objects import Standing
from migrator.core.ports import Reader
from migrator.engine.cleaning import Verdict, by_ledger, by_looking
from migrator.engine.lanes import through_lanes
from migrator.engine.taking import PAGE, Taking


class Cleanup(Taking):
    """One cleanup over one ledger."""

    async def execute(self) -> None:
        """Takes away everything that may go. Raises what stopped it; what was done is in the ledger."""
        self.stop.heed()
        if not self.options.dry_run:
            await self._take_up()
        await self.ledger.begin_cleanup()
        await through_lanes(self._pages(), self.clean, self._keep, self.config.transfer.concurrency, self.stop)
        self.patience.go_on()

    async def _take_up(self) -> None:
        """Sources that a killed cleanup had begun with: what became of them is settled before anything else."""
        await through_lanes(
            self._intended(), self._what_became, self._settle_found, self.config.transfer.concurrency, self.stop
        )
        self.patience.go_on()

    async def _intended(self) -> AsyncIterator[list[Removal]]:
        after = 0
        while page := await self.ledger.removals((Gone.INTENDED,), after, PAGE, ()):
            after = page[-1].number
            yield page

    async def _what_became(self, removal: Removal) -> tuple[Removal, Found | None]:
        try:
            return removal, await self.patience.call(lambda: self.ends.remover.find(removal))
        except ObjectError as error:
            if error.fault is Fault.FATAL:
                raise
            self.count([Cleaned(removal.location, removal.source, removal.size, None, Kept.REFUSED, str(error))])
            return removal, None

    async def _settle_found(self, batch: list[tuple[Removal, Found | None]]) -> None:
        known = [(removal, found) for removal, found in batch if found]
        await self.ledger.forget_removals([one.number for one, found in known if untouched(one, found)])
        done = [became(one, found) for one, found in known if not untouched(one, found)]
        await self.ledger.settle_removals(done)
        self.summary.resumed += len(done)

    async def _pages(self) -> AsyncIterator[Sequence[Candidate]]:
        after: int | None = 0
        while after is not None and not self.full:
            page, after = await self.ledger.candidates(after, PAGE, self.wanted, self.options.names)
            yield page

    async def _keep(self, batch: list[Cleaned | None]) -> None:
        done = [one for one in batch if one]
        await self.ledger.settle_removals([one.removal for one in done if one.removal])
        self.count(done)

    async def clean(self, candidate: Candidate) -> Cleaned | None:
        """One source, patiently; None where the limit was reached. Raises Fatal and Stopped; all else is a result."""
        if self.full:
            return None
        task = candidate.task
        nothing = Cleaned(candidate.location, task.source, candidate.size)
        if verdict := by_ledger(candidate, self.stop.time(), self.config.cleanup.grace, self.wanted):
            return replace(nothing, kept=verdict[0], message=verdict[1])
        try:
            return await self._clean(candidate, nothing)
        except Unconditional as error:
            return replace(nothing, kept=Kept.UNCONDITIONAL, message=str(error), fault=error.fault)
        except (Changed, GoneError) as error:
            return replace(nothing, kept=Kept.SOURCE_CHANGED, message=error.message, fault=error.fault)
        except ObjectError as error:
            if error.fault is Fault.FATAL:
                raise
            return replace(nothing, kept=Kept.REFUSED, message=str(error), fault=error.fault)

    async def _clean(self, candidate: Candidate, nothing: Cleaned) -> Cleaned | None:
        task, remover = candidate.task, self.ends.remover
        seen = await self.patience.call(lambda: remover.look(candidate))
        if verdict := await self._look(candidate, seen):
            return replace(nothing, kept=verdict[0], message=verdict[1])
        assert seen is not None
        way, place = await self.patience.call(lambda: remover.way(task.source, candidate.location, seen))
        if self.full:
            return None
        self.chosen += 1
        cleaned = replace(nothing, way=way, size=seen.size)
        if self.options.dry_run:
            return cleaned
        items = tuple(claim.task.id for claim in candidate.claims if claim.task.location == candidate.location)
        removal = await self.ledger.intend(
            Removal(
                candidate.location,
                task.source,
                items,
                way,
                seen.size,
                seen.fingerprint,
                place=place,
                version_id=seen.version_id,
            )
        )
        return replace(cleaned, removal=await self._remove(removal))

    async def _look(self, candidate: Candidate, seen: SourceSeen | None) -> Verdict | None:
        standing: dict[str, Standing | None] = {}
        if seen is not None and not seen.link:
            for key in sorted(candidate.keys):
                standing[key] = await self.patience.call(lambda key=key: self.ends.store.head(key))  # type: ignore[misc]
        verdict = by_looking(
            candidate,
            seen,
            standing,
            owned=seen is not None and seen.here is not None and await self.ledger.owns(seen.here),
            ledger_id=self.ledger.id,
            trusted=self.ends.trusted,
        )
        if verdict or seen is None:
            return verdict
        return await self._compare_bytes(candidate, seen)

    async def _compare_bytes(self, candidate: Candidate, seen: SourceSeen) -> Verdict | None:
        """Where the scan told no fingerprint, the bytes themselves must be those that were stored."""
        if all(claim.task.fingerprint for claim in candidate.claims):
            return None
        task = replace(candidate.task, fingerprint=seen.fingerprint, size=seen.size)
        digest = await self.patience.call(lambda: read_digest(self.ends.reader, task))
        for claim in candidate.claims:
            if claim.own is None or claim.own.sha256 != digest:
                return Kept.SOURCE_CHANGED, f"its bytes are not those that were stored as {claim.task.key}"
        return None

    async def _remove(self, removal: Removal) -> Removal:
        """Takes it away; after an attempt without an answer it is looked at before the next one.

        The intent stays in the ledger where nobody knows: the next cleanup looks again.
        """
        unsure = False

        async def once() -> Removal:
            nonlocal unsure
            if unsure:
                found = await self.ends.remover.find(removal)
                if not untouched(removal, found):
                    return became(removal, found)
                unsure = False
            try:
                return await self.ends.remover.remove(removal)
            except Transient:
                unsure = True
                raise

        try:
            return await self.patience.call(once)
        except ObjectError:
            if not unsure:
                await self.ledger.forget_removals([removal.number])
            raise


def untouched(removal: Removal, found: Found) -> bool:
    """Whether nothing of ours was done to it."""
    hidden_by_others = removal.way is Way.MARKER and found.where is Where.COVERED and found.marker_id is None
    return found.where is Where.SOURCE or hidden_by_others


def became(removal: Removal, found: Found) -> Removal:
    """What the ledger keeps of a removal that was found so, and not untouched."""
    if found.where in (Where.LOST, Where.OTHER):
        return replace(removal, state=Gone.DELETED)
    return replace(removal, state=Gone.TRASHED, marker_id=found.marker_id)


async def read_digest(reader: Reader, task: Task) -> bytes:
    """The SHA-256 of a source as it is now. Raises an ObjectError of side "source"."""
    found = hashlib.sha256()
    async with reader.open(task) as body:
        while piece := await body.read(MIB):
            found.update(piece)
        await body.check()
    return found.digest()
