"""What stands below the migrated prefixes and no row of the ledger explains: found, told, and removed when asked to.

Looking and removing are separate: what is removed was in the list that the operator confirmed, and is looked at again.
"""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from msgspec import Struct
from msgspec.structs import replace

from migrator.core import audit
from migrator.core.config import Config
from migrator.core.errors import Fatal, Forbidden, ObjectError, PreflightError, Throttled, Transient
from migrator.core.ledger_ports import OrphanLedger
from migrator.core.model import Fault
from migrator.core.orphans import Kind, Listed, Orphan, Owner, Removal, Unfinished, Upkeep
from migrator.core.ports import EventKind, Inventory, Observer, Store
from migrator.engine.lanes import through_lanes
from migrator.engine.ownership import FRESH, Ground, item_of
from migrator.engine.patience import Patience
from migrator.engine.stopping import Stop, Stopped

PAGE = 1_000
"""Orphans that are fetched from the ledger at once."""

SHOWN = 20
"""Orphans left alone that are kept for whoever shows the result."""

_SECOND = 1.0
"""A listing and a HEAD may differ so much in the time of one object: HEAD has no fractions."""


class OrphanOptions(Struct, frozen=True):
    """What the operator asked for.

    marks       ask each object for its mark: whether this ledger put it
    foreign     remove what is not ours as well
    older_than  uploads of others count that were begun so many seconds ago; None: only ours
    """

    marks: bool = False
    foreign: bool = False
    older_than: float | None = None

    @property
    def removed(self) -> tuple[Owner, ...]:
        """Whose orphans would be removed."""
        return (Owner.OURS, Owner.FOREIGN) if self.foreign else (Owner.OURS,)


