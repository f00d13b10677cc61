"""Variants of an image: what stands in the destination afterwards, and what the ledger is told."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from migrator.core.config import Config
from migrator.core.errors import Fatal, Transient
from migrator.core.model import SMALL, Failed, Fault, Made, Outcome, Side, Skip, Skipped, Stored, Unmade
from migrator.core.objects import PUT_ID, Capabilities
from migrator.core.variants import Rendered, Wanted
from migrator.engine.worker import Worker

from .memory_store import MemoryStore
from .world import HONOURS_ALL, FakeClock, MemoryReader, Notes, Recorder, a_task

BYTES = b"\xff\xd8\xff\xe0 a photograph"

FULL = {"name": "full", "key": "{stem}/full.{format}", "width": 100, "formats": ("webp", "jpeg")}
THUMB = {"name": "thumb", "key": "{stem}/thumb.jpg", "width": 10}


class FakeRenderer:
    """Renders text that tells what it is; `trouble` may put a failure in the place of a result, once each."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.trouble: dict[str, list[Failed]] = {}

    async def render(self, data: bytes, wanted: Sequence[Wanted]) -> list[Rendered | Failed]:
        self.calls.append([f"{each.name}.{each.format}" for each in wanted])
        return [self._one(data, each) for each in wanted]

    def _one(self, data: bytes, each: Wanted) -> Rendered | Failed:
        failures = self.trouble.get(f"{each.name}.{each.format}")
        if failures:
            return failures.pop(0)
        body = f"{each.name} {each.format} of ".encode() + hashlib.sha256(data).digest()
        return Rendered(each.name, each.format, body, 10, 8, 85, 2, f"image/{each.format}", 0.01, (100, 80))

    async def close(self) -> None: ...


class Studio:
    """A worker with variants over a memory store."""

    def __init__(
        self,
        body: bytes = BYTES,
        capabilities: Capabilities = HONOURS_ALL,
        store: MemoryStore | None = None,
        **source: Any,
    ) -> None:
        self.store = store or MemoryStore()
        self.renderer = FakeRenderer()
        config = Config.model_validate(
            {
                "name": "world",
                "destination": {"bucket": "bucket", "prefix": "p/"},
                "sources": ({"type": "directory", "name": "files", "root": ".", "key": "{path}"} | source,),
                "variants": (FULL, THUMB),
            },
            strict=False,
        )
        self.reader = MemoryReader(**{"a.jpg": body})
        self.worker = Worker(
            config, "bucket", 7, self.reader, self.store, Notes(), capabilities, Recorder(), FakeClock(), self.renderer
        )

    async def move(self, **task: Any) -> Outcome:
        return (await self.worker.work(a_task(fields={"stem": "a"}, **task))).outcome

    def standing(self) -> set[str]:
        return set(self.store.objects)


def made(outcome: Outcome) -> dict[str, Made | Unmade]:
    assert isinstance(outcome, Stored | Skipped)
    return {f"{each.name}.{each.format}": each for each in outcome.variants}


async def test_an_image_is_stored_with_all_of_its_variants() -> None:
    studio = Studio()
    outcome = await studio.move()
    assert studio.standing() == {"a.jpg", "p/a/full.webp", "p/a/full.jpeg", "p/a/thumb.jpg"}
    thumb = made(outcome)["thumb.jpeg"]
    body = studio.store.body("p/a/thumb.jpg")
    assert isinstance(thumb, Made)
    assert (thumb.key, thumb.size, thumb.sha256) == ("p/a/thumb.jpg", len(body), hashlib.sha256(body).digest())
    assert (thumb.width, thumb.height, thumb.quality, thumb.encodes) == (10, 8, 85, 2)
    kept = studio.store.objects["p/a/thumb.jpg"][-1].upload
    assert kept.metadata[PUT_ID] == "ledger/1/thumb.jpeg"
    assert kept.content_type == "image/jpeg"


async def test_what_is_no_image_has_no_variants() -> None:
    studio = Studio(b"just some text")
    assert made(await studio.move()) == {}
    assert studio.standing() == {"a.jpg"}
    assert studio.renderer.calls == []


async def test_a_variant_that_fails_neither_fails_nor_repeats_its_original() -> None:
    studio = Studio()
    studio.renderer.trouble["thumb.jpeg"] = [Failed(Fault.RENDER, "cannot be decoded")]
    outcome = await studio.move()
    assert isinstance(outcome, Stored)
    thumb = made(outcome)["thumb.jpeg"]
    assert isinstance(thumb, Unmade)
    assert (thumb.fault, thumb.message) == (Fault.RENDER, "cannot be decoded")
    assert studio.standing() == {"a.jpg", "p/a/full.webp", "p/a/full.jpeg"}
    assert studio.reader.opened == ["a.jpg"]


