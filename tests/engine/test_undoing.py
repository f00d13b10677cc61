"""What undoing one key takes, whatever stands there, and that it ends the same when it is interrupted anywhere."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from migrator.core.errors import Conflict, ObjectError, Transient
from migrator.core.model import Side
from migrator.core.objects import PUT_ID, Description, Standing, Upload
from migrator.core.undoing import Doing, Placement
from migrator.engine.guard import Pace
from migrator.engine.rules import Rules
from migrator.engine.undoing import CLOCKS, Undoing

from .memory_store import MemoryStore
from .world import FakeClock, a_config, a_task

KEY, BACKUP, MARK = "a.jpg", "_migrator/backup/ledger/1/a.jpg", "ledger/1"
SETTLED = 2000


class DatedStore(MemoryStore):
    """Tells when each object was put there."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.now = 1000.0
        self.times: dict[str, float] = {}

    def _keep(self, upload: Upload, body: bytes) -> Any:
        placed = super()._keep(upload, body)
        self.times[placed.etag] = self.now
        return placed

    async def head(self, key: str) -> Standing | None:
        standing = await super().head(key)
        return standing and replace(standing, modified=self.times[standing.etag])

    def ours(self, body: bytes = b"ours", key: str = KEY) -> tuple[str, str | None]:
        """Puts our object; (ETag, version)."""
        placed = self._keep(Upload(key, len(body), None, "image/jpeg", {PUT_ID: MARK}), body)
        return placed.etag, placed.version_id

    def bodies(self) -> dict[str, list[bytes]]:
        """Every version of every object."""
        return {key: [kept.body for kept in versions] for key, versions in self.objects.items()}


def undoing(store: MemoryStore, *, marked: bool = False) -> Undoing:
    return Undoing(store, None, Rules.of(a_config(), "bucket"), Pace(0, FakeClock()), 500.0, marked)


async def undo(store: MemoryStore, placement: Placement) -> Doing:
    plan = await undoing(store).plan(a_task(KEY), placement)
    await undoing(store).carry_out(placement, plan)
    return plan.doing


def settled(etag: str, version: str | None = None, **changes: Any) -> Placement:
    return replace(Placement(KEY, MARK, None, etag, version, SETTLED), **changes)


def down() -> ObjectError:
    return Transient("the answer was lost", side=Side.DESTINATION)


async def test_what_was_created_is_deleted_and_nothing_else() -> None:
    store = DatedStore()
    store.stand("b.jpg", b"bystander")
    assert await undo(store, settled(store.ours()[0])) is Doing.DELETE
    assert store.bodies() == {"b.jpg": [b"bystander"]}


async def test_the_same_bytes_without_our_mark_are_somebodys() -> None:
    """Where every put of ours has a mark; what a server copied, or a folder without attributes holds, has none."""
    store = DatedStore()
    store.stand(KEY, b"the same")
    standing = await store.head(KEY)
    assert standing
    placement = settled(standing.etag)  # the same bytes have the same ETag
    copied = replace(a_task(KEY), location="s3://old/a.jpg")
    decided = [
        (await undoing(store, marked=marked).plan(task, placement)).doing
        for task, marked in ((a_task(KEY), True), (copied, True), (a_task(KEY), False))
    ]
    assert decided == [Doing.LEAVE, Doing.DELETE, Doing.DELETE]


@pytest.mark.parametrize("mark", ["ledger/1", "ledger/2", None])
async def test_what_was_written_since_is_left_alone(mark: str | None) -> None:
    store = DatedStore()
    placement = settled(store.ours()[0])
    store.now = SETTLED + CLOCKS + 1
    store.stand(KEY, b"ours", **({PUT_ID: mark} if mark else {}))  # even with our mark: somebody copied it onto itself
    assert await undo(store, placement) is Doing.LEAVE
    assert store.bodies() == {KEY: [b"ours"]}


@pytest.mark.parametrize(("seconds", "doing"), [(-10.0, Doing.DELETE), (CLOCKS + 1, Doing.LEAVE)])
async def test_a_copy_without_a_mark_is_ours_by_its_etag_and_its_time(seconds: float, doing: Doing) -> None:
    store = DatedStore()
    store.now = SETTLED + seconds
    store.stand(KEY, b"a copy")
    assert await undo(store, settled(store.objects[KEY][0].etag)) is doing


