"""What takes the place of an object that `verify` found damaged: only what nobody wrote since we stored it."""

import hashlib

import pytest
from msgspec import structs

from migrator.core.model import Failed, Outcome, Stood, Stored, Task
from migrator.core.objects import PUT_ID, Upload
from migrator.engine.conflict import Replace, Verdicts
from migrator.engine.rules import Rules

from .memory_store import MemoryStore
from .world import a_config, a_task

KEY, BODY = "a.jpg", b"as it was stored"
SHA256 = hashlib.sha256(BODY).digest()


class World:
    """An object of ours, stored once, and what has become of it."""

    def __init__(self, *, versioning: bool = False) -> None:
        self.store = MemoryStore(versioning=versioning)
        self.upload = Upload(KEY, len(BODY), SHA256, "image/jpeg", {PUT_ID: "ledger/1"})
        self.write(BODY)
        self.stood = Stood(self.store.objects[KEY][-1].etag, SHA256)

    def write(self, body: bytes, kind: str = "image/jpeg") -> None:
        """Somebody writes it, mark and all."""
        self.store._keep(Upload(KEY, len(body), None, kind, {PUT_ID: "ledger/1"}), body)

    def rot(self) -> None:
        """Its bytes change where they stand."""
        self.store.objects[KEY][-1].body = b"as it w@s stored"

    async def decide(self, task: Task | None = None) -> "Outcome | Replace":
        standing = await self.store.head(KEY)
        assert standing
        rules = Rules.of(a_config(), "bucket")
        verdicts = Verdicts(self.store, rules, 1, self.store.versioning)
        return await verdicts.decide(task or a_task(KEY, stood=self.stood), self.upload, standing)


async def test_what_was_damaged_where_it_stands_is_replaced() -> None:
    world = World()
    world.rot()
    assert await world.decide() == Replace(world.stood.etag, None)


@pytest.mark.parametrize(("body", "kind"), [(b"an edition", "image/jpeg"), (BODY, "image/png")])
async def test_what_was_written_again_is_not(body: bytes, kind: str) -> None:
    world = World()
    world.write(body, kind)
    verdict = await world.decide()
    assert isinstance(verdict, Failed)
    assert "was written again since it was stored" in verdict.message


@pytest.mark.parametrize(
    ("modified", "stored_at", "replaced"),
    [
        (999, 1000, True),
        (1000, 1000, True),
        (1001, 1000, True),  # Swift rounds up
        (1002, 1000, False),
        (None, 1000, False),
        (999, None, False),
    ],
)
async def test_the_right_bytes_that_carry_what_is_no_longer_asked_for_are_replaced_unless_somebody_wrote_them_since(
    modified: float | None, stored_at: int | None, replaced: bool
) -> None:
    world = World()
    world.upload = structs.replace(world.upload, content_type="image/png")
    world.store.objects[KEY][-1].modified = modified
    verdict = await world.decide(a_task(KEY, stood=Stood(world.stood.etag, SHA256, stored_at)))
    if replaced:
        assert verdict == Replace(world.stood.etag, None)
    else:
        assert isinstance(verdict, Failed)
        assert "may have been written again since it was stored (its content type is image/jpeg" in verdict.message


async def test_unless_it_stays_beneath_as_a_version() -> None:
    world = World(versioning=True)
    world.write(b"an edition")
    assert isinstance(await world.decide(), Replace)


async def test_what_is_right_by_now_is_adopted() -> None:
    world = World()
    world.write(BODY)
    verdict = await world.decide()
    assert isinstance(verdict, Stored)
    assert verdict.adopted


async def test_a_copy_of_unknown_bytes_is_not_replaced() -> None:
    world = World()
    world.rot()
    task = a_task(KEY, stood=Stood(world.stood.etag, None))
    assert isinstance(await world.decide(task), Failed)


async def test_an_attempt_that_was_never_settled_is_replaced_as_ever() -> None:
    world = World()
    world.write(b"of a source that has changed")
    assert isinstance(await world.decide(a_task(KEY)), Replace)