async def test_a_variant_whose_process_died_is_rendered_once_more_and_alone() -> None:
    studio = Studio()
    died = Failed(Fault.RENDER, "its process died", retryable=True)
    studio.renderer.trouble["full.webp"] = [died]
    outcome = await studio.move()
    assert all(isinstance(each, Made) for each in made(outcome).values())
    assert studio.renderer.calls == [["full.webp", "full.jpeg", "thumb.jpeg"], ["full.webp"]]


async def test_an_original_that_meets_other_bytes_leaves_no_variant_behind() -> None:
    studio = Studio()
    studio.store.stand("a.jpg", b"other bytes")
    assert isinstance(await studio.move(), Failed)
    assert studio.standing() == {"a.jpg"}


async def test_an_original_that_stood_there_already_gets_its_variants() -> None:
    studio = Studio()
    studio.store.stand("a.jpg", BYTES)
    outcome = await studio.move()
    assert isinstance(outcome, Skipped)
    assert outcome.reason is Skip.IDENTICAL
    assert studio.standing() == {"a.jpg", "p/a/full.webp", "p/a/full.jpeg", "p/a/thumb.jpg"}


async def test_after_a_kill_what_stood_is_adopted_and_not_stored_twice() -> None:
    studio = Studio(store=MemoryStore(versioning=True))
    await studio.move()
    outcome = await studio.move(again=True)
    assert isinstance(outcome, Stored)
    assert outcome.adopted
    assert all(isinstance(each, Made) and each.adopted for each in made(outcome).values())
    assert {len(versions) for versions in studio.store.objects.values()} == {1}


async def test_the_answer_to_a_variant_is_lost() -> None:
    studio = Studio(store=MemoryStore(versioning=True))
    lost = Transient("reset", side=Side.DESTINATION, ambiguous=True)
    studio.store.fail("PUT", lambda: lost, after=True)
    outcome = await studio.move()
    assert all(isinstance(each, Made) for each in made(outcome).values())
    assert {len(versions) for versions in studio.store.objects.values()} == {1}


async def test_other_bytes_under_the_key_of_a_variant_are_its_conflict() -> None:
    studio = Studio()
    studio.store.stand("p/a/thumb.jpg", b"somebody's")
    thumb = made(await studio.move())["thumb.jpeg"]
    assert isinstance(thumb, Unmade)
    assert thumb.fault is Fault.CONFLICT
    assert studio.store.body("p/a/thumb.jpg") == b"somebody's"


async def test_a_destination_that_ignores_preconditions_is_asked_first() -> None:
    capabilities = Capabilities(**{**_fields(HONOURS_ALL), "conditional_put": False})
    studio = Studio(capabilities=capabilities, store=MemoryStore(conditional=False))
    studio.store.stand("p/a/thumb.jpg", b"somebody's")
    assert isinstance(made(await studio.move(present=False))["thumb.jpeg"], Unmade)
    assert studio.store.body("p/a/thumb.jpg") == b"somebody's"


async def test_without_its_original_only_the_variants_are_stored() -> None:
    studio = Studio(keep_original=False)
    outcome = await studio.move()
    assert isinstance(outcome, Stored)
    assert not outcome.original
    assert studio.standing() == {"p/a/full.webp", "p/a/full.jpeg", "p/a/thumb.jpg"}


@pytest.mark.parametrize("body", [b"just some text", b"text " * 2_000_000], ids=["small", "large"])
async def test_without_its_original_what_is_no_image_fails(body: bytes) -> None:
    studio = Studio(body, keep_original=False)
    outcome = await studio.move()
    assert isinstance(outcome, Failed)
    assert outcome.fault is Fault.INVALID
    assert studio.standing() == set()


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_large_image_is_read_once_more_for_its_variants(keeps: bool) -> None:
    studio = Studio(BYTES + bytes(SMALL), keep_original=keeps)
    outcome = await studio.move()
    assert all(isinstance(each, Made) for each in made(outcome).values())
    assert ("a.jpg" in studio.standing()) is keeps
    assert "p/a/thumb.jpg" in studio.standing()


async def test_a_fatal_fault_stops_the_run() -> None:
    studio = Studio()
    seen: list[str] = []

    def fatal() -> Fatal:
        seen.append("fatal")
        return Fatal("the bucket is gone", side=Side.DESTINATION)

    _fail_variants(studio.store, fatal)
    with pytest.raises(Fatal):
        await studio.move()


def _fail_variants(store: MemoryStore, error: Callable[[], Fatal]) -> None:
    put = store.put

    async def failing(upload: Any, body: bytes, guards: Any) -> Any:
        if upload.key.startswith("p/"):
            raise error()
        return await put(upload, body, guards)

    store.put = failing  # type: ignore[method-assign]


def _fields(capabilities: Capabilities) -> dict[str, Any]:
    return {name: getattr(capabilities, name) for name in Capabilities.__struct_fields__}
