"""Objects that the destination's own server copies: which, by how many requests, and how it is known that all arrived.

Whatever copying cannot decide (other bytes under the key, a refusal) is left to the streaming path of transfer.py.
"""

import zlib
from dataclasses import dataclass, field

from msgspec import Struct
from msgspec.structs import replace

from migrator.core.config import Config
from migrator.core.errors import Changed, Forbidden, Invalid, Transient
from migrator.core.ledger_ports import Uploads
from migrator.core.model import Failed, Fault, Outcome, Side, Skip, Skipped, Stored, Task
from migrator.core.objects import COPIED, MARKS, PUT_ID, Copied, CopyMode, Described, Description, Taken, Upload
from migrator.core.ports import Copier, EventKind, Observer
from migrator.engine.copying_parts import PartCopies
from migrator.engine.gate import Gate
from migrator.engine.guard import RetryPolicy
from migrator.engine.means import Means

SAMPLE = 100
"""One in so many copies is compared whole although nothing asks for it."""
REFUSALS = 3
"""Copies refused in a row, without a success between them, after which the objects of a bucket stream."""
LARGEST_COPY = 5 * 1024**3
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html"""


@dataclass(slots=True)
class Bucket:
    """What copying from one bucket has come to: `refused` in a row; `never` says why it is not tried again."""

    refused: int = 0
    never: str = ""


@dataclass(slots=True)
class Plan:
    """One copy: the version that is copied, and what was asked about it beforehand."""

    task: Task
    etag: str
    size: int
    original: Described | None
    upload: Upload | None = None
    """What the copy carries in place of all that the source carries."""


class Copies(Struct, frozen=True):
    """What copying is allowed and able to do.

    copier   None where the destination copies nothing from anywhere
    created  when the ledger began, in seconds since the epoch: no copy of ours is older
    """

    copier: Copier | None = None
    mode: CopyMode = CopyMode.AUTO
    created: float = 0.0


@dataclass(slots=True)
class Copying:
    """Copies what the server can copy. `hindered` are sources whose bytes must pass through here, and why."""

    means: Means
    copies: Copies
    threshold: int
    hindered: dict[str, str]
    observer: Observer
    parts: PartCopies
    _buckets: dict[str, Bucket] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        config: Config,
        means: Means,
        copies: Copies,
        uploads: Uploads,
        retry: RetryPolicy,
        gate: Gate,
        observer: Observer,
    ) -> "Copying":
        """What `config` says of it."""
        threshold = config.transfer.copy_threshold
        hindered = {
            source.name: 'its content is looked at (expect = "image")'
            if source.expect == "image"
            else "it has variants"
            for source in config.sources
            if source.expect == "image" or config.variants_of(source)
        }
        parts = PartCopies(means, copies.copier, uploads, retry, gate, threshold, observer)
        return cls(means, copies, threshold, hindered, observer, parts)

    async def move(self, task: Task) -> Outcome | None:
        """One attempt. None: the bytes have to pass through here."""
        copier = self.copies.copier
        if self.copies.mode is CopyMode.STREAM or (copier is None and self.copies.mode is CopyMode.AUTO):
            return None
        hindrance = await self._hindrance(copier, task)
        if hindrance or copier is None:
            return self._instead(task, hindrance)
        outcome = await self._move(copier, task)
        if outcome is None:
            await self.abandon(task)
        return outcome

    async def abandon(self, task: Task) -> None:
        """Aborts what an attempt left open."""
        await self.parts.abandon(task)

    async def _hindrance(self, copier: Copier | None, task: Task) -> str:
        if not task.location.startswith("s3://"):
            return "its location is no object of a bucket"
        if copier is None:
            return "the destination's server copies nothing"
        if not self.means.capabilities.copies:
            return "the destination's server does not copy"
        known = self.hindered.get(task.source) or self._bucket(task).never
        return known or await copier.hindrance(task.source, task.location)

    def _instead(self, task: Task, why: str) -> Failed | None:
        if self.copies.mode is CopyMode.AUTO:
            return None
        return Failed(
            Fault.INVALID,
            f"{task.location} cannot be copied by the server: {why}; --copy-mode auto lets its bytes pass through here",
            Side.DESTINATION,
        )

    def _bucket(self, task: Task) -> Bucket:
        name = f"{task.source}\0{task.location[5:].partition('/')[0]}"
        found = self._buckets.get(name)
        if found is None:
            found = self._buckets[name] = Bucket()
        return found

    async def _move(self, copier: Copier, task: Task) -> Outcome | None:
        original = await self._describe(copier, task) if self._asks(task) else None
        plan = Plan(
            task,
            original.etag if original else task.fingerprint or "",
            original.size if original else task.size or 0,
            original,
        )
        self.means.rules.check_size(task, plan.size)
        if self._lacks_digest(plan):
            return self._instead(task, "its SHA-256 is wanted, and the server does not keep it")
        if task.again or task.present or (task.present is None and not self.means.capabilities.copy_absent):
            standing = await self._look(copier, task)
            if standing and task.stood:
                return self._instead(task, "what stands under its key is looked at byte by byte")
            if standing:
                return await self._taken(plan, standing)
        if plan.size > self.threshold and (self.means.capabilities.copy_parts or plan.size > LARGEST_COPY):
            return await self._copy_parts(copier, plan)
        return await self._copy(copier, plan)

    def _asks(self, task: Task) -> bool:
        """Whether the source's object is looked at before it is copied."""
        return (
            task.again
            or task.fingerprint is None
            or task.size is None
            or task.size > self.threshold
            or self._tells
            or bool(self.means.rules.sources[task.source].told & {"sha256", "content_type"})
            or zlib.crc32(task.put_id.encode()) % SAMPLE == 0
        )

    async def _describe(self, copier: Copier, task: Task) -> Described:
        """What is about to be copied. Changed: it is not what was listed."""
        await self.means.requests.spend(1)
        original = await copier.describe(task.source, task.location)
        if task.fingerprint not in (None, original.etag) or task.size not in (None, original.size):
            raise Changed(f"{task.location} is no longer what was listed")
        return original

    def _lacks_digest(self, plan: Plan) -> bool:
        rules = self.means.rules
        wanted = "sha256" in rules.sources[plan.task.source].told or rules.names_digest
        return wanted and (plan.original is None or self._sha256(plan.original) is None)

    def _sha256(self, said: Described | Copied) -> bytes | None:
        """The digest that a server tells, where it has been seen to check digests."""
        return said.sha256 if self.means.capabilities.keeps_checksum else None

    async def _look(self, copier: Copier, task: Task) -> Described | None:
        await self.means.requests.spend(1)
        try:
            return await copier.standing(task.key)
        except Forbidden:
            if self.means.capabilities.copy_absent and not self.means.capabilities.can_list:
                return None  # the conditional copy will tell
            raise

    async def _copy(self, copier: Copier, plan: Plan) -> Outcome | None:
        task, capabilities = plan.task, self.means.capabilities
        if plan.original and self._tells:
            plan.upload = self.marked(plan)
        await self.means.requests.spend(1)
        try:
            answer = await copier.copy(
                task.source, task.location, plan.etag, plan.upload or task.key, capabilities.copy_absent
            )
        except (Forbidden, Invalid) as error:
            return self._refused(task, error)
        self._bucket(task).refused = 0
        if isinstance(answer, Taken):
            standing = await self._look(copier, task)
            if standing is None:
                raise Transient(f"{task.key} was taken a moment ago and is free now", side=Side.DESTINATION)
            return await self._taken(plan, standing)
        if plan.original is None and answer.etag == plan.etag:
            # The server says of which version this is the copy; that its copies are whole, a canary has shown.
            return Stored(plan.size, self._sha256(answer), "", answer.etag, answer.version_id, copied=True)
        return await self._compare(copier, plan, answer)

    @property
    def _tells(self) -> bool:
        """Whether a copy is told what to carry, our marks among it."""
        return self.means.rules.alters or not self.means.capabilities.copy_keeps

    def marked(self, plan: Plan) -> Upload:
        """What a copy carries that is told what to carry: all that the source has, the configured, and our marks."""
        assert plan.original
        upload = self.means.rules.upload(plan.task, plan.original, b"", plan.size, self._sha256(plan.original))
        return replace(upload, metadata={**upload.metadata, COPIED: plan.etag})

    def _refused(self, task: Task, error: Forbidden | Invalid) -> Failed | None:
        """The server would not copy: this tool may still be allowed to read the one and write the other."""
        if self.copies.mode is CopyMode.SERVER or error.side is not Side.DESTINATION:
            raise error
        bucket = self._bucket(task)
        bucket.refused += 1
        if bucket.refused >= REFUSALS and not bucket.never:
            self._never(bucket, task, error.message)
        return None

    def _never(self, bucket: Bucket, task: Task, why: str) -> None:
        bucket.never = why
        place = task.location[5:].partition("/")[0]
        self.observer.event(EventKind.NOTE, f"the server does not copy from {place} ({why}): its objects stream")

    async def _copy_parts(self, copier: Copier, plan: Plan) -> Outcome | None:
        if not self.means.capabilities.copy_parts:
            return self._instead(plan.task, f"it has {plan.size} bytes, and the server copies no parts")
        assert plan.original
        plan.upload = self.marked(plan)
        try:
            answer = await self.parts.copy(plan.task, plan.original, plan.upload)
        except (Forbidden, Invalid) as error:
            return self._refused(plan.task, error)
        if isinstance(answer, Taken):
            standing = await self._look(copier, plan.task)
            if standing is None:
                raise Transient(f"{plan.task.key} was taken a moment ago and is free now", side=Side.DESTINATION)
            return await self._taken(plan, standing)
        return await self._compare(copier, plan, answer)

    async def _compare(self, copier: Copier, plan: Plan, answer: Copied) -> Outcome | None:
        """Looks at both ends. What was copied from another version, or lost something, is removed again."""
        task = plan.task
        if plan.original is None or not self.means.capabilities.copy_pinned or plan.upload is not None:
            await self.means.requests.spend(1)
            now = await copier.describe(task.source, task.location)
            if (now.etag, now.size) != (plan.etag, plan.size):
                await self._undo(copier, task.key, answer)
                raise Changed(f"{task.location} changed while it was copied")
            plan.original = now
        standing = await self._look(copier, task)
        if standing is None:
            raise Transient(f"{task.key} is not there after it was copied", side=Side.DESTINATION, ambiguous=True)
        lost = self.difference(plan, standing)
        if lost:
            await self._undo(copier, task.key, answer)
            if self.copies.mode is CopyMode.AUTO:
                self._never(self._bucket(task), task, f"the copy of {task.location} has another {lost}")
                return None
            return self._instead(task, f"the copy has another {lost}")
        sha256 = self._sha256(answer) or self._sha256(standing) or self._sha256(plan.original)
        return Stored(plan.size, sha256, standing.content_type, standing.etag, answer.version_id, copied=True)

    def difference(self, plan: Plan, standing: Described) -> str:
        """What the copy does not have as it should, in a word or two; empty when it has everything."""
        original, rules, upload = plan.original, self.means.rules, plan.upload
        assert original
        carried = original.description
        if standing.size != plan.size:
            return f"size ({standing.size} in place of {plan.size} bytes)"
        if upload:
            # Values that are told anew may come back encoded: that they are there is what can be compared.
            there = standing.description.metadata
            metadata = {name: there[name] for name in upload.metadata if name in there}
            if len(metadata) < len(upload.metadata):
                return f"metadata ({', '.join(sorted(upload.metadata.keys() - metadata))})"
            carried = Description({**carried.headers, **rules.headers}, metadata, upload.tags)
        lost = lacking(standing, upload.content_type if upload else original.content_type, carried)
        if not lost and rules.storage_class not in ("", standing.storage_class or "STANDARD"):
            return f"storage class ({standing.storage_class or 'STANDARD'})"
        return lost

    async def _undo(self, copier: Copier, key: str, answer: Copied) -> None:
        """Removes what was just copied, unless something else stands there already."""
        standing = await copier.standing(key)
        if standing and standing.etag == answer.etag:
            await self.means.store.delete(key, answer.version_id)

    async def _taken(self, plan: Plan, standing: Described) -> Outcome | None:
        """Something stands under the key: our own copy, the same bytes, or (None) what only the bytes can tell."""
        task, metadata = plan.task, standing.description.metadata
        mark = metadata.get(PUT_ID)
        same = standing.size == plan.size and (standing.etag == plan.etag or self._same_digest(plan, standing))
        ours = mark == task.put_id and (same or (metadata.get(COPIED) == plan.etag and standing.size == plan.size))
        if ours or (same and task.again and self._may_be_ours(plan, standing, mark)):
            return Stored(
                plan.size,
                self._sha256(standing),
                standing.content_type,
                standing.etag,
                standing.version_id,
                adopted=True,
                replaced=await self.means.verdicts.covered(task, standing.version_id),
            )
        if same:
            sha256 = self._sha256(standing)
            return Skipped(Skip.IDENTICAL, "the same bytes stood there", plan.size, sha256, standing.etag)
        if self.copies.mode is CopyMode.AUTO:
            return None
        if self.means.rules.on_conflict == "skip":
            return Skipped(
                Skip.EXISTS, f"something else ({standing.size} bytes) stands there", standing.size, None, standing.etag
            )
        return Failed(
            Fault.CONFLICT,
            f"something else already stands under {task.key} ({standing.size} bytes; the source has {plan.size}); "
            "--copy-mode auto compares the bytes and does what destination.on_conflict says",
            Side.DESTINATION,
        )

    def _same_digest(self, plan: Plan, standing: Described) -> bool:
        here, there = self._sha256(standing), plan.original and self._sha256(plan.original)
        return here is not None and here == there

    def _may_be_ours(self, plan: Plan, standing: Described, mark: str | None) -> bool:
        """Whether a copy without a mark is the one of an earlier attempt, as far as anybody can tell.

        It carries just what the source carries, marks of another ledger too, and it is no older than this ledger.
        """
        original = plan.original
        if original is None or self._tells or mark != original.description.metadata.get(PUT_ID):
            return False
        return (standing.modified or 0) >= int(self.copies.created) and not self.difference(plan, standing)


def lacking(standing: Described, content_type: str, carried: Description) -> str:
    """What an object does not have of all this, by name; what it has besides is no matter."""
    there = standing.description
    if standing.content_type != content_type:
        return "content type"
    for name, value in carried.headers.items():
        if there.headers.get(name) != value:
            return name
    for name, value in carried.metadata.items():
        if name not in MARKS and there.metadata.get(name) != value:
            return f"metadata ({name})"
    return "" if (there.tags or {}) == (carried.tags or {}) else "tags"
