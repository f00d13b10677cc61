"""One large object: parts hashed while they stream, at most PARTS_IN_FLIGHT on the way, continued after a kill."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from msgspec.structs import replace

from migrator.core.errors import Forbidden, Gone, Invalid, Transient, Truncated
from migrator.core.ledger_ports import Uploads
from migrator.core.model import MIB, SMALL, Failed, Fault, Outcome, Side, Stored, Task
from migrator.core.objects import Digest, Guards, Part, Placed, Standing, Taken, Upload
from migrator.core.ports import Body, Observer
from migrator.engine.conflict import Replace, standing_digest
from migrator.engine.gate import Gate
from migrator.engine.guard import RetryPolicy
from migrator.engine.means import Means
from migrator.engine.open_uploads import OpenUploads
from migrator.engine.placing import place

PARTS_IN_FLIGHT = 6
"""Of one object, as far as `transfer.memory` goes."""
MANY_PARTS = 128
GROWN_PART = 16 * MIB
"""Bytes to which parts grow where an object would have more than MANY_PARTS: fewer requests, less CPU a byte."""
MAX_PARTS = 10_000
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""
UNKNOWN_SIZE_PART = 32 * MIB
"""Bytes a part when nobody says how long the stream is: 10,000 of them are 312 GiB."""


class _NoRest(Exception):
    """The source gives a stream that broke off from its beginning only."""


@dataclass(slots=True)
class _Progress:
    """An upload under way."""

    upload_id: str
    known: dict[int, Part]
    """Parts that the destination already holds, from an earlier attempt."""
    parts: list[Part] = field(default_factory=list)
    whole: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    size: int = 0


class Multipart:
    """Moves objects that do not fit into one request."""

    def __init__(
        self, means: Means, uploads: Uploads, retry: RetryPolicy, gate: Gate, part_size: int, observer: Observer
    ) -> None:
        self._means = means
        self._retry = retry
        self._gate = gate
        self._part_size = part_size
        self._observer = observer
        self._open = OpenUploads(means.store, uploads)

    async def move(self, task: Task, body: Body, prefix: bytes, standing: Standing | None) -> Outcome:
        """One attempt; `prefix` are bytes already read from `body`, `standing` is what stands under the key.

        An attempt that fails leaves its upload open.
        """
        if standing is None and not self._means.rules.wants_digest_first:
            return await self._send(task, body, prefix, None)
        hopeless = standing is not None and standing.put_id != task.put_id and standing.size != body.size
        if standing is not None and hopeless and self._means.rules.on_conflict != "overwrite":
            known = Upload(task.key, body.size, None, standing.content_type, {})
            verdict = await self._means.verdicts.decide(task, known, standing)
            return verdict if not isinstance(verdict, Replace) else Failed(Fault.CONFLICT, f"{task.key} is taken")
        upload = await self._digest(task, body, prefix)
        if standing is not None:
            verdict = await self._means.verdicts.decide(task, upload, standing)
            if not isinstance(verdict, Replace):
                await self.abandon(task)
                return verdict
        # The digest took the stream to its end: it is opened again to be sent.
        async with self._means.reader.open(task) as again:
            return await self._send(task, again, b"", upload)

    async def abandon(self, task: Task) -> None:
        """Aborts what an attempt left open: nobody will continue it."""
        await self._open.abandon(task, task.upload)

    async def look(self, key: str) -> Standing | None:
        """HEAD. Without ListBucket an absent key looks forbidden: then the conditional completion will tell."""
        await self._means.requests.spend(1)
        try:
            return await self._means.store.head(key)
        except Forbidden:
            if self._means.capabilities.conditional_complete and not self._means.capabilities.can_list:
                return None
            raise

    async def _digest(self, task: Task, body: Body, prefix: bytes) -> Upload:
        """Reads the source to its end: what the object will be, without sending it."""
        whole, size, head = hashlib.sha256(prefix), len(prefix), prefix[:4096]
        while piece := await self._read(body, SMALL):
            head = head or piece[:4096]
            size += len(piece)
            await asyncio.to_thread(whole.update, piece)
            self._means.memory.give(SMALL)
        await body.check()
        self._means.rules.check_stood(task, whole.digest())
        return self._means.rules.upload(task, body, head, size, whole.digest())

    async def _read(self, body: Body, size: int) -> bytes:
        """The next `size` bytes, held in memory until they are given back (none at the end)."""
        held = await self._means.memory.take(size)
        piece = b""
        try:
            piece = await self._next(body, size)
        finally:
            if not piece:
                self._means.memory.give(held)
        return piece

    async def _next(self, body: Body, size: int) -> bytes:
        """The next bytes. A stream that broke off is gone on with: gigabytes are not read again for the last one."""
        try:
            return await body.read(size)
        except (Truncated, Transient) as error:
            broken = error

        async def rest() -> bytes:
            if not await body.go_on():
                raise _NoRest
            try:
                return await body.read(size)
            except Truncated as again:
                raise Transient(again.message) from again

        try:
            return await self._retry.call(rest, lambda _: None)  # a source that is busy slows nobody else down
        except _NoRest:
            raise broken from None

    async def _send(self, task: Task, body: Body, prefix: bytes, known: Upload | None) -> Outcome:
        part_size = self._choose_part_size(task, body.size)
        first = prefix + await self._read(body, part_size - len(prefix))
        held = part_size - len(prefix)
        own = self._means.rules.own_put(task, body)
        if own:
            self._means.memory.give(held)
            return own
        try:
            self._means.rules.check_content(task, first[:4096], body.size)
            upload = known or self._means.rules.upload(task, body, first[:4096], body.size, None)
            progress = await self._open_upload(task, upload, part_size)
        except BaseException:
            self._means.memory.give(held)
            raise
        await self._send_parts(task, body, progress, first, held, part_size)
        await body.check()
        self._means.rules.check_size(task, progress.size)
        self._means.rules.check_stood(task, progress.whole.digest())
        return await self._complete(task, replace(upload, size=progress.size, sha256=progress.whole.digest()), progress)

    def _choose_part_size(self, task: Task, size: int | None) -> int:
        if size is None:
            part_size = max(self._part_size, UNKNOWN_SIZE_PART)
        else:
            least = -(-size // MAX_PARTS)
            grown = min(-(-size // MANY_PARTS), GROWN_PART, self._means.memory.limit // PARTS_IN_FLIGHT)
            part_size = max(self._part_size, -(-least // MIB) * MIB, grown // MIB * MIB)
        if part_size > self._means.memory.limit:
            raise Invalid(
                f"{task.location} ({size} bytes) needs parts of {part_size // MIB} MiB",
                hint=f'set transfer.memory to "{part_size * 2 // MIB}MiB" or more and retry',
            )
        return part_size

    async def _open_upload(self, task: Task, upload: Upload, part_size: int) -> _Progress:
        """Continues what an earlier attempt left open, or begins. The id is in the ledger before the first part."""
        left = self._open.left(task)
        if left and left.part_size == part_size:
            try:
                known = await self._means.store.parts(task.key, left.upload_id)
                self._open.keep(task, left)
                return _Progress(left.upload_id, {part.number: part for part in known})
            except Gone:
                await self._open.close(task)
        elif left:
            await self.abandon(task)
        opened = await self._open.begin(task, upload, self._means.capabilities.part_digest, part_size)
        return _Progress(opened.upload_id, {})

    async def _send_parts(
        self, task: Task, body: Body, progress: _Progress, piece: bytes, held: int, part_size: int
    ) -> None:
        sending: set[asyncio.Task[Part]] = set()
        try:
            while piece:
                number = len(progress.parts) + len(sending) + 1
                if number > MAX_PARTS:
                    self._means.memory.give(held)
                    raise Invalid(f"{task.location} is longer than {MAX_PARTS} parts of {part_size // MIB} MiB")
                progress.size += len(piece)
                sending.add(self._start_part(task, progress, number, piece, held))
                await asyncio.to_thread(progress.whole.update, piece)
                if len(sending) >= PARTS_IN_FLIGHT:
                    sending = await self._collect(progress, sending, asyncio.FIRST_COMPLETED)
                held = part_size
                piece = await self._read(body, part_size)
            await self._collect(progress, sending, asyncio.ALL_COMPLETED)
        except BaseException:
            for one in sending:
                one.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
            raise

    async def _collect(
        self, progress: _Progress, sending: set[asyncio.Task[Part]], until: str
    ) -> set[asyncio.Task[Part]]:
        if not sending:
            return sending
        done, pending = await asyncio.wait(sending, return_when=until)
        sending -= done
        errors = [error for one in done if (error := one.exception())]
        if errors:
            raise errors[0]
        progress.parts += [one.result() for one in done]
        return pending

    def _start_part(self, task: Task, progress: _Progress, number: int, piece: bytes, held: int) -> asyncio.Task[Part]:
        sending = asyncio.create_task(self._part(task, progress, number, piece))
        # Not in a finally of the coroutine: one that is cancelled before its first step never gets there.
        sending.add_done_callback(lambda _: self._means.memory.give(held))
        return sending

    async def _part(self, task: Task, progress: _Progress, number: int, piece: bytes) -> Part:
        digest = self._means.capabilities.part_digest
        sha256 = None  # where MD5 is all that the server checks, the hash of the whole is enough
        if digest is not Digest.MD5_ONLY:
            sha256 = await asyncio.to_thread(lambda: hashlib.sha256(piece).digest())
        known = progress.known.get(number)
        if known and sha256 and known.size == len(piece) and known.sha256 == sha256:
            return known

        async def send() -> Part:
            await self._means.requests.spend(1)
            await self._means.bandwidth.spend(len(piece))
            return await self._means.store.put_part(task.key, progress.upload_id, number, piece, sha256, digest)

        # A part is tried again by itself: going back to the first byte for one reset would be dear.
        async with self._open_still(task):
            part = await self._retry.call(send, lambda error: self._gate.slow_down(error.retry_after, str(error)))
        self._observer.sent(task, part.size)
        return part

    async def _complete(self, task: Task, upload: Upload, progress: _Progress) -> Outcome:
        parts = sorted(progress.parts, key=lambda part: part.number)
        known = self._means.capabilities
        standing = None if known.conditional_complete else await self.look(task.key)

        async def send(guards: Guards) -> Placed | Taken:
            await self._means.requests.spend(1)
            return await self._means.store.complete(upload, progress.upload_id, parts, guards)

        async with self._open_still(task):
            outcome = await place(
                self._means, task, upload, standing, send, known.part_digest, known.conditional_complete
            )
        if not isinstance(outcome, Stored) or outcome.adopted:
            await self.abandon(task)
            return outcome
        await self._open.close(task)
        await self._check_stored(upload)
        return outcome

    @asynccontextmanager
    async def _open_still(self, task: Task) -> AsyncIterator[None]:
        """An upload that is gone meanwhile (a lifecycle rule, somebody who tidies up) is begun anew by the next try."""
        try:
            yield
        except Gone as error:
            await self._open.close(task)
            text = f"the upload of {task.key} is gone"
            raise Transient(text, side=Side.DESTINATION, hint="begun anew by itself", ambiguous=True) from error

    async def _check_stored(self, upload: Upload) -> None:
        """Where the destination checks no part, the whole object is read again."""
        if self._means.capabilities.part_digest is not Digest.READ_BACK:
            return
        if await standing_digest(self._means.store, upload.key) != upload.sha256:
            raise Transient(f"{upload.key} does not read back as it was sent", side=Side.DESTINATION, ambiguous=True)
