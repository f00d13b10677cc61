"""One task -> one outcome: what the operator finds in the destination afterwards, whatever happened on the way."""

import hashlib
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from migrator.core.config import Config
from migrator.core.errors import Changed, Fatal, Forbidden, Gone, Invalid, ObjectError, Throttled, Transient, Truncated
from migrator.core.model import SMALL, Failed, Fault, OpenUpload, Outcome, Side, Skip, Skipped, Stored, Task
from migrator.core.objects import PUT_ID, Capabilities, Digest, Part, Upload
from migrator.core.ports import EventKind
from migrator.engine import multipart
from migrator.engine.worker import Worker

from .memory_store import MemoryStore
from .world import HONOURS_ALL, FakeClock, MemoryReader, Notes, Recorder, a_config, a_task

BYTES = b"\xff\xd8\xff\xe0 a photograph"


class Mover:
    """A worker over a memory store and memory sources."""

    def __init__(
        self,
        store: MemoryStore | None = None,
        capabilities: Capabilities = HONOURS_ALL,
        bodies: dict[str, bytes] | None = None,
        **destination: Any,
    ) -> None:
        self.store = store or MemoryStore()
        self.reader = MemoryReader(**(bodies or {"a.jpg": BYTES}))
        self.notes = Notes()
        self.clock = FakeClock()
        self.observer = Recorder()
        config = a_config(**destination)
        self.worker = Worker(
            config, "bucket", 7, self.reader, self.store, self.notes, capabilities, self.observer, self.clock
        )

    async def move(self, task: Task | None = None) -> Outcome:
        return (await self.worker.work(task or a_task())).outcome


def lost(side: Side = Side.DESTINATION) -> ObjectError:
    return Transient("connection reset", side=side, ambiguous=True)


async def test_a_new_object_takes_one_request() -> None:
    mover = Mover()
    outcome = await mover.move()
    assert isinstance(outcome, Stored)
    assert outcome.sha256 == hashlib.sha256(BYTES).digest()
    assert mover.store.body("a.jpg") == BYTES
    assert mover.store.requests == {"PUT": 1}


async def test_an_answer_lost_after_the_put_is_adopted_and_not_sent_twice() -> None:
    mover = Mover(MemoryStore(versioning=True))
    mover.store.fail("PUT", lost, after=True)
    outcome = await mover.move()
    assert isinstance(outcome, Stored)
    assert outcome.adopted
    assert mover.store.requests == {"PUT": 1, "HEAD": 1}
    assert len(mover.store.objects["a.jpg"]) == 1


async def test_a_put_that_never_arrived_is_sent_again_whole() -> None:
    mover = Mover()
    mover.store.fail("PUT", lost)
    assert isinstance(await mover.move(), Stored)
    assert mover.store.body("a.jpg") == BYTES


async def test_without_checksums_the_bytes_are_read_back_before_adoption() -> None:
    mover = Mover(MemoryStore(keeps_checksum=False))
    mover.store.fail("PUT", lost, after=True)
    outcome = await mover.move()
    assert isinstance(outcome, Stored)
    assert outcome.adopted
    assert mover.store.requests["GET"] == 1


async def test_an_item_of_a_killed_run_is_looked_for_first() -> None:
    mover = Mover()
    first = await mover.move()
    again = await mover.move(a_task(again=True))
    assert isinstance(first, Stored)
    assert isinstance(again, Stored)
    assert again.adopted
    assert mover.store.requests == {"PUT": 1, "HEAD": 1}


async def test_our_own_put_of_a_source_that_changed_since_is_replaced() -> None:
    mover = Mover()
    await mover.move()
    mover.reader.bodies["a.jpg"] = BYTES + b" retouched"
    outcome = await mover.move(a_task(again=True))
    assert isinstance(outcome, Stored)
    assert not outcome.adopted
    assert mover.store.body("a.jpg") == BYTES + b" retouched"


async def test_the_same_bytes_of_somebody_else_are_left_and_skipped() -> None:
    mover = Mover()
    mover.store.stand("a.jpg", BYTES)
    outcome = await mover.move()
    assert isinstance(outcome, Skipped)
    assert outcome.reason is Skip.IDENTICAL


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("fail", Failed(Fault.CONFLICT, "", Side.DESTINATION)),
        ("skip", Skipped(Skip.EXISTS)),
    ],
)
async def test_other_bytes_under_the_key_are_never_touched(policy: str, expected: Outcome) -> None:
    mover = Mover(on_conflict=policy)
    mover.store.stand("a.jpg", b"somebody else's")
    outcome = await mover.move()
    assert type(outcome) is type(expected)
    assert mover.store.body("a.jpg") == b"somebody else's"
    if isinstance(outcome, Failed):
        assert outcome.fault is Fault.CONFLICT
        assert "a.jpg" in outcome.message


