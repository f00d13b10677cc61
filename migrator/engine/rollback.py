"""Back to before: sources that were taken away, rows, open uploads, objects (variants, then originals), spare backups.

Deciding and doing are separate: `undoing.py` says what each object needs, and a dry run ends there.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from msgspec import Struct
from msgspec.structs import replace

from migrator.core.audit import Change, Deed, Kind
from migrator.core.config import Config
from migrator.core.errors import Fatal, Forbidden, ObjectError, Transient
from migrator.core.ledger_ports import RollbackLedger
from migrator.core.model import SMALL, Failed, Fault, Side
from migrator.core.ports import Copier, EventKind, Observer, RowsBack, Store
from migrator.core.records import RecordOutcome, RowChange
from migrator.core.undoing import Doing, LeftAlone, Placement, Remains, RowBack, Scope, Undone, UndoneItem
from migrator.engine.guard import full_jitter
from migrator.engine.lanes import through_lanes
from migrator.engine.patience import Patience
from migrator.engine.recording import BATCH, FIRST_PAUSE, LONGEST_PAUSE
from migrator.engine.returning import ONLY_COPY, SourcesBack
from migrator.engine.rules import Rules, backups_of
from migrator.engine.stopping import Stop, Stopped
from migrator.engine.undoing import Undoing

SHOWN = 20
"""Things left alone that are kept for whoever shows the result; the ledger has all."""

PAGE = 500
"""Items that are fetched from the ledger at once."""

ROW_STAYS = "a row that was updated for it could not be put back and may refer to it"


class RollbackOptions(Struct, frozen=True):
    """What the operator asked of this rollback. `dry_run`: say what it would do, and do nothing."""

    scope: Scope = Scope()
    dry_run: bool = False


@dataclass(slots=True)
class Rollback:
    """One rollback over one ledger. `execute` may be called once; `done` counts what it came to."""

    config: Config
    bucket: str
    ledger: RollbackLedger
    store: Store
    copier: Copier | None
    rows: RowsBack | None
    row_sources: Sequence[str]
    """Sources whose rows were updated."""
    observer: Observer
    stop: Stop
    options: RollbackOptions
    created: float
    """When the ledger began, in seconds since the epoch: nothing of ours is older."""
    expected: int = 0
    """About how many rows, variants and objects there are to undo; 0 where nobody has counted them."""
    done: Counter[tuple[str, Doing]] = field(default_factory=Counter)
    """(kind, what was done) -> how many."""
    left: list[Undone] = field(default_factory=list)
    """The first of what was left alone."""
    emptied: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(source, column) -> rows in which that column holds nothing again."""
    unsettled: int = 0
    """Rows and items that were begun, and of which the ledger does not know yet what became of them."""
    sources_back: SourcesBack | None = None
    """Brings sources back that a cleanup took away; None where the ledger knows of none."""
    _only_copies: set[int] = field(default_factory=set)
    """Items under way whose source is gone for good."""
    _blocked: set[int] = field(default_factory=set)
    _patience: Patience = field(init=False)
    _undoing: Undoing = field(init=False)

    def __post_init__(self) -> None:
        self._patience = Patience.of(self.config, self.observer, self.stop)
        rules = Rules.of(self.config, self.bucket)
        marked = self.config.destination.folder is None
        self._undoing = Undoing(self.store, self.copier, rules, self._patience.requests, self.created, marked)

    async def execute(self) -> None:
        """Undoes everything that is left to undo. Raises what stopped it; what was undone is in the ledger."""
        self.stop.heed()
        if not self.options.dry_run:
            await self.ledger.begin_rollback()
        if self.sources_back:
            await self.sources_back.execute(self.report)
        for source in self.row_sources:
            await self._put_rows_back(source)
        await self._abort_uploads()
        await self._list_backups()
        lanes = self.config.transfer.concurrency
        await through_lanes(self._pages(), self.undo, self._keep, lanes, self.stop)
        self._patience.go_on()
        if self.options.scope == Scope():
            await self._discard_spare_backups()

    async def _put_rows_back(self, source: str) -> None:
        after = 0
        while batch := await self.ledger.rows_to_undo(source, after, BATCH, self.options.scope):
            self._patience.go_on()
            after = batch[-1].record
            self.unsettled += len(batch)
            found = await self._rows_unless_bereft(source, batch)
            back = [
                replace(row, changed=undone.doing is Doing.PUT_BACK)
                for row, undone in found
                if undone.doing is not Doing.LEAVE
            ]
            self._blocked.update(row.item for row, undone in found if undone.doing is Doing.LEAVE)
            await self._note([undone for _, undone in found])
            if not self.options.dry_run:
                left = _left([undone for _, undone in found])
                await self.ledger.settle_rows_back(back, left)
            self.unsettled -= len(batch)

    async def _rows_unless_bereft(self, source: str, batch: Sequence[RowBack]) -> list[tuple[RowBack, Undone]]:
        """A row whose old value would name a source that is gone keeps its new one."""
        bereft = await self._bereft([row.item for row in batch])
        kept = [row for row in batch if row.item in bereft]
        left = [(row, Undone(Doing.LEAVE, row.primary_key, source, "row", ONLY_COPY, Fault.GONE)) for row in kept]
        rest = [row for row in batch if row.item not in bereft]
        return left + (await self._rows_patiently(source, rest) if rest else [])

    async def _bereft(self, items: Sequence[int]) -> set[int]:
        return await self.sources_back.ledger.bereft(items) if self.sources_back else set()

    async def _rows_patiently(self, source: str, batch: Sequence[RowBack]) -> list[tuple[RowBack, Undone]]:
        """Raises Fatal when the database stays away."""
        for failures in range(1, self.config.transfer.retries + 2):
            try:
                return await self._rows(batch)
            except Transient as error:
                last = error
                await self._pause(full_jitter(failures, FIRST_PAUSE, LONGEST_PAUSE))
        raise Fatal(
            f'rows of the source "{source}" are left: {last.message}',
            side=Side.DATABASE,
            hint="no object was touched, and no row is half put back; run the same command when it answers",
        ) from last

    async def _pause(self, seconds: float) -> None:
        try:
            await self.stop.sleep(seconds)
        except Stopped:
            self._patience.go_on()

    async def _rows(self, batch: Sequence[RowBack]) -> list[tuple[RowBack, Undone]]:
        changes = [row.change for row in batch if row.change]
        outcomes = dict(zip((change.task.id for change in changes), await self._changed(changes), strict=True))
        for row in batch:
            if row.change and outcomes[row.record] is None:
                self.emptied.update((row.source, name) for name in _emptied(row.change))
        return [(row, _row_undone(row, outcomes.get(row.record))) for row in batch]

    async def _changed(self, changes: Sequence[RowChange]) -> list[RecordOutcome | None]:
        """What becomes of each row: None where it is put back (or would be)."""
        if not changes:
            return []
        assert self.rows
        found = await self.rows.check(changes)
        if self.options.dry_run:
            return found
        due = [change for change, outcome in zip(changes, found, strict=True) if outcome is None]
        made = iter(await self.rows.apply(due))
        outcomes = [next(made) if outcome is None else outcome for outcome in found]
        return [
            outcome if isinstance(outcome, Failed) or before else None
            for outcome, before in zip(outcomes, found, strict=True)
        ]

    async def _abort_uploads(self) -> None:
        for source, key, upload_id in await self.ledger.uploads_to_undo(self.options.scope):
            self._patience.go_on()
            undone = Undone(Doing.ABORT, key, source, "upload", upload_id)
            try:
                if not self.options.dry_run:
                    await self._patience.call(lambda key=key, name=upload_id: self.store.abort(key, name))  # type: ignore[misc]
                    await self.ledger.note([Change.aborted(key, upload_id, source)])
                    await self.ledger.forget_upload(key, upload_id)
            except ObjectError as error:
                undone = _refused(error, key, source, "upload")
            await self.report([undone])

    async def _list_backups(self) -> None:
        """Backups that stand: a kill may have come before the ledger was told of one."""
        start = backups_of(self.config.destination.prefix, self.ledger.id)
        try:
            async for keys in self.store.keys(start):
                self._patience.go_on()
                found = [(key[len(start) :].partition("/"), key) for key in keys]
                backups = [(name, int(run), key) for (run, _, name), key in found if run.isdecimal() and name]
                await self.ledger.keep_backups(backups)
        except Forbidden:
            return  # then the ledger alone tells

    async def _pages(self) -> AsyncIterator[list[Remains]]:
        after = 0
        while page := await self.ledger.remains(after, PAGE, self.options.scope):
            self._only_copies |= await self._bereft([one.task.id for one in page])
            yield page
            after = page[-1].task.id

    async def _keep(self, done: list[UndoneItem]) -> None:
        parts = [part for one in done for part in one.all]
        await self._note(parts)
        if not self.options.dry_run:
            await self.ledger.settle_undone(done, _left(parts))
        self.unsettled -= len(done)
        self._only_copies.difference_update(one.remains.task.id for one in done)

    async def undo(self, remains: Remains) -> UndoneItem:
        """One item with its variants, patiently. Raises Fatal and Stopped; all else is a result."""
        task = remains.task
        self.unsettled += 1
        known, strays = await self._variants(remains)
        variants = {one.variant: await self._undo(task.source, task.id, remains, one) for one in known if one.variant}
        found = [await self._undo(task.source, task.id, remains, one) for one in strays]
        variants |= {
            one.variant: undone
            for one, undone in zip(strays, found, strict=True)
            if one.variant and undone.doing is not Doing.NOTHING
        }
        own = await self._undo(task.source, task.id, remains, remains.own) if remains.own else None
        return UndoneItem(remains, own, variants)

    async def _variants(self, remains: Remains) -> tuple[Sequence[Placement], Sequence[Placement]]:
        """Variants that the ledger knows of, and those that a kill may have kept from it."""
        if remains.own is None and self.options.scope.run is not None:
            return remains.variants, ()
        strays = await self._patience.attempt(lambda: self._undoing.strays(remains))
        return remains.variants, strays

    async def _undo(self, source: str, item: int, remains: Remains, placement: Placement) -> Undone:
        kind = "variant" if placement.variant else "object"
        try:
            return await self._patience.attempt(lambda: self._undo_once(source, item, remains, placement, kind))
        except ObjectError as error:
            if error.fault is Fault.FATAL:
                raise
            return _refused(error, placement.key, source, kind)

    async def _undo_once(self, source: str, item: int, remains: Remains, placement: Placement, kind: str) -> Undone:
        plan = await self._undoing.plan(remains.task, placement)
        reason = ONLY_COPY if item in self._only_copies else ROW_STAYS if item in self._blocked else ""
        if reason and plan.doing not in (Doing.NOTHING, Doing.LEAVE):
            return Undone(Doing.LEAVE, placement.key, source, kind, reason, Fault.CONFLICT)
        if not self.options.dry_run:
            if placement.settled_at is None and not placement.variant:
                await self._abort_unnoted(remains)
            await self._undoing.carry_out(placement, plan)
        fault = Fault.CONFLICT if plan.doing is Doing.LEAVE else None
        return Undone(plan.doing, placement.key, source, kind, plan.message, fault)

    async def _abort_unnoted(self, remains: Remains) -> None:
        """A kill between the server's answer and the ledger leaves an upload that no ledger row names."""
        size = remains.task.size
        if size is not None and size <= SMALL:
            return
        try:
            for upload_id, _ in await self.store.open_uploads(remains.task.key):
                await self.store.abort(remains.task.key, upload_id)
                await self.ledger.note([Change.aborted(remains.task.key, upload_id, remains.task.source)])
        except Forbidden:
            return  # nobody may list uploads

    async def _discard_spare_backups(self) -> None:
        after = ""
        while page := await self.ledger.spare_backups(after, PAGE):
            for name, backup in page:
                self._patience.go_on()
                after = backup
                await self.report([await self._discard(name, backup)])

    async def _discard(self, name: str, backup: str) -> Undone:
        """A backup that no item needs: the object that it was made of was never replaced, or has changed since."""
        placement = Placement(name, "", backups=(backup,))
        try:
            return await self._patience.attempt(lambda: self._discard_once(placement, backup))
        except ObjectError as error:
            if error.fault is Fault.FATAL:
                raise
            return _refused(error, backup, "", "backup")

    async def _discard_once(self, placement: Placement, backup: str) -> Undone:
        plan = await self._undoing.plan_discard(placement)
        if not self.options.dry_run:
            await self._undoing.carry_out(placement, plan)
            await self.ledger.note(_discarded(plan.doing, placement.key, backup))
        fault = Fault.CONFLICT if plan.doing is Doing.LEAVE else None
        return Undone(plan.doing, backup, "", "backup", plan.message, fault)

    async def report(self, parts: Sequence[Undone]) -> None:
        """Counts, tells and keeps what became of things that are no items."""
        await self._note(parts)
        if not self.options.dry_run and (left := _left(parts)):
            await self.ledger.settle_undone([], left)

    async def _note(self, parts: Sequence[Undone]) -> None:
        for part in parts:
            self.done[part.kind, part.doing] += 1
            if part.doing is Doing.LEAVE and len(self.left) < SHOWN:
                self.left.append(part)
        told = [_plain(part) for part in parts if part.doing is not Doing.NOTHING]
        self.observer.event(
            EventKind.UNDONE, f"{len(parts)} looked at", looked_at=len(parts), of=self.expected, undone=told
        )