async def test_what_changes_between_look_and_deletion_is_kept() -> None:
    store = DatedStore()
    placement = settled(store.ours()[0])
    plan = await undoing(store).plan(a_task(KEY), placement)
    store.stand(KEY, b"theirs")
    with pytest.raises(Conflict):
        await undoing(store).carry_out(placement, plan)
    assert store.bodies() == {KEY: [b"theirs"]}


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown to the ledger"])
async def test_a_covered_version_stands_again_and_no_version_of_ours_is_left(known: bool) -> None:
    store = DatedStore(versioning=True)
    store.stand(KEY, b"before")
    before = store.objects[KEY][0].version_id
    store.ours(b"ours, of a source that changed later")
    etag, version = store.ours()
    placement = settled(etag, version, replaced=f"version:{before}" if known else None)
    assert await undo(store, placement) is (Doing.UNCOVER if known else Doing.DELETE)
    assert store.bodies() == {KEY: [b"before"]}
    assert await undo(store, placement) is Doing.NOTHING  # as after a kill before the ledger was told
    assert store.bodies() == {KEY: [b"before"]}


async def test_a_version_over_ours_is_somebody_elses() -> None:
    store = DatedStore(versioning=True)
    placement = settled(*store.ours())
    store.now = SETTLED + 1
    store.stand(KEY, b"theirs")
    assert await undo(store, placement) is Doing.LEAVE
    assert store.bodies() == {KEY: [b"ours", b"theirs"]}


@pytest.mark.parametrize("failing", ["COPY", "DELETE", None])
@pytest.mark.parametrize("noted", [True, False], ids=["noted", "found by listing"])
async def test_a_backup_comes_back_and_goes_last(failing: str | None, noted: bool) -> None:
    store = DatedStore()
    store.stand(BACKUP, b"before")
    etag, _ = store.ours()
    placement = settled(etag, replaced=f"backup:{BACKUP}") if noted else settled(etag, backups=(BACKUP,))
    if failing:
        store.fail(failing, down)
    for _ in range(2):
        try:
            await undo(store, placement)
        except Transient:
            assert BACKUP in store.objects
    assert store.bodies() == {KEY: [b"before"]}
    if noted:
        assert await undo(store, placement) is Doing.NOTHING


async def test_a_backup_stays_beside_what_somebody_changed() -> None:
    store = DatedStore()
    store.stand(BACKUP, b"before")
    placement = settled(store.ours()[0], backups=(BACKUP,))
    store.now = SETTLED + 60
    store.stand(KEY, b"theirs")
    assert await undo(store, placement) is Doing.LEAVE
    assert store.bodies() == {KEY: [b"theirs"], BACKUP: [b"before"]}


@pytest.mark.parametrize(
    ("stands", "doing", "left"),
    [
        (lambda store: store.ours(), Doing.DELETE, {}),
        (lambda store: store.stand(KEY, b"theirs"), Doing.NOTHING, {KEY: [b"theirs"]}),
        (lambda _: None, Doing.NOTHING, {}),
    ],
)
async def test_what_a_kill_left_in_doubt_is_ours_by_its_mark_only(
    stands: Callable[[DatedStore], object], doing: Doing, left: dict[str, list[bytes]]
) -> None:
    store = DatedStore()
    stands(store)
    assert await undo(store, Placement(KEY, MARK)) is doing
    assert store.bodies() == left


class OneCopier:
    """Describes one source."""

    def __init__(self, etag: str, size: int) -> None:
        self.etag, self.size = etag, size
        self.description = Description({}, {})

    async def hindrance(self, source: str, location: str) -> str:
        del source, location
        return ""

    async def describe(self, source: str, location: str) -> Any:
        del source, location
        return self


@pytest.mark.parametrize(
    ("size", "since", "doing"), [(6, 600.0, Doing.DELETE), (6, 400.0, Doing.NOTHING), (7, 600.0, Doing.NOTHING)]
)
async def test_a_copy_in_doubt_is_ours_while_its_source_stands(size: int, since: float, doing: Doing) -> None:
    store = DatedStore()
    store.now = since  # the ledger began at 500
    store.stand(KEY, b"a copy")
    copier: Any = OneCopier(store.objects[KEY][0].etag, size)
    plan = await replace(undoing(store), copier=copier).plan(
        a_task(KEY, location="s3://old/a.jpg"), Placement(KEY, MARK)
    )
    assert plan.doing is doing


async def test_a_spare_backup_goes_only_where_what_it_was_made_of_stands() -> None:
    store = DatedStore()
    spare = Placement(KEY, "", backups=(BACKUP,))
    doings = []
    for body in (b"before", b"other", None):
        store.objects.clear()
        store.stand(BACKUP, b"before")
        if body:
            store.stand(KEY, body)
        plan = await undoing(store).plan_discard(spare)
        await undoing(store).carry_out(spare, plan)
        doings.append((plan.doing, store.bodies()))
    assert doings == [
        (Doing.DISCARD, {KEY: [b"before"]}),
        (Doing.LEAVE, {KEY: [b"other"], BACKUP: [b"before"]}),
        (Doing.RESTORE, {KEY: [b"before"]}),
    ]
