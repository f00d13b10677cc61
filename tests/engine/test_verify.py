"""Verification over a real ledger: each result, what it costs, and how it goes on after it was stopped."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from migrator.core.config import Config
from migrator.core.errors import Changed, Fatal, Forbidden, Gone, Interrupted, ObjectError, Throttled, Transient
from migrator.core.model import Item, Made, Outcome, Page, Settlement, Side, Skip, Skipped, Stored
from migrator.core.objects import PUT_ID, Capabilities, Digest, Upload
from migrator.core.ports import EventKind
from migrator.core.verification import Match, Proof, VerificationSummary
from migrator.engine.lanes import through_lanes
from migrator.engine.stopping import Stop
from migrator.engine.verify import SILENT, Destination, Verify, VerifyOptions
from migrator.ledger.sqlite import SqliteLedger
from migrator.ledger.view import LedgerView

from .memory_store import MemoryStore
from .world import HONOURS_ALL, MemoryReader, Recorder, a_config


def down() -> Transient:
    return Transient("HEAD: no connection", side=Side.DESTINATION)


class World:
    """Objects that a ledger calls stored, the store that has them, and one verification after another."""

    def __init__(self, folder: Path, capabilities: Capabilities | None = HONOURS_ALL, **destination: Any) -> None:
        self.path = folder / "checkpoints" / "world.db"
        self.config: Config = a_config(**destination)
        self.capabilities = capabilities
        self.store = MemoryStore()
        self.reader = MemoryReader()
        self.observer = Recorder()
        self.here = ""
        self.stop = Stop()

    @asynccontextmanager
    async def ledger(self) -> AsyncIterator[SqliteLedger]:
        with SqliteLedger.open(self.path, name="world") as ledger:
            yield ledger

    async def stored(self, *keys: str, outcome: Outcome | None = None, location: str = "memory://", **say: Any) -> None:
        """Objects whose bytes are their keys: at their locations, in the store, and in the ledger as `outcome`."""
        async with self.ledger() as ledger:
            items = tuple(Item(f"{location}{key}", key, len(key), fingerprint="then") for key in keys)
            await ledger.add("files", Page(items, (), "end"))
            settled = []
            for task in await ledger.claim(len(keys)):
                body = task.key.encode()
                digest = hashlib.sha256(body).digest()
                metadata = {PUT_ID: task.put_id} | say.get("metadata", {})
                upload = Upload(task.key, len(body), digest, "image/jpeg", metadata, headers=say.get("headers", {}))
                self.store.objects.pop(task.key, None)
                placed = self.store._keep(upload, body)
                self.reader.bodies[task.key] = body
                told = outcome or Stored(len(body), digest, "image/jpeg", placed.etag, None)
                if isinstance(told, Stored) and told.sha256 is None:
                    told = replace(told, size=len(body), etag=placed.etag)
                settled.append(Settlement(task, told, 1, 0.1))
            await ledger.settle(settled)

    def alter(self, key: str, body: bytes) -> None:
        """The bytes of an object change under it, as on a bad disk."""
        self.store.objects[key][-1].body = body

    async def verify(self, **options: Any) -> VerificationSummary:
        """One verification to its end, or until it is stopped."""
        async with self.ledger() as ledger:
            await ledger.begin_run("verify", "hash")
            destination = Destination(self.store, "bucket", self.capabilities, [""], self.here)
            wanted = VerifyOptions(**options)
            self.store.requests.clear()
            self.reader.opened.clear()
            try:
                verification = Verify(
                    self.config,
                    destination,
                    ledger.verifying,
                    self.reader,
                    self.observer,
                    self.stop,
                    wanted,
                    expected=0,
                )
                await verification.execute()
            finally:
                self.summary = (await ledger.verifying.verifications())[-1]
        return self.summary

    def found(self) -> dict[str, tuple[str, str]]:
        """(result, message) of everything that is wrong, by key."""
        with LedgerView.open(self.path) as view:
            return {each.key: (each.result, each.message) for each in view.differences()}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_objects_that_are_as_they_were_cost_a_head_each(world: World) -> None:
    await world.stored("a.jpg", "b.jpg", "c.jpg")
    seen = await world.verify()
    assert (seen.results[Match.MATCH], seen.wrong, seen.extra) == (3, 0, 0)
    assert seen.proofs == {Proof.CHECKSUM: 3, Proof.READ: 0}
    assert world.store.requests == {"HEAD": 3, "LIST": 1}
    assert seen.finished_at is not None
    assert world.found() == {}


async def test_each_damage_is_named_and_nothing_else(world: World) -> None:
    await world.stored("whole.jpg", "altered", "cut.jpg", "removed", "swap1", "swap2")
    world.alter("altered", b"alterEd")
    world.alter("cut.jpg", b"cut")
    del world.store.objects["removed"]
    world.store.objects["swap1"], world.store.objects["swap2"] = (
        world.store.objects["swap2"],
        world.store.objects["swap1"],
    )
    seen = await world.verify()
    assert dict(seen.results) == {Match.MATCH: 1, Match.DIFFER: 4, Match.MISSING: 1, Match.UNKNOWN: 0}
    found = world.found()
    assert {key: result for key, (result, _) in found.items()} == {
        **dict.fromkeys(("altered", "cut.jpg", "swap1", "swap2"), "differ"),
        "removed": "missing",
    }
    assert found["cut.jpg"][1] == "it has 3 bytes, not 7"
    assert found["altered"][1].endswith(f"not {hashlib.sha256(b'altered').hexdigest()}")
    assert "somebody else put it there" in found["swap1"][1]
    assert {message for kind, message in world.observer.events if kind is EventKind.DIFFERENT} == {
        message for _, message in found.values()
    }


async def test_an_object_that_was_written_again_is_told_from_a_damaged_one(world: World) -> None:
    await world.stored("a.jpg")
    await world.stored("b.jpg")
    world.store.stand("a.jpg", b"some other bytes")
    world.alter("b.jpg", b"b")
    await world.verify()
    assert {key: message for key, (_, message) in world.found().items()} == {
        "a.jpg": "it has 16 bytes, not 5; it was written again since it was stored",
        "b.jpg": "it has 1 bytes, not 5",
    }


async def test_the_same_bytes_by_somebody_else_are_no_difference(world: World) -> None:
    await world.stored("a.jpg")
    world.store._keep(Upload("a.jpg", 5, None, "image/jpeg", {PUT_ID: "other/7"}), b"a.jpg")
    assert (await world.verify()).wrong == 0


async def test_what_the_configuration_gave_an_object_is_compared(tmp_path: Path) -> None:
    world = World(tmp_path, metadata={"origin": "é {key}", "Kind": "photo"}, cache_control="max-age=60")
    carried = {"origin": "%C3%A9 a.jpg", "kind": "photo"}
    await world.stored("a.jpg", metadata=carried, headers={"cache-control": "max-age=60"})
    assert (await world.verify()).wrong == 0
    upload = world.store.objects["a.jpg"][-1].upload
    carries = {PUT_ID: upload.metadata[PUT_ID], "kind": "film"}
    world.store.objects["a.jpg"][-1].upload = replace(upload, metadata=carries, headers={}, content_type="text/html")
    seen = await world.verify()
    assert seen.results[Match.DIFFER] == 1
    assert world.found()["a.jpg"][1] == (
        "its bytes are what was stored, but its content type is text/html, not image/jpeg, it lacks the metadata"
        " origin é a.jpg, its metadata kind is film, not photo, it lacks the cache-control max-age=60"
    )


@pytest.mark.parametrize(
    "capabilities",
    [None, replace(HONOURS_ALL, keeps_checksum=False), replace(HONOURS_ALL, digest=Digest.READ_BACK)],
    ids=["never-probed", "keeps-none", "checks-none"],
)
async def test_a_checksum_that_nobody_checked_is_no_proof(tmp_path: Path, capabilities: Capabilities | None) -> None:
    world = World(tmp_path, capabilities)
    await world.stored("a.jpg", "b.jpg")
    seen = await world.verify()
    assert (seen.wrong, seen.proofs[Proof.READ]) == (0, 2)
    assert world.store.requests == {"HEAD": 2, "GET": 2, "LIST": 1}


async def test_download_reads_every_byte(world: World) -> None:
    await world.stored("a.jpg", "b.jpg")
    seen = await world.verify(download=True)
    assert (seen.wrong, seen.proofs[Proof.READ]) == (0, 2)


async def test_a_large_object_is_read_in_pieces_and_compared_whole(world: World) -> None:
    world.store.keeps_checksum = False
    await world.stored("x" * 500)
    assert (await world.verify()).proofs[Proof.READ] == 1
    world.alter("x" * 500, b"x" * 499 + b"y")
    assert (await world.verify()).results[Match.DIFFER] == 1


async def test_an_object_that_goes_away_between_head_and_get_is_missing(world: World) -> None:
    world.store.keeps_checksum = False
    await world.stored("a.jpg")
    world.store.fail("GET", lambda: Gone("a.jpg: 404", side=Side.DESTINATION))
    assert (await world.verify()).results[Match.MISSING] == 1


COPIED = Stored(0, None, "", "", None)


async def test_a_copy_without_a_digest_is_held_against_its_source_and_its_digest_kept(world: World) -> None:
    await world.stored("a.jpg", "b.jpg", outcome=COPIED)
    world.alter("b.jpg", b"B.jpg")
    seen = await world.verify()
    assert (seen.results[Match.MATCH], seen.results[Match.DIFFER]) == (1, 1)
    assert "that of its source" in world.found()["b.jpg"][1]
    world.reader.bodies.clear()
    await world.verify()
    assert sorted(world.found()) == ["b.jpg"], "the digest of a.jpg is known by now: nobody asks its source"


async def test_a_copy_carries_the_mark_of_another_migration(world: World) -> None:
    await world.stored("a.jpg", outcome=COPIED, metadata={PUT_ID: "the first migration/1"})
    assert (await world.verify()).wrong == 0


async def test_a_copy_whose_source_is_gone_is_unknown_and_not_different(world: World) -> None:
    await world.stored("a.jpg", outcome=COPIED)
    world.reader.bodies.clear()
    seen = await world.verify()
    assert seen.results[Match.UNKNOWN] == 1
    assert world.found()["a.jpg"][1] == (
        "nothing is left to compare its bytes with, because its source cannot be read (memory://a.jpg is not there);"
        " the server copied it and told no digest, and its ETag is still that of the copy"
    )


async def test_a_copy_whose_source_has_changed_since_is_unknown(world: World) -> None:
    await world.stored("a.jpg", outcome=COPIED)
    world.reader.bodies["a.jpg"] = b"A.JPG"
    world.reader.fingerprint = "now"
    seen = await world.verify()
    assert seen.results[Match.UNKNOWN] == 1
    assert "its source has changed since" in world.found()["a.jpg"][1]


async def test_a_copy_is_missing_or_cut_whatever_became_of_its_source(world: World) -> None:
    await world.stored("a.jpg", "b.jpg", outcome=COPIED)
    world.reader.bodies.clear()
    world.alter("a.jpg", b"a")
    del world.store.objects["b.jpg"]
    await world.verify()
    assert {key: result for key, (result, _) in world.found().items()} == {"a.jpg": "differ", "b.jpg": "missing"}


@pytest.mark.parametrize(
    ("error", "result", "words"),
    [
        (None, "differ", "it is what was stored, but its source is gone"),
        (Forbidden("memory://a.jpg: 403"), "unknown", "it is what was stored, but its source cannot be read"),
        (Changed("memory://a.jpg changed while it was read"), "unknown", "its source cannot be read"),
    ],
)
async def test_sources_are_read_when_that_is_asked(
    world: World, error: ObjectError | None, result: str, words: str
) -> None:
    await world.stored("a.jpg", "b.jpg")
    assert (await world.verify(sources=True)).wrong == 0
    assert sorted(world.reader.opened) == ["a.jpg", "b.jpg"]
    if error:
        world.reader.errors["a.jpg"] = [error]
    else:
        del world.reader.bodies["a.jpg"]
    await world.verify(sources=True)
    found = world.found()
    assert (list(found), found["a.jpg"][0]) == (["a.jpg"], result)
    assert words in found["a.jpg"][1]


async def test_a_source_with_other_bytes_is_a_difference_only_when_sources_are_asked(world: World) -> None:
    await world.stored("a.jpg")
    world.reader.bodies["a.jpg"] = b"later"
    assert (await world.verify()).wrong == 0
    assert (await world.verify(sources=True)).results[Match.DIFFER] == 1
    assert world.found()["a.jpg"][1].startswith("it is what was stored, but its source has other bytes now")


async def test_what_was_skipped_is_looked_at_only_where_the_same_bytes_stood(world: World) -> None:
    same = Skipped(Skip.IDENTICAL, "", 5, hashlib.sha256(b"a.jpg").digest(), "etag")
    await world.stored("a.jpg", outcome=same, metadata={PUT_ID: "somebody/1"})
    await world.stored("b.jpg", outcome=Skipped(Skip.IN_PLACE, "", 5))
    await world.stored("c.jpg", outcome=Skipped(Skip.EXISTS, "", 9))
    seen = await world.verify()
    assert (seen.results[Match.MATCH], seen.looked_at) == (1, 1)
    world.alter("a.jpg", b"A.jpg")
    assert (await world.verify()).results[Match.DIFFER] == 1


@pytest.mark.parametrize("place", ["stored", "in-place", "without-original"])
async def test_variants_are_looked_at_wherever_their_image_stands(world: World, place: str) -> None:
    bodies = {"a/thumb.jpg": b"thumb", "a/full.webp": b"full"}

    def made(key: str, name: str, form: str) -> Made:
        digest = hashlib.sha256(bodies[key]).digest()
        return Made(name, form, key, len(bodies[key]), digest, "etag-v", None, f"image/{form}", 1, 1, 80, 1, 0.1)

    variants = (made("a/thumb.jpg", "thumb", "jpeg"), made("a/full.webp", "full", "webp"))
    digest = hashlib.sha256(b"a.jpg").digest()
    outcome: Outcome = Stored(
        5, digest, "image/jpeg", "etag-1", None, variants=variants, original=place != "without-original"
    )
    if place == "in-place":
        outcome = Skipped(Skip.IN_PLACE, "", 5, variants=variants)
    await world.stored("a.jpg", outcome=outcome)
    if place == "without-original":
        del world.store.objects["a.jpg"]
    for key, body in bodies.items():
        kind = "image/jpeg" if "thumb" in key else "image/webp"
        world.store._keep(Upload(key, len(body), None, kind, {PUT_ID: "some/1/mark"}), body)
    seen = await world.verify()
    assert (seen.wrong, seen.looked_at, seen.extra) == (0, 3 if place == "stored" else 2, 0)
    world.alter("a/full.webp", b"FULL")
    await world.verify()
    assert world.found().keys() == {"a/full.webp"}


async def test_a_head_that_fails_is_tried_again_and_then_unknown(world: World, fast: None) -> None:
    await world.stored("a.jpg", "b.jpg")
    world.store.fail("HEAD", down)
    assert (await world.verify()).wrong == 0
    world.store.fail("HEAD", down, times=100)
    seen = await world.verify()
    assert seen.results[Match.UNKNOWN] == 2
    assert world.found()["a.jpg"] == ("unknown", "HEAD: no connection")


async def test_403_is_unknown_and_says_what_it_may_be(world: World) -> None:
    await world.stored("a.jpg")
    world.store.fail("HEAD", lambda: Forbidden("HEAD a.jpg: 403", side=Side.DESTINATION))
    await world.verify()
    result, message = world.found()["a.jpg"]
    assert result == "unknown"
    assert "without s3:ListBucket an object that is not there looks forbidden" in message


async def test_a_destination_that_stays_silent_stops_it_and_unknown_objects_are_looked_at_again(
    world: World, fast: None
) -> None:
    await world.stored(*(f"{number:03}.jpg" for number in range(2 * SILENT)))
    world.store.fail("HEAD", down, times=10_000)
    with pytest.raises(Fatal, match="does not answer any more"):
        await world.verify()
    assert world.summary.finished_at is None
    world.store.failures.clear()
    seen = await world.verify()
    assert (seen.number, seen.wrong, seen.looked_at) == (1, 0, 2 * SILENT)
    assert world.found() == {}


async def test_throttling_slows_it_down_and_it_recovers(world: World, fast: None) -> None:
    await world.stored(*(f"{number:04}" for number in range(1500)))
    world.store.fail("HEAD", lambda: Throttled("SlowDown", side=Side.DESTINATION), times=20)
    seen = await world.verify()
    assert seen.wrong == 0
    assert world.observer.limits[0] == 32
    assert world.observer.limits[-1] > 60


async def test_what_was_looked_at_before_a_signal_is_not_looked_at_again(world: World) -> None:
    world.config = world.config.model_copy(
        update={"transfer": world.config.transfer.model_copy(update={"concurrency": 4})}
    )
    await world.stored(*(f"{number:03}" for number in range(300)))
    world.alter("007", b"700")
    head, asked = world.store.head, []

    async def interrupted(key: str) -> Any:
        asked.append(key)
        if len(asked) == 100:
            world.stop.signal_number = 2
            world.stop.request("interrupted (Ctrl+C)")
        return await head(key)

    world.store.head = interrupted  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        await world.verify()
    before = world.summary.looked_at
    assert 100 <= before < 110
    world.stop = Stop()
    world.store.head = head  # type: ignore[method-assign]
    seen = await world.verify()
    assert world.store.requests["HEAD"] == 300 - before
    assert (seen.number, seen.looked_at, seen.results[Match.DIFFER]) == (1, 300, 1)
    assert (await world.verify()).number == 2, "the next one looks at everything again"
    assert world.store.requests["HEAD"] == 300


async def test_a_question_that_is_another_one_begins_anew(world: World, fast: None) -> None:
    await world.stored(*(f"{number:03}" for number in range(2 * SILENT)))
    world.store.fail("HEAD", down, times=10_000)
    with pytest.raises(Fatal):
        await world.verify()
    world.store.failures.clear()
    seen = await world.verify(download=True)
    assert (seen.number, seen.scope) == (2, "every object, every byte read back")


async def test_samples_are_of_the_size_that_was_asked_and_take_turns(world: World) -> None:
    await world.stored(*(f"{number:04}" for number in range(2000)))
    seen: set[str] = set()
    for _ in range(4):
        heads: list[str] = []
        head = world.store.head

        async def noting(key: str, heads: list[str] = heads, head: Any = head) -> Any:
            heads.append(key)
            return await head(key)

        world.store.head = noting  # type: ignore[method-assign]
        summary = await world.verify(sample=0.05)
        world.store.head = head  # type: ignore[method-assign]
        assert 60 <= summary.looked_at <= 140
        assert summary.extra is None, "nobody lists for a sample"
        seen |= set(heads)
    assert len(seen) > 300


async def test_only_the_named_source_is_looked_at(world: World) -> None:
    await world.stored("a.jpg")
    assert (await world.verify(names=("files",))).looked_at == 1
    assert (await world.verify(names=("others",))).looked_at == 0


async def test_keys_that_nothing_explains_are_extra(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.stored("a.jpg")
    await world.stored("moved.jpg", location="s3://bucket/from/")
    world.here = "s3://bucket/"
    for key in ("else.jpg", "_migrator/backup/1/a.jpg", "from/moved.jpg", "a.jpg.bak"):
        world.store.stand(key, b"1")
    seen = await world.verify()
    assert (seen.extra, seen.wrong) == (2, 0)
    assert world.found() == {"a.jpg.bak": ("extra", ""), "else.jpg": ("extra", "")}


async def test_without_the_right_to_list_nothing_is_extra_and_all_else_is_told(world: World) -> None:
    await world.stored("a.jpg")
    world.store.fail("LIST", lambda: Forbidden("LIST: 403", side=Side.DESTINATION))
    seen = await world.verify()
    assert (seen.extra, seen.wrong, seen.finished_at is None) == (None, 0, False)


async def test_a_listing_that_breaks_off_begins_again(world: World, fast: None) -> None:
    await world.stored("a.jpg")
    world.store.stand("b.jpg", b"1")
    world.store.fail("LIST", down, times=2)
    assert (await world.verify()).extra == 1


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between tries take no time."""

    async def sleep(stop: Stop, seconds: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(Stop, "sleep", sleep)


async def test_the_last_results_are_kept_even_if_that_takes_longer_than_the_work() -> None:
    kept: list[int] = []

    async def pages() -> AsyncIterator[Sequence[int]]:
        for number in range(5):
            yield [number]
            await asyncio.sleep(0.15)  # long enough for results to be kept in between

    async def work(job: int) -> int:
        return job

    async def keep(batch: list[int]) -> None:
        await asyncio.sleep(0.3)
        kept.extend(batch)

    await through_lanes(pages(), work, keep, 2, Stop())
    assert sorted(kept) == [0, 1, 2, 3, 4]