@dataclass(slots=True)
class Orphans:
    """One look at a destination. `look` may be called once, then `remove` once."""

    config: Config
    ground: Ground
    ledger: OrphanLedger
    store: Store
    inventory: Inventory
    observer: Observer
    stop: Stop
    options: OrphanOptions
    gaps: list[str] = field(default_factory=list)
    """What could not be looked at, and why."""
    removed: Counter[Kind] = field(default_factory=Counter)
    freed: int = 0
    """Bytes of what was removed."""
    kept: int = 0
    """How many should have been removed and still stand."""
    examples: list[Removal] = field(default_factory=list)
    """The first of them."""
    _looked: int = 0
    _patience: Patience = field(init=False)

    def __post_init__(self) -> None:
        self._patience = Patience.of(self.config, self.observer, self.stop)

    async def look(self) -> None:
        """Finds all of them; they are in the ledger until that is closed. Raises what stopped it."""
        self.stop.heed()
        await self.ledger.begin_orphans(self.ground.here, self.ground.prefixes)
        lanes = self.config.transfer.concurrency
        await through_lanes(self._objects(), self._owned, self.ledger.keep_orphans, lanes, self.stop)
        self._go_on()
        try:
            for prefix in self.ground.walked:
                await self._patience.call(lambda prefix=prefix: self._find_uploads(prefix))  # type: ignore[misc]
        except Forbidden as error:
            self.gaps.append(f"open uploads were not looked for: {error}")
        except (Transient, Throttled) as error:
            raise _unlisted("open uploads", error) from error
        except Stopped:
            self._go_on()

    def _go_on(self) -> None:
        self._patience.go_on("the same command looks again")

    async def _objects(self) -> AsyncIterator[list[Orphan]]:
        for prefix in self.ground.walked:
            try:
                async for page in self._listing(prefix):
                    self._tell(len(page))
                    yield await self._unexplained(page)
            except Forbidden as error:
                raise PreflightError(f"keys cannot be listed: {error.message}", error.hint) from error
            except (Transient, Throttled) as error:
                raise _unlisted("keys", error) from error
            except Stopped:
                return

    def _tell(self, more: int) -> None:
        self._looked += more
        self.observer.event(EventKind.VERIFIED, "looked at", objects=self._looked, of=self._looked)

    async def _listing(self, prefix: str) -> AsyncIterator[list[Listed]]:
        """Each page patiently: a listing that failed goes on behind the last page that it had told."""
        position = ""
        pages = self.inventory.listed(prefix)

        async def next_page() -> tuple[list[Listed], str] | None:
            nonlocal pages
            try:
                return await anext(pages, None)
            except ObjectError:
                pages = self.inventory.listed(prefix, position)
                raise

        while found := await self._patience.call(next_page):
            page, position = found
            yield page

    async def _unexplained(self, page: Sequence[Listed]) -> list[Orphan]:
        found = [(kind, one) for one in page if (kind := self.ground.kind_of(one, self.stop.time()))]
        plain = [one.key for kind, one in found if kind in (Kind.OBJECT, Kind.SAMPLE)]
        backups = {one.key: self.ground.backed_up(one.key) for kind, one in found if kind is Kind.BACKUP}
        unexplained = await self.ledger.unexplained(plain) if plain else set()
        needed = await self.ledger.named([*backups.values()]) if backups else set()
        unexplained |= {key for key, name in backups.items() if name not in needed}
        checked = (Kind.OBJECT, Kind.SAMPLE, Kind.BACKUP)
        return [
            Orphan(kind, one.key, self.ground.owner_of(kind), one.size, one.modified, one.etag)
            for kind, one in found
            if kind not in checked or one.key in unexplained
        ]

    async def _owned(self, orphan: Orphan) -> Orphan:
        """The same with its owner, as far as that was asked and can be told."""
        if orphan.owner is not Owner.UNKNOWN or not self.options.marks:
            return orphan
        try:
            standing = await self._patience.call(lambda: self.store.head(orphan.key))
        except ObjectError as error:
            if error.fault is Fault.FATAL:
                raise
            return orphan
        return replace(orphan, owner=await self._owner(orphan.kind, standing.put_id if standing else None))

    async def _owner(self, kind: Kind, mark: str | None) -> Owner:
        if mark is None:
            return Owner.FOREIGN
        if kind is Kind.SAMPLE:
            return Owner.OURS  # the ledger of a smoke test is thrown away with it
        item = item_of(mark, self.ledger.id)
        if item is None:
            return Owner.FOREIGN
        return Owner.AWAITED if await self.ledger.unsettled([item]) else Owner.OURS

    async def _find_uploads(self, prefix: str) -> None:
        async for page in self.inventory.unfinished(prefix):
            self._go_on()
            known = await self.ledger.upkeep(page) if page else []
            found = [orphan for one, why in zip(page, known, strict=True) if (orphan := self._upload(one, why))]
            await self.ledger.keep_orphans(found)

    def _upload(self, upload: Unfinished, known: Upkeep | None) -> Orphan | None:
        """None where it is needed, or where nobody asked for what may be somebody else's."""
        if known is Upkeep.NEEDED:
            return None
        age = self.stop.time() - upload.begun
        ours = known is Upkeep.NOTED
        if known is Upkeep.KEY or self.ground.is_canary(upload.key):
            ours = ours or (upload.begun >= self.ground.created and age > FRESH) or upload.key == self.ground.canary
        if not ours and (self.options.older_than is None or age <= self.options.older_than):
            return None
        owner = Owner.OURS if ours else Owner.FOREIGN
        return Orphan(Kind.UPLOAD, upload.key, owner, None, upload.begun, "", upload.upload_id)

    async def remove(self) -> None:
        """Removes what `look` found and the options name. Raises what stopped it; the rest is counted."""
        await through_lanes(self._chosen(), self._remove, self._keep, self.config.transfer.concurrency, self.stop)
        self._go_on()

    async def _chosen(self) -> AsyncIterator[list[Orphan]]:
        after = ("", "")
        while page := await self.ledger.orphans(after, PAGE, self.options.removed):
            yield page
            after = (page[-1].key, page[-1].upload_id)

    async def _remove(self, orphan: Orphan) -> Removal:
        try:
            if orphan.kind is Kind.UPLOAD:
                await self._patience.call(lambda: self.store.abort(orphan.key, orphan.upload_id))
                return Removal(orphan)
            return await self._patience.call(lambda: self._remove_object(orphan))
        except ObjectError as error:
            if error.fault is Fault.FATAL:
                raise
            return Removal(orphan, str(error))

    async def _remove_object(self, orphan: Orphan) -> Removal:
        """The lock on the ledger has kept its rows as they were since the look; the object may have changed."""
        standing = await self.store.head(orphan.key)
        if standing is None:
            return Removal(orphan)
        later = standing.modified is not None and orphan.modified is not None
        if standing.etag != orphan.etag or (later and abs(standing.modified - orphan.modified) > _SECOND):  # type: ignore[operator]
            return Removal(orphan, "somebody wrote it again since it was listed")
        await self._patience.requests.spend(1)
        await self.store.delete(orphan.key, None, standing.etag)
        return Removal(orphan)

    async def _keep(self, done: list[Removal]) -> None:
        self._tell(len(done))
        gone = [one.orphan for one in done if not one.kept]
        await self.ledger.note([_change(orphan) for orphan in gone])
        for one in done:
            if one.kept:
                self.kept += 1
                self.examples += [one] if len(self.examples) < SHOWN else []
                continue
            self.removed[one.orphan.kind] += 1
            self.freed += one.orphan.size or 0
            if one.orphan.kind is Kind.UPLOAD:
                await self.ledger.forget_upload(one.orphan.key, one.orphan.upload_id)


def _unlisted(what: str, error: ObjectError) -> Fatal:
    return Fatal(f"{what} cannot be listed: {error.message}", side=error.side, hint="the same command looks again")


def _change(orphan: Orphan) -> audit.Change:
    details: dict[str, audit.Plain] = {"orphan": orphan.kind.value, "owner": orphan.owner.value}
    if orphan.kind is Kind.UPLOAD:
        return audit.Change(
            audit.Deed.ABORT, audit.Kind.UPLOAD, orphan.key, details=details | {"upload_id": orphan.upload_id}
        )
    what = audit.Kind.BACKUP if orphan.kind is Kind.BACKUP else audit.Kind.OBJECT
    return audit.Change(
        audit.Deed.DELETE, what, orphan.key, details=details | {"size": orphan.size, "etag": orphan.etag}
    )
