"""Objects that the server copies: by how many requests, and what stands in the destination whatever goes wrong."""

import hashlib
import zlib
from typing import Any

import pytest
from msgspec.structs import replace

from migrator.core.config import Config
from migrator.core.errors import Forbidden, Gone, Invalid, Transient
from migrator.core.model import MIB, Failed, Fault, OpenUpload, Outcome, Side, Skip, Skipped, Stored, Task
from migrator.core.objects import COPIED, PUT_ID, Capabilities, CopyMode, Upload
from migrator.core.ports import EventKind
from migrator.engine.copying import REFUSALS, SAMPLE, Copies
from migrator.engine.worker import Worker

from .memory_copier import BEGUN, COPIES_ALL, MemoryCopier
from .memory_store import Kept, MemoryStore
from .world import FakeClock, MemoryReader, Notes, Recorder, a_config, a_task

BYTES = b"\xff\xd8\xff\xe0 a photograph"
OTHER = b"other bytes"
LARGE = bytes(range(256)) * (13 * MIB // 256)
HEADERS = {"cache-control": "max-age=60", "content-language": "de"}
CAREFUL = replace(COPIES_ALL, copy_absent=False)
"""What S3 servers are today: a copy that would overwrite is not refused."""


def etag_of(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def kept(body: bytes, key: str = "a.jpg", **metadata: str) -> Kept:
    """An object as a copy of it would stand, too: with the same ETag."""
    upload = Upload(key, len(body), None, "image/jpeg", {"lot": "7", **metadata}, {"house": "x"}, HEADERS)
    return Kept(body, upload, etag_of(body), None)


class Mover:
    """A worker whose source is a bucket that the destination's server reaches."""

    def __init__(
        self,
        capabilities: Capabilities = COPIES_ALL,
        body: bytes = BYTES,
        *,
        mode: CopyMode = CopyMode.AUTO,
        created: float = BEGUN - 1,
        config: Config | None = None,
        origin: Kept | None = None,
        **destination: Any,
    ) -> None:
        self.store = MemoryStore(conditional=capabilities.conditional_put)
        self.origin = MemoryStore()
        self.origin.objects["a.jpg"] = [origin or kept(body)]
        self.copier = MemoryCopier(self.origin, self.store, capabilities)
        self.reader = MemoryReader(**{"a.jpg": body})
        self.notes = Notes()
        self.observer = Recorder()
        config = config or a_config(**destination)
        config = config.model_copy(update={"transfer": config.transfer.model_copy(update={"copy_threshold": 5 * MIB})})
        copies = Copies(self.copier, mode, created)
        self.worker = Worker(
            config,
            "bucket",
            7,
            self.reader,
            self.store,
            self.notes,
            capabilities,
            self.observer,
            FakeClock(),
            copies=copies,
        )
        self.size, self.etag = len(body), etag_of(body)

    def task(self, **changes: Any) -> Task:
        """The claimed item, listed as the object is now."""
        values: dict[str, Any] = {
            "location": "s3://old/a.jpg",
            "size": self.size,
            "fingerprint": self.etag,
            "present": False,
        }
        return a_task(**(values | changes))

    async def move(self, **changes: Any) -> Outcome:
        return (await self.worker.work(self.task(**changes))).outcome

    @property
    def streamed(self) -> bool:
        return bool(self.reader.opened)


async def test_a_copy_takes_one_request() -> None:
    mover = Mover()
    outcome = await mover.move()
    assert outcome == Stored(len(BYTES), None, "", etag_of(BYTES), None, copied=True)
    assert mover.copier.asked == ["COPY"]
    stands = mover.store.objects["a.jpg"][-1]
    assert (stands.body, stands.upload.headers, stands.upload.tags) == (BYTES, HEADERS, {"house": "x"})
    assert not mover.streamed


async def test_one_in_a_hundred_is_compared_whole() -> None:
    number = next(n for n in range(1, 10_000) if zlib.crc32(f"ledger/{n}".encode()) % SAMPLE == 0)
    mover = Mover()
    outcome = await mover.move(number=number)
    assert isinstance(outcome, Stored)
    assert mover.copier.asked == ["HEAD SOURCE", "COPY", "HEAD"]


async def test_what_was_not_listed_is_pinned_first() -> None:
    mover = Mover()
    assert isinstance(await mover.move(size=None, fingerprint=None), Stored)
    assert mover.copier.asked == ["HEAD SOURCE", "COPY", "HEAD"]


async def test_without_a_listing_of_the_destination_it_is_looked_at() -> None:
    mover = Mover(CAREFUL)
    assert isinstance(await mover.move(present=None), Stored)
    assert mover.copier.asked == ["HEAD", "COPY"]


async def test_configured_metadata_take_their_place_beside_the_sources() -> None:
    mover = Mover(metadata={"name": "{key}"}, tags={"lot": "1"}, cache_control="no-store")
    mover.copier.configured = {"cache-control": "no-store"}
    outcome = await mover.move()
    assert isinstance(outcome, Stored)
    upload = mover.store.objects["a.jpg"][-1].upload
    assert upload.metadata == {
        "lot": "7",
        "name": "a.jpg",
        PUT_ID: "ledger/1",
        COPIED: etag_of(BYTES),
        "mtime": str(int(BEGUN)),
    }
    assert upload.tags == {"house": "x", "lot": "1"}
    assert upload.headers == {"cache-control": "no-store", "content-language": "de"}
    assert upload.content_type == outcome.content_type == "image/jpeg"
    assert not mover.streamed


async def test_a_server_that_loses_headers_is_told_them() -> None:
    mover = Mover(replace(COPIES_ALL, copy_keeps=False))
    assert isinstance(await mover.move(), Stored)
    assert mover.store.objects["a.jpg"][-1].upload.metadata[COPIED] == etag_of(BYTES)
    assert mover.copier.asked == ["HEAD SOURCE", "COPY", "HEAD SOURCE", "HEAD"]


async def test_a_copy_that_lost_something_is_removed_and_its_bytes_stream() -> None:
    mover = Mover()
    mover.copier.loses = "content-language"
    outcome = await mover.move(size=None, fingerprint=None)
    assert isinstance(outcome, Stored)
    assert mover.streamed
    assert mover.store.objects["a.jpg"][-1].upload.metadata[PUT_ID] == "ledger/1"
    (note,) = [message for kind, message in mover.observer.events if kind is EventKind.NOTE]
    assert "content-language" in note
    asked = len(mover.copier.asked)
    await mover.move(key="b.jpg", number=2)
    assert len(mover.copier.asked) == asked  # nothing more is copied from there


async def test_a_copy_that_lost_something_fails_where_it_must_not_stream() -> None:
    mover = Mover(mode=CopyMode.SERVER)
    mover.copier.loses = "lot"
    outcome = await mover.move(size=None, fingerprint=None)
    assert isinstance(outcome, Failed)
    assert outcome.fault is Fault.INVALID
    assert "lot" in outcome.message
    assert mover.store.objects == {}


@pytest.mark.parametrize("pinned", [True, False])
async def test_an_object_that_changed_since_it_was_listed(pinned: bool) -> None:
    mover = Mover(replace(COPIES_ALL, copy_pinned=pinned))
    mover.origin.objects["a.jpg"] = [kept(OTHER)]
    outcome = await mover.move()
    assert isinstance(outcome, Stored)  # the second try takes it as it is now
    assert outcome.size == len(OTHER)
    assert mover.store.body("a.jpg") == OTHER


async def test_an_object_that_changes_while_it_is_copied_leaves_nothing_behind() -> None:
    mover = Mover(replace(COPIES_ALL, copy_pinned=False))
    mover.copier.changes = [OTHER, b"and again"]
    outcome = await mover.move()
    assert isinstance(outcome, Failed)
    assert outcome.fault is Fault.CHANGED
    assert mover.store.objects == {}


async def test_an_answer_that_was_lost_is_adopted_and_nothing_copied_twice() -> None:
    mover = Mover(CAREFUL)
    mover.copier.lost_answers = [Transient("reset", side=Side.DESTINATION, ambiguous=True)]
    outcome = await mover.move()
    assert isinstance(outcome, Stored)
    assert outcome.adopted
    assert mover.copier.asked == ["COPY", "HEAD SOURCE", "HEAD"]


@pytest.mark.parametrize(
    ("created", "mark", "adopted"), [(0, None, True), (BEGUN + 1, None, False), (0, "other/1", False)]
)
async def test_whose_copy_it_is_that_stands_there(created: float, mark: str | None, adopted: bool) -> None:
    mover = Mover(CAREFUL, created=created)
    mover.store.objects["a.jpg"] = [kept(BYTES, **({PUT_ID: mark} if mark else {}))]
    outcome = await mover.move(again=True, present=None)
    if adopted:
        assert isinstance(outcome, Stored)
        assert outcome.adopted
    else:
        assert isinstance(outcome, Skipped)
        assert outcome.reason is Skip.IDENTICAL
    assert "COPY" not in mover.copier.asked


async def test_a_copy_that_carries_the_mark_of_another_ledger_is_ours_where_the_source_carries_it() -> None:
    origin = kept(BYTES, **{PUT_ID: "older/5"})
    mover = Mover(CAREFUL, origin=origin)
    mover.store.objects["a.jpg"] = [origin]
    outcome = await mover.move(again=True)
    assert isinstance(outcome, Stored)
    assert outcome.adopted


async def test_the_same_object_that_stood_there_before_is_identical() -> None:
    mover = Mover(CAREFUL)
    mover.store.objects["a.jpg"] = [kept(BYTES)]
    outcome = await mover.move(present=True)
    assert isinstance(outcome, Skipped)
    assert outcome.reason is Skip.IDENTICAL
    assert mover.copier.asked == ["HEAD"]


@pytest.mark.parametrize("capabilities", [COPIES_ALL, CAREFUL])
async def test_other_bytes_under_the_key_are_a_conflict_and_stay(capabilities: Capabilities) -> None:
    mover = Mover(capabilities)
    mover.store.stand("a.jpg", OTHER)
    outcome = await mover.move(present=None if capabilities is COPIES_ALL else True)
    assert isinstance(outcome, Failed)
    assert outcome.fault is Fault.CONFLICT
    assert mover.store.body("a.jpg") == OTHER


async def test_the_same_bytes_with_another_etag_are_found_out_by_reading() -> None:
    mover = Mover(CAREFUL)
    mover.store.stand("a.jpg", BYTES)
    outcome = await mover.move(present=True)
    assert isinstance(outcome, Skipped)
    assert outcome.reason is Skip.IDENTICAL
    assert mover.streamed


@pytest.mark.parametrize(("policy", "expected"), [("fail", Failed), ("skip", Skipped), ("overwrite", Failed)])
async def test_a_taken_key_where_nothing_may_stream(policy: str, expected: type[Outcome]) -> None:
    mover = Mover(CAREFUL, mode=CopyMode.SERVER, on_conflict=policy)
    mover.store.stand("a.jpg", OTHER)
    assert isinstance(await mover.move(present=True), expected)
    assert mover.store.body("a.jpg") == OTHER
    assert not mover.streamed


async def test_overwrite_streams_with_its_backup() -> None:
    mover = Mover(CAREFUL, on_conflict="overwrite")
    mover.store.stand("a.jpg", OTHER)
    outcome = await mover.move(present=True)
    assert isinstance(outcome, Stored)
    assert outcome.replaced == "backup:_migrator/backup/ledger/7/a.jpg"
    assert mover.store.body("a.jpg") == BYTES


@pytest.mark.parametrize("error", [Forbidden("no", side=Side.DESTINATION), Invalid("501", side=Side.DESTINATION)])
async def test_refused_copies_stream_and_a_bucket_that_refuses_is_remembered(error: Forbidden | Invalid) -> None:
    mover = Mover()
    for number in range(1, REFUSALS + 3):
        mover.copier.errors = [error]
        key = f"{number}.jpg"
        mover.reader.bodies[key] = BYTES
        assert isinstance(await mover.move(key=key, number=number), Stored)
    assert mover.copier.asked.count("COPY") == REFUSALS
    assert len(mover.reader.opened) == REFUSALS + 2


async def test_one_refusal_is_no_habit() -> None:
    mover = Mover()
    for number in range(1, 2 * REFUSALS + 1):
        mover.copier.errors = [Forbidden("no", side=Side.DESTINATION)] if number % 2 else []
        key = f"{number}.jpg"
        mover.reader.bodies[key] = BYTES
        await mover.move(key=key, number=number)
    assert mover.copier.asked.count("COPY") == 2 * REFUSALS


async def test_a_refusal_fails_where_nothing_may_stream() -> None:
    mover = Mover(mode=CopyMode.SERVER)
    mover.copier.errors = [Forbidden("no", side=Side.DESTINATION)]
    outcome = await mover.move()
    assert isinstance(outcome, Failed)
    assert outcome.fault is Fault.FORBIDDEN
    assert not mover.streamed


@pytest.mark.parametrize("mode", list(CopyMode))
async def test_what_the_server_cannot_reach(mode: CopyMode) -> None:
    mover = Mover(mode=mode)
    mover.copier.hindered = "the bucket old is on another server than the destination"
    outcome = await mover.move()
    if mode is CopyMode.SERVER:
        assert isinstance(outcome, Failed)
        assert "on another server" in outcome.message
        assert "--copy-mode auto" in outcome.message
    else:
        assert isinstance(outcome, Stored)
        assert mover.streamed


async def test_an_object_that_is_gone_is_not_looked_for_by_streaming() -> None:
    mover = Mover()
    mover.copier.errors = [Gone("NoSuchKey")]
    outcome = await mover.move()
    assert isinstance(outcome, Failed)
    assert outcome.fault is Fault.GONE
    assert not mover.streamed


async def test_bounds_hold_for_copies_too() -> None:
    config = a_config()
    source = config.sources[0].model_copy(update={"max_size": 3})
    mover = Mover(config=config.model_copy(update={"sources": (source,)}))
    outcome = await mover.move()
    assert isinstance(outcome, Failed)
    assert "max_size" in outcome.message
    assert mover.copier.asked == []


async def test_images_that_must_be_looked_at_stream() -> None:
    config = a_config()
    source = config.sources[0].model_copy(update={"expect": "image"})
    mover = Mover(config=config.model_copy(update={"sources": (source,)}))
    assert isinstance(await mover.move(), Stored)
    assert mover.streamed


async def test_a_digest_that_metadata_want_is_read_where_the_server_keeps_none() -> None:
    mover = Mover(metadata={"digest": "{sha256}"})
    outcome = await mover.move()
    assert isinstance(outcome, Stored)
    assert mover.streamed
    stands = mover.store.objects["a.jpg"][-1].upload.metadata
    assert stands["digest"] == hashlib.sha256(BYTES).hexdigest()


# in parts ------------------------------------------------------------------------------------------------------------


async def test_a_large_object_is_copied_in_parts_and_carries_everything() -> None:
    mover = Mover(CAREFUL, LARGE)
    outcome = await mover.move()
    assert isinstance(outcome, Stored)
    assert (outcome.size, outcome.content_type) == (len(LARGE), "image/jpeg")
    stands = mover.store.objects["a.jpg"][-1]
    assert stands.body == LARGE
    assert stands.upload.metadata.items() >= {"lot": "7", PUT_ID: "ledger/1", COPIED: etag_of(LARGE)}.items()
    assert (stands.upload.headers, stands.upload.tags) == (HEADERS, {"house": "x"})
    assert mover.copier.asked.count("COPY PART") == 3
    assert not mover.streamed
    assert not mover.notes.open
    assert not mover.store.uploads


async def test_parts_of_an_earlier_attempt_are_not_copied_again() -> None:
    mover = Mover(CAREFUL, LARGE)
    upload_id = await mover.store.begin(Upload("a.jpg", None, None, "image/jpeg", {PUT_ID: "ledger/1"}))
    mover.store.uploads[upload_id].parts[2] = LARGE[5 * MIB : 10 * MIB]
    mover.store.begun = BEGUN + 60
    outcome = await mover.move(again=True, upload=OpenUpload(upload_id, 5 * MIB))
    assert isinstance(outcome, Stored)
    assert mover.store.body("a.jpg") == LARGE
    assert mover.copier.asked.count("COPY PART") == 2


async def test_parts_older_than_the_object_are_not_mixed_with_it() -> None:
    mover = Mover(CAREFUL, LARGE)
    upload_id = await mover.store.begin(Upload("a.jpg", None, None, "image/jpeg", {PUT_ID: "ledger/1"}))
    mover.store.uploads[upload_id].parts[2] = bytes(5 * MIB)
    mover.store.begun = BEGUN  # the same second
    outcome = await mover.move(again=True, upload=OpenUpload(upload_id, 5 * MIB))
    assert isinstance(outcome, Stored)
    assert mover.store.body("a.jpg") == LARGE
    assert mover.copier.asked.count("COPY PART") == 3
    assert not mover.store.uploads


async def test_an_object_that_changes_between_its_parts_is_not_stored() -> None:
    mover = Mover(replace(CAREFUL, copy_pinned=False), LARGE)
    mover.copier.changes = [bytes(len(LARGE)), LARGE]
    outcome = await mover.move()
    assert isinstance(outcome, Failed | Stored)
    if isinstance(outcome, Stored):
        assert mover.store.body("a.jpg") == mover.origin.body("a.jpg")
    assert not mover.store.uploads


async def test_a_part_is_tried_again_by_itself() -> None:
    mover = Mover(CAREFUL, LARGE)
    mover.copier.errors = [Transient("500 in a 200", side=Side.DESTINATION, ambiguous=True)]
    assert isinstance(await mover.move(), Stored)
    assert mover.copier.asked.count("COPY PART") == 4
    assert mover.store.body("a.jpg") == LARGE


async def test_a_completion_whose_answer_was_lost_is_adopted() -> None:
    mover = Mover(CAREFUL, LARGE)
    mover.store.fail("COMPLETE", lambda: Transient("reset", side=Side.DESTINATION, ambiguous=True), after=True)
    outcome = await mover.move()
    assert isinstance(outcome, Stored)
    assert outcome.adopted
    assert mover.store.requests["COMPLETE"] == 1


async def test_something_that_appears_while_parts_are_copied_stays() -> None:
    mover = Mover(replace(CAREFUL, conditional_put=True), LARGE)
    original = mover.copier.copy_part

    async def and_meanwhile(*arguments: Any) -> Any:
        mover.store.stand("a.jpg", OTHER)
        return await original(*arguments)

    mover.copier.copy_part = and_meanwhile  # type: ignore[method-assign,assignment]
    outcome = await mover.move()
    assert isinstance(outcome, Failed)
    assert outcome.fault is Fault.CONFLICT
    assert mover.store.body("a.jpg") == OTHER
    assert not mover.store.uploads


async def test_without_parts_one_request_does_up_to_5_gib() -> None:
    mover = Mover(replace(CAREFUL, copy_parts=False), LARGE)
    assert isinstance(await mover.move(), Stored)
    assert mover.copier.asked == ["HEAD SOURCE", "COPY", "HEAD"]
    assert not mover.streamed


# what rows want ------------------------------------------------------------------------------------------------------


def rows_that_want(text: str) -> Config:
    """A configuration whose rows are told `text` of each stored object."""
    source = {
        "type": "table",
        "name": "files",
        "database_url": "sqlite://",
        "query": "SELECT id FROM t",
        "primary_key": ("id",),
        "location": "s3://old/{id}",
        "key": "{id}",
        "update": {"table": "t", "set": {"told": text}},
    }
    whole = {"name": "world", "destination": {"bucket": "bucket"}, "sources": (source,)}
    return Config.model_validate(whole, strict=False)


async def test_a_content_type_that_rows_want_is_asked_for() -> None:
    mover = Mover(config=rows_that_want("{content_type}"))
    outcome = await mover.move()
    assert isinstance(outcome, Stored)
    assert outcome.content_type == "image/jpeg"
    assert not mover.streamed


@pytest.mark.parametrize("kept_by_server", [True, False])
async def test_a_digest_that_rows_want_is_the_servers_or_is_read(kept_by_server: bool) -> None:
    mover = Mover(config=rows_that_want("{sha256}"))
    digest = hashlib.sha256(BYTES).digest()
    mover.copier.digest = digest if kept_by_server else None
    outcome = await mover.move()
    assert isinstance(outcome, Stored)
    assert outcome.sha256 == digest
    assert mover.streamed is not kept_by_server


async def test_a_digest_of_a_server_that_checks_none_is_no_digest() -> None:
    mover = Mover(replace(COPIES_ALL, keeps_checksum=False), config=rows_that_want("{sha256}"))
    mover.copier.digest = b"?" * 32
    outcome = await mover.move()
    assert isinstance(outcome, Stored)
    assert outcome.sha256 == hashlib.sha256(BYTES).digest()
    assert mover.streamed