def _row_undone(row: RowBack, outcome: RecordOutcome | None) -> Undone:
    name, source = row.primary_key, row.source
    if isinstance(outcome, Failed):
        return Undone(Doing.LEAVE, name, source, "row", outcome.message, outcome.fault)
    done = Doing.PUT_BACK if row.change and outcome is None else Doing.NOTHING
    return Undone(done, name, source, "row", "")


def _discarded(doing: Doing, key: str, backup: str) -> list[Change]:
    if doing is Doing.RESTORE:
        return [Change(Deed.RESTORE, Kind.OBJECT, key, details={"restored": f"backup:{backup}"})]
    return [Change(Deed.DELETE, Kind.BACKUP, backup, details={"of": key})] if doing is Doing.DISCARD else []


def _plain(part: Undone) -> dict[str, str]:
    return {"do": part.doing.value, "kind": part.kind, "name": part.name, "source": part.source, "why": part.message}


def _emptied(change: RowChange) -> list[str]:
    """Columns that hold a value now and will hold none."""
    now, then = json.loads(change.before), json.loads(change.after)
    return [name for name, value in then.items() if value is None and now.get(name) is not None]


def _left(parts: Sequence[Undone]) -> list[LeftAlone]:
    return [
        LeftAlone(part.kind, part.name, part.source, part.fault or Fault.CONFLICT, part.message)
        for part in parts
        if part.doing is Doing.LEAVE
    ]


def _refused(error: ObjectError, name: str, source: str, kind: str) -> Undone:
    return Undone(Doing.LEAVE, name, source, kind, str(error), error.fault)