async def test_overwrite_in_a_versioned_bucket_remembers_the_version() -> None:
    mover = Mover(MemoryStore(versioning=True), replace(HONOURS_ALL, versioned=True), on_conflict="overwrite")
    mover.store.stand("a.jpg", b"old")
    outcome = await mover.move()
    assert isinstance(outcome, Stored)
    assert outcome.replaced == "version:v1"
    assert [kept.body for kept in mover.store.objects["a.jpg"]] == [b"old", BYTES]


async def test_an_overwrite_whose_answer_was_lost_is_adopted_with_the_version_that_it_covered() -> None:
    mover = Mover(MemoryStore(versioning=True), replace(HONOURS_ALL, versioned=True), on_conflict="overwrite")
    mover.store.stand("a.jpg", b"old")
    mover.store.fail("PUT", lost, after=True)
    outcome = await mover.move(replace(a_task(), again=True))
    assert isinstance(outcome, Stored)
    assert (outcome.adopted, outcome.replaced) == (True, "version:v1")


async def test_an_adopted_put_over_our_own_covers_what_stood_there_before_both() -> None:
    mover = Mover(MemoryStore(versioning=True), replace(HONOURS_ALL, versioned=True), on_conflict="overwrite")
    mover.store.stand("a.jpg", b"old")
    await mover.move(task := replace(a_task(), again=True))
    mover.store.stand("a.jpg", BYTES, **mover.store.objects["a.jpg"][-1].upload.metadata)
    outcome = await mover.move(task)
    assert isinstance(outcome, Stored)
    assert (outcome.adopted, outcome.version_id, outcome.replaced) == (True, "v3", "version:v1")


async def test_an_adopted_put_that_covers_nothing_replaced_nothing() -> None:
    mover = Mover(MemoryStore(versioning=True), replace(HONOURS_ALL, versioned=True), on_conflict="overwrite")
    mover.store.fail("PUT", lost, after=True)
    outcome = await mover.move()
    assert isinstance(outcome, Stored)
    assert (outcome.adopted, outcome.replaced) == (True, None)


async def test_overwrite_elsewhere_keeps_a_backup_first() -> None:
    mover = Mover(on_conflict="overwrite")
    mover.store.stand("a.jpg", b"old")
    outcome = await mover.move()
    assert isinstance(outcome, Stored)
    assert outcome.replaced == "backup:_migrator/backup/ledger/7/a.jpg"
    assert mover.store.body("_migrator/backup/ledger/7/a.jpg") == b"old"
    assert mover.store.body("a.jpg") == BYTES


async def test_what_cannot_be_backed_up_is_not_overwritten() -> None:
    mover = Mover(on_conflict="overwrite")
    mover.store.stand("a.jpg", b"old")
    mover.store.fail("COPY", lambda: Forbidden("no copies", side=Side.DESTINATION))
    outcome = await mover.move()
    assert isinstance(outcome, Failed)
    assert mover.store.body("a.jpg") == b"old"


async def test_a_forbidden_head_is_never_read_as_absent() -> None:
    blind = replace(HONOURS_ALL, conditional_put=False, can_list=False)
    mover = Mover(capabilities=blind)
    mover.store.fail("HEAD", lambda: Forbidden("403", side=Side.DESTINATION), times=9)
    outcome = await mover.move(a_task(again=True))
    assert isinstance(outcome, Failed)
    assert outcome.fault is Fault.FORBIDDEN
    assert "a.jpg" not in mover.store.objects


async def test_where_list_is_missing_the_conditional_put_tells() -> None:
    mover = Mover(capabilities=replace(HONOURS_ALL, can_list=False))
    mover.store.fail("HEAD", lambda: Forbidden("403", side=Side.DESTINATION))
    assert isinstance(await mover.move(a_task(again=True)), Stored)


@pytest.mark.parametrize("error", [Gone, Forbidden, Invalid])
async def test_final_faults_of_the_source_are_not_tried_again(error: type[ObjectError]) -> None:
    mover = Mover()
    mover.reader.errors["a.jpg"] = [error("no")]
    outcome = await mover.move()
    assert isinstance(outcome, Failed)
    assert outcome.fault is error.fault
    assert mover.reader.opened == ["a.jpg"]


