"""Brings sources back that were taken away: the first step of a rollback.

An object whose source is gone for good may be the only copy of its bytes: it is never undone.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from migrator.core.cleaning import Found, Gone, Removal, Where
from migrator.core.cleaning_ports import Remover, ReturningLedger
from migrator.core.config import Config
from migrator.core.errors import ObjectError
from migrator.core.model import Fault, Task
from migrator.core.ports import Observer, Reader
from migrator.core.undoing import Doing, Scope, Undone
from migrator.engine.cleanup import read_digest
from migrator.engine.lanes import through_lanes
from migrator.engine.patience import Patience
from migrator.engine.stopping import Stop

PAGE = 500
"""Sources that are fetched from the ledger at once."""

ONLY_COPY = "its source is gone for good, so it may be the only copy"

WAY_BACK = "put its bytes back there (the destination has them), then run the same command again"

Report = Callable[[Sequence[Undone]], Awaitable[None]]
"""Counts, tells and keeps what became of things."""


@dataclass(slots=True)
class SourcesBack:
    """Everything that was taken away, as far as a rollback undoes it."""

    config: Config
    ledger: ReturningLedger
    remover: Remover
    reader: Reader
    observer: Observer
    stop: Stop
    scope: Scope
    dry_run: bool
    _patience: Patience = field(init=False)

    def __post_init__(self) -> None:
        self._patience = Patience.of(self.config, self.observer, self.stop)

    async def execute(self, report: Report) -> None:
        """Brings back what can be had back. Raises what stopped it."""

        async def keep(done: list[tuple[Removal, Undone]]) -> None:
            lost = [removal for removal, undone in done if undone.doing is Doing.LEAVE]
            await self.ledger.keep_bereft([item for removal in lost for item in removal.items])
            if not self.dry_run:
                back = [replace(one, state=Gone.RESTORED) for one, undone in done if undone.doing is not Doing.LEAVE]
                await self.ledger.settle_removals(back)
            await report([undone for _, undone in done])

        await through_lanes(self._pages(), self.bring_back, keep, self.config.transfer.concurrency, self.stop)
        self._patience.go_on()

    async def _pages(self) -> AsyncIterator[list[Removal]]:
        after = 0
        while page := await self.ledger.removals_to_undo(after, PAGE, self.scope):
            after = page[-1].number
            yield page

    async def bring_back(self, removal: Removal) -> tuple[Removal, Undone]:
        """One source, patiently. Raises Fatal and Stopped; all else is a result."""
        try:
            doing, message = await self._bring_back(removal)
            fault = Fault.CONFLICT if doing is Doing.LEAVE else None
        except ObjectError as error:
            if error.fault is Fault.FATAL:
                raise
            doing, message, fault = Doing.LEAVE, str(error), error.fault
        return removal, Undone(doing, removal.location, removal.source, "source", message, fault)

    async def _bring_back(self, removal: Removal) -> tuple[Doing, str]:
        found = await self._patience.call(lambda: self.remover.find(removal))
        if found.where is Where.TRASH:
            if not self.dry_run:
                await self._restore(replace(removal, marker_id=found.marker_id))
            return Doing.RETURN, ""
        if found.where is Where.SOURCE or await self._was_put_back(removal):
            return Doing.NOTHING, ""
        return Doing.LEAVE, _why(removal, found)

    async def _restore(self, removal: Removal) -> None:
        """A repeated attempt may find that the one before had done it."""

        async def once() -> None:
            try:
                await self.remover.restore(removal)
            except ObjectError:
                if (await self.remover.find(removal)).where is not Where.SOURCE:
                    raise

        await self._patience.call(once)

    async def _was_put_back(self, removal: Removal) -> bool:
        """Whether somebody put the same bytes there: the file is another one then, or another version."""
        sha256, size = await self.ledger.digest_of(removal.items[0])
        if sha256 is None:
            return False
        task = Task(removal.items[0], "", removal.source, removal.location, "", size, None)
        try:
            return await self._patience.call(lambda: read_digest(self.reader, task)) == sha256
        except ObjectError as error:
            if error.fault in (Fault.FATAL, Fault.TRANSIENT, Fault.THROTTLED):
                raise
            return False


def _why(removal: Removal, found: Found) -> str:
    if removal.state is Gone.PURGED and not found.message:
        said = "it was deleted out of the trash"
    elif removal.state is Gone.DELETED and not found.message:
        said = "it was deleted for good"
    else:
        said = found.message or "it is not where it was put"
    return f"{said}; {WAY_BACK}"
