"""One key of the destination: is what stands there still ours, what stood there before, and how it comes back."""

from collections.abc import Sequence

from msgspec import Struct

from migrator.core.errors import Conflict, ObjectError
from migrator.core.keys import TemplateError
from migrator.core.model import Side, Task
from migrator.core.objects import PUT_ID, Standing
from migrator.core.ports import Copier, Store
from migrator.core.undoing import Doing, Placement, Remains
from migrator.engine.conflict import UNVERSIONED, standing_digest
from migrator.engine.guard import Pace
from migrator.engine.rules import Rules
from migrator.engine.variants import variant_put_id

CLOCKS = 5.0
"""Seconds by which the server's clock may be ahead of ours when we say that nobody wrote an object after us."""


class Plan(Struct, frozen=True):
    """What undoing one key takes, decided from what stands there now."""

    doing: Doing
    standing: Standing | None = None
    message: str = ""


class Undoing(Struct, frozen=True):
    """Decides and does. Every method raises ObjectError of side "destination"; calling it again is safe.

    marked  whether whatever is put there keeps its mark: a folder without extended attributes has none
    """

    store: Store
    copier: Copier | None
    rules: Rules
    requests: Pace
    created: float
    marked: bool

    async def plan(self, task: Task, placement: Placement) -> Plan:
        """What undoing `placement` takes. Changes nothing."""
        standing = await self._head(placement.key)
        version, backups = _version(placement), placement.kept
        if standing is None:
            if version:
                return Plan(
                    Doing.LEAVE, None, f"somebody deleted it; version {version}, which it had covered, stays so"
                )
            if backups:
                return await self._plan_restore(backups[0], None)
            return Plan(Doing.NOTHING)
        if not await self._is_ours(task, placement, standing):
            return await self._plan_foreign(placement, standing)
        if version:
            return Plan(Doing.UNCOVER, standing, f"version {version}")
        if backups:
            return await self._plan_restore(backups[0], standing)
        return Plan(Doing.DELETE, standing)

    async def _plan_restore(self, backup: str, standing: Standing | None) -> Plan:
        if await self._head(backup) is None:
            return Plan(Doing.LEAVE, standing, f"the backup of what it had replaced is gone: {backup}")
        return Plan(Doing.RESTORE, standing, backup)

    async def _plan_foreign(self, placement: Placement, standing: Standing) -> Plan:
        """Something else stands there: what was there before us, which is right, or what somebody put there since."""
        backups = placement.kept
        if placement.settled_at is None and not backups:
            return Plan(Doing.NOTHING, standing)  # ours never arrived
        if standing.version_id is not None and standing.version_id == _version(placement):
            return Plan(Doing.NOTHING, standing)
        if backups:
            backup = await self._head(backups[0])
            if backup is None:
                return Plan(Doing.NOTHING, standing)  # it goes last: an interrupted rollback has copied it back
            if await self._same(placement.key, standing, backups[0], backup):
                return Plan(Doing.DISCARD, standing)
        elif not placement.replaced and _is_older(standing, placement):
            return Plan(Doing.NOTHING, standing)  # an interrupted rollback has uncovered it
        return Plan(Doing.LEAVE, standing, "somebody put something else there since")

    async def plan_discard(self, placement: Placement) -> Plan:
        """What to do about a backup that belongs to no item: it may go where what it was made of stands."""
        standing = await self._head(placement.key)
        backup = await self._head(placement.backups[0])
        if backup is None:
            return Plan(Doing.NOTHING, standing)
        if standing is None:
            return Plan(Doing.RESTORE, None, placement.backups[0])
        if await self._same(placement.key, standing, placement.backups[0], backup):
            return Plan(Doing.DISCARD, standing)
        return Plan(Doing.LEAVE, standing, f"what it was made of no longer stands under {placement.key}")

    async def carry_out(self, placement: Placement, plan: Plan) -> None:
        """Does what was planned. Conflict: it changed meanwhile."""
        match plan.doing:
            case Doing.DELETE | Doing.UNCOVER:
                assert plan.standing
                await self._remove(placement, plan)
            case Doing.RESTORE:
                await self._restore(placement, plan)
            case Doing.DISCARD:
                await self._discard(placement)
            case _:
                pass

    async def _remove(self, placement: Placement, plan: Plan) -> None:
        """Deletes our object: by its version where it has one, with all that we put there before it."""
        standing = plan.standing
        while standing is not None:
            removed = standing.version_id
            await self.requests.spend(1)
            await self.store.delete(placement.key, removed, None if removed else standing.etag)
            if removed is None:
                return
            standing = await self._head(placement.key)
            if standing is None or standing.put_id != placement.put_id:
                await self._look_beneath(placement, plan, removed, standing)
                return

    async def _look_beneath(self, placement: Placement, plan: Plan, removed: str, standing: Standing | None) -> None:
        version = _version(placement)
        if plan.doing is Doing.UNCOVER and (standing is None or standing.version_id != version):
            text = f"{placement.key}: ours was removed, and the version {version} that it covered is no longer there"
            raise Conflict(text, side=Side.DESTINATION)
        if (
            plan.doing is Doing.DELETE
            and removed in UNVERSIONED
            and standing is not None
            and standing.version_id not in UNVERSIONED
        ):
            # Where versioning is suspended our put took the place of a delete marker, which had hidden this one.
            await self.requests.spend(1)
            await self.store.delete(placement.key)

    async def _restore(self, placement: Placement, plan: Plan) -> None:
        """Gives the newest backup its key again: over ours, or where that has versions, in its place."""
        kept = placement.kept[0]
        backup = await self._head(kept)
        if backup is None:
            raise Conflict(f"the backup {kept} is gone", side=Side.DESTINATION)
        standing = plan.standing
        if standing is not None and standing.version_id is not None:
            await self._remove(placement, Plan(Doing.RESTORE, standing))
            standing = await self._head(placement.key)
        if standing is None or not await self._same(placement.key, standing, kept, backup):
            await self.requests.spend(1)
            await self.store.copy(kept, placement.key, backup.etag)
            standing = await self._head(placement.key)
            if standing is None or not await self._same(placement.key, standing, kept, backup):
                raise Conflict(f"{placement.key} is not what was copied back from {kept}", side=Side.DESTINATION)
        await self._discard(placement)

    async def _discard(self, placement: Placement) -> None:
        for key in placement.kept:
            await self.requests.spend(1)
            await self.store.purge(key)

    async def _same(self, key: str, standing: Standing, other_key: str, other: Standing) -> bool:
        if standing.size != other.size:
            return False
        if standing.sha256 and other.sha256:
            return standing.sha256 == other.sha256
        if standing.etag == other.etag:
            return True
        return await standing_digest(self.store, key) == await standing_digest(self.store, other_key)

    async def _is_ours(self, task: Task, placement: Placement, standing: Standing) -> bool:
        if placement.settled_at is None:
            return standing.put_id == placement.put_id or (
                placement.variant is None and await self._is_copy(task, standing)
            )
        versions = (placement.version_id, standing.version_id)
        if not set(versions) & set(UNVERSIONED):
            return versions[0] == versions[1]
        if standing.put_id == placement.put_id:
            return placement.etag in ("", None, standing.etag)
        if not placement.etag or standing.etag != placement.etag:
            return False
        if self.marked and (placement.variant or not task.location.startswith("s3://")):
            return False  # somebody put the same bytes there again
        # What a server copied by itself has no mark, or that of its source; nor has a file without attributes.
        return standing.modified is None or standing.modified <= placement.settled_at + CLOCKS

    async def _is_copy(self, task: Task, standing: Standing) -> bool:
        """Whether an object without our mark is the copy that a killed run had the server make.

        It has the ETag, the size and the marks of its source, which still stands, and is no older than this ledger.
        """
        if self.copier is None or not task.location.startswith("s3://") or (standing.modified or 0) < int(self.created):
            return False
        try:
            if await self.copier.hindrance(task.source, task.location):
                return False
            await self.requests.spend(1)
            source = await self.copier.describe(task.source, task.location)
        except ObjectError:
            return False
        same = (source.etag, source.size) == (standing.etag, standing.size)
        return same and source.description.metadata.get(PUT_ID) == standing.put_id

    async def _head(self, key: str) -> Standing | None:
        await self.requests.spend(1)
        return await self.store.head(key)

    async def strays(self, remains: Remains) -> Sequence[Placement]:
        """Variants that a kill may have kept from the ledger: where they would be, if they are."""
        task = remains.task
        specs = [spec for spec in self.rules.variants.get(task.source, ()) if spec.name not in remains.looked]
        if not specs or (remains.content_type and not remains.content_type.startswith("image/")):
            return ()
        size, sha256, kind = remains.size, remains.sha256, remains.content_type or ""
        if not remains.arrived:
            standing = await self._head(task.key)
            if standing is not None and standing.put_id == task.put_id:
                size, kind = standing.size, standing.content_type
                sha256 = (standing.sha256 or await standing_digest(self.store, task.key)).hex()
        values = self.rules.values(task, kind, size, bytes.fromhex(sha256) if sha256 else None)
        found = []
        for spec in specs:
            try:
                key = self.rules.prefix + spec.key.fill(values | {"format": spec.wanted.format})
            except TemplateError:
                continue  # it lacks what only an object of ours could tell, and there is none
            found.append(Placement(key, variant_put_id(task.put_id, *spec.name), spec.name))
        return found


def _version(placement: Placement) -> str:
    """The version that was covered by ours; empty where there is none."""
    kind, _, version = (placement.replaced or "").partition(":")
    return version if kind == "version" else ""


def _is_older(standing: Standing, placement: Placement) -> bool:
    """Whether it was there already when ours was known to stand on top of it. Without versions nothing is beneath.

    Where versions are kept, ours did not take anything's place: what is about as old was put on top of it.
    """
    if standing.version_id is None or standing.modified is None or placement.settled_at is None:
        return False
    about = 0.0 if placement.version_id in UNVERSIONED else CLOCKS
    return standing.modified <= placement.settled_at - about