@pytest.mark.parametrize(("error", "tries"), [(Transient, 6), (Truncated, 6), (Changed, 2)])
async def test_passing_faults_are_tried_as_often_as_configured(error: type[ObjectError], tries: int) -> None:
    mover = Mover()
    mover.reader.errors["a.jpg"] = [error("no")] * 99
    outcome = await mover.move()
    assert isinstance(outcome, Failed)
    assert outcome.fault is error.fault
    assert len(mover.reader.opened) == tries


async def test_throttling_waits_as_asked_and_never_fails_an_item() -> None:
    mover = Mover()
    mover.reader.errors["a.jpg"] = [Throttled("slow down", retry_after=7)] * 20
    assert isinstance(await mover.move(), Stored)
    assert sum(mover.clock.slept) >= 140


async def test_a_source_that_changes_while_it_is_read_is_read_once_more() -> None:
    mover = Mover()
    mover.reader.changes["a.jpg"] = [Changed("rewritten meanwhile")]
    assert isinstance(await mover.move(a_task(fingerprint="old")), Stored)
    assert mover.reader.opened == ["a.jpg", "a.jpg"]


async def test_fatal_stops_the_run_instead_of_failing_the_item() -> None:
    mover = Mover()
    mover.store.fail("PUT", lambda: Fatal("no such bucket", side=Side.DESTINATION))
    with pytest.raises(Fatal):
        await mover.move()


async def test_one_forbidden_object_is_its_own_fault() -> None:
    mover = Mover()
    mover.store.fail("PUT", lambda: Forbidden("denied", side=Side.DESTINATION))
    outcome = await mover.move()
    assert isinstance(outcome, Failed)
    assert outcome.fault is Fault.FORBIDDEN
    assert mover.store.objects == {}, "the canary that told the two apart is gone"


async def test_when_nothing_may_be_written_the_run_stops() -> None:
    mover = Mover()
    mover.store.fail("PUT", lambda: Forbidden("denied", side=Side.DESTINATION), times=2)
    with pytest.raises(Fatal, match="no longer allows any put"):
        await mover.move()


async def test_a_key_that_the_destination_cannot_hold_is_refused_by_name() -> None:
    outcome = await Mover().move(a_task(key="☃.jpg"))
    assert isinstance(outcome, Failed)
    assert "no snowmen here" in outcome.message


async def test_metadata_templates_are_filled_from_the_item_and_the_bytes() -> None:
    mover = Mover(metadata={"lot": "{stem}", "check": "{sha256}", "where": "{url}"}, public_url="https://cdn.example/")
    await mover.move(a_task(fields={"stem": "a"}))
    metadata = mover.store.objects["a.jpg"][0].upload.metadata
    assert metadata["lot"] == "a"
    assert metadata["check"] == hashlib.sha256(BYTES).hexdigest()
    assert metadata["where"] == "https://cdn.example/a.jpg"
    assert metadata[PUT_ID] == "ledger/1"


async def test_one_object_that_always_fails_does_not_stand_for_the_destination() -> None:
    mover = Mover(bodies={"a.jpg": BYTES, "b.jpg": BYTES})
    original = mover.store.put

    async def put(upload: Upload, *rest: Any) -> Any:
        if upload.key == "a.jpg":
            raise Transient("500 Internal Error", side=Side.DESTINATION)
        return await original(upload, *rest)

    mover.store.put = put  # type: ignore[method-assign, assignment]
    outcome = await mover.move()
    assert isinstance(outcome, Failed)
    assert outcome.fault is Fault.TRANSIENT
    assert max(mover.clock.slept) < 31, "no pause of the whole run"
    assert mover.observer.events[-1][0] is not EventKind.PAUSED
    assert isinstance(await mover.move(a_task("b.jpg", 2)), Stored)


async def test_a_destination_that_is_down_costs_no_object_its_tries() -> None:
    mover = Mover()
    mover.store.fail("PUT", lost, times=12)
    mover.store.fail("HEAD", lost, times=12)
    outcome = await mover.move()
    assert isinstance(outcome, Stored)
    assert EventKind.PAUSED in [kind for kind, _ in mover.observer.events]
    assert EventKind.RESUMED in [kind for kind, _ in mover.observer.events]


LARGE = bytes(range(256)) * (SMALL // 256 * 2 + 8000)
"""Two full parts and a bit."""

OURS = Upload("a.jpg", len(LARGE), None, "image/jpeg", {PUT_ID: "ledger/1"})


def large(**changes: Any) -> Mover:
    return Mover(bodies={"a.jpg": LARGE}, **changes)


async def test_a_large_object_arrives_in_parts() -> None:
    mover = large()
    outcome = await mover.move(a_task(size=len(LARGE)))
    assert isinstance(outcome, Stored)
    assert outcome.sha256 == hashlib.sha256(LARGE).digest()
    assert mover.store.body("a.jpg") == LARGE
    assert mover.store.requests == {"HEAD": 1, "CREATE": 1, "PART": 3, "COMPLETE": 1}
    assert mover.notes.open == {}


async def test_the_parts_of_a_very_large_object_are_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "MANY_PARTS", 1)
    mover = large()
    assert isinstance(await mover.move(a_task(size=len(LARGE))), Stored)
    assert mover.store.body("a.jpg") == LARGE
    assert mover.store.requests["PART"] == 2


async def test_a_stream_of_unknown_length_is_small_or_large_as_it_turns_out() -> None:
    mover = Mover(bodies={"a.jpg": BYTES, "b.jpg": LARGE})
    mover.reader.sized = False
    assert isinstance(await mover.move(), Stored)
    assert isinstance(await mover.move(a_task("b.jpg", 2)), Stored)
    assert mover.store.body("b.jpg") == LARGE


async def test_a_part_is_tried_again_by_itself() -> None:
    mover = large()
    mover.store.fail("PART", lost)
    assert isinstance(await mover.move(), Stored)
    assert mover.store.requests["PART"] == 4
    assert mover.reader.opened == ["a.jpg"]


async def test_an_upload_that_a_killed_run_left_open_is_continued() -> None:
    mover = large()
    upload_id = await mover.store.begin(OURS)
    first = LARGE[:SMALL]
    await mover.store.put_part("a.jpg", upload_id, 1, first, hashlib.sha256(first).digest(), Digest.SHA256)
    mover.store.requests.clear()
    outcome = await mover.move(a_task(again=True, upload=OpenUpload(upload_id, SMALL)))
    assert mover.store.requests["HEAD"] == 1, "what stands there is asked for once"
    assert isinstance(outcome, Stored)
    assert mover.store.requests["PART"] == 2
    assert "CREATE" not in mover.store.requests
    assert mover.store.body("a.jpg") == LARGE


async def test_an_upload_that_no_ledger_row_names_is_aborted() -> None:
    mover = large()
    orphan = await mover.store.begin(OURS)
    assert isinstance(await mover.move(a_task(again=True)), Stored)
    assert orphan not in mover.store.uploads
    assert mover.store.uploads == {}


async def test_an_upload_that_the_server_forgot_is_begun_anew() -> None:
    mover = large()
    assert isinstance(await mover.move(a_task(again=True, upload=OpenUpload("gone", SMALL))), Stored)


@pytest.mark.parametrize("operation", ["PART", "COMPLETE"])
async def test_an_upload_that_somebody_aborts_meanwhile_is_begun_anew(operation: str) -> None:
    mover = large()
    mover.store.fail(operation, lambda: Gone("404 NoSuchUpload", side=Side.DESTINATION))
    assert isinstance(await mover.move(), Stored)
    assert mover.store.requests["CREATE"] == 2
    assert mover.store.body("a.jpg") == LARGE


async def test_a_lost_answer_to_completion_is_adopted() -> None:
    mover = large(store=MemoryStore(versioning=True))
    mover.store.fail("COMPLETE", lost, after=True)
    outcome = await mover.move()
    assert isinstance(outcome, Stored)
    assert outcome.adopted
    assert len(mover.store.objects["a.jpg"]) == 1
    assert mover.store.uploads == {}


async def test_a_large_object_that_fails_for_good_leaves_no_upload_behind() -> None:
    mover = large()
    mover.store.fail("PART", partial(Invalid, "EntityTooLarge", side=Side.DESTINATION), times=9)
    outcome = await mover.move()
    assert isinstance(outcome, Failed)
    assert mover.store.uploads == {}
    assert mover.notes.open == {}


async def test_somebody_who_took_the_key_meanwhile_is_not_overwritten() -> None:
    mover = large()
    original = mover.store.complete

    async def complete(*arguments: Any) -> Any:
        if "a.jpg" not in mover.store.objects:
            mover.store.stand("a.jpg", b"faster")
        return await original(*arguments)

    mover.store.complete = complete  # type: ignore[method-assign, assignment]
    outcome = await mover.move()
    assert isinstance(outcome, Failed)
    assert outcome.fault is Fault.CONFLICT
    assert mover.store.body("a.jpg") == b"faster"
    assert mover.store.uploads == {}


async def test_a_large_identical_object_is_skipped_without_sending_it() -> None:
    mover = large()
    mover.store.stand("a.jpg", LARGE)
    outcome = await mover.move()
    assert isinstance(outcome, Skipped)
    assert "PART" not in mover.store.requests


async def test_a_large_taken_key_fails_before_anything_is_read() -> None:
    mover = large()
    mover.store.stand("a.jpg", b"short")
    outcome = await mover.move()
    assert isinstance(outcome, Failed)
    assert outcome.fault is Fault.CONFLICT
    assert mover.store.requests == {"HEAD": 1}


async def test_large_objects_are_overwritten_with_a_backup() -> None:
    mover = large(on_conflict="overwrite")
    mover.store.stand("a.jpg", b"old")
    outcome = await mover.move()
    assert isinstance(outcome, Stored)
    assert outcome.replaced == "backup:_migrator/backup/ledger/7/a.jpg"
    assert mover.store.body("a.jpg") == LARGE


async def test_metadata_that_needs_the_digest_has_it_for_large_objects_too() -> None:
    mover = large(metadata={"check": "{sha256}"})
    await mover.move()
    assert mover.store.objects["a.jpg"][0].upload.metadata["check"] == hashlib.sha256(LARGE).hexdigest()


async def test_where_completion_is_not_conditional_head_comes_first() -> None:
    mover = large(store=MemoryStore(conditional=False), capabilities=replace(HONOURS_ALL, conditional_complete=False))
    assert isinstance(await mover.move(), Stored)
    assert mover.store.requests["HEAD"] == 2


async def test_where_parts_are_not_checked_the_object_is_read_back() -> None:
    mover = large(capabilities=replace(HONOURS_ALL, part_digest=Digest.READ_BACK))
    assert isinstance(await mover.move(), Stored)
    assert mover.store.requests["GET"] == 1


async def test_where_md5_is_all_that_is_checked_only_the_whole_is_hashed() -> None:
    class Listening(MemoryStore):
        async def put_part(
            self, key: str, upload_id: str, number: int, body: bytes, sha256: bytes | None, digest: Digest
        ) -> Part:
            assert sha256 is None
            return await super().put_part(key, upload_id, number, body, sha256, digest)

    mover = large(store=Listening(), capabilities=replace(HONOURS_ALL, part_digest=Digest.MD5_ONLY))
    outcome = await mover.move()
    assert isinstance(outcome, Stored)
    assert outcome.sha256 == hashlib.sha256(LARGE).digest()


async def test_all_memory_is_given_back() -> None:
    mover = Mover(bodies={"a.jpg": BYTES, "b.jpg": LARGE})
    mover.store.fail("PART", partial(Invalid, "no", side=Side.DESTINATION), times=1)
    await mover.move()
    await mover.move(a_task("b.jpg", 2))
    await mover.move(a_task("c.jpg", 3))
    memory = mover.worker._transfer._means.memory
    assert memory.held == 0


async def test_a_row_that_names_its_own_key_is_looked_at_and_not_moved() -> None:
    mover = Mover(MemoryStore())
    mover.store.stand("a.jpg", BYTES)
    table = {
        "type": "table",
        "name": "files",
        "database_url": "sqlite://",
        "query": "SELECT k FROM t",
        "location": "s3://bucket/{k}",
        "key": "{path}",
    }
    values = {"name": "world", "destination": {"bucket": "bucket"}, "sources": (table,)}
    config = Config.model_validate(values, strict=False)
    worker = Worker(
        config, "bucket", 7, mover.reader, mover.store, mover.notes, HONOURS_ALL, mover.observer, mover.clock
    )
    there = (await worker.work(a_task(location="s3://bucket/a.jpg"))).outcome
    assert isinstance(there, Skipped)
    assert there.reason is Skip.IN_PLACE
    gone = (await worker.work(a_task("b.jpg", location="s3://bucket/b.jpg"))).outcome
    assert isinstance(gone, Failed)
    assert gone.fault is Fault.GONE
    assert set(mover.store.requests) == {"HEAD"}
