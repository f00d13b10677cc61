"""One Task -> Outcome, by the protocol of DESIGN section 5. From here, large objects go through multipart.py, and what
the server copies by itself through copying.py.
"""

import asyncio
import hashlib
from typing import TypeGuard

from msgspec.structs import replace

from migrator.core.content import content_type
from migrator.core.errors import Forbidden, Invalid, ObjectError
from migrator.core.model import MIB, SMALL, Failed, Fault, Outcome, Skip, Skipped, Stored, Task
from migrator.core.objects import Guards, Placed, Standing, Taken, Upload
from migrator.core.ports import Body
from migrator.engine.copying import Copying
from migrator.engine.guard import failed
from migrator.engine.means import Means
from migrator.engine.multipart import Multipart
from migrator.engine.placing import place
from migrator.engine.variants import Original, Variants

HASH_INLINE = MIB
"""Bytes up to which hashing in the event loop (0.6 ms) costs less than handing it to a thread."""


class Transfer:
    """Moves one object: read, check, hash, put; and decides what a lost answer or a taken key means."""

    def __init__(self, means: Means, multipart: Multipart, variants: Variants, copying: Copying) -> None:
        self._means = means
        self._multipart = multipart
        self._variants = variants
        self._copying = copying

    async def __call__(self, task: Task) -> Outcome:
        """One attempt. Raises only Fatal (and LedgerError): everything else is an outcome."""
        try:
            return await self._move(task)
        except ObjectError as error:
            if error.fault is Fault.FATAL:
                raise
            return failed(error)

    async def _move(self, task: Task) -> Outcome:
        refused = self._means.refuses(task.key)
        if refused:
            return Failed(Fault.INVALID, f"the destination cannot hold the key {task.key!r}: {refused}")
        if self._means.rules.stands_in_place(task):
            return await self._in_place(task)
        copied = await self._copying.move(task)
        if copied is not None:
            return copied
        standing = await self._look(task) if _looked(task) else None
        async with self._means.reader.open(task) as body:
            if body.size is not None:
                self._means.rules.check_size(task, body.size)
            if body.size is not None and body.size > SMALL:
                return await self._move_large(task, body, b"", standing)
            held = await self._means.memory.take(SMALL if body.size is None else body.size)
            try:
                data = await body.read(SMALL + 1 if body.size is None else body.size)
                if len(data) <= SMALL:
                    outcome = await self._move_small(task, body, data, standing)
                    # It was larger once: what an earlier attempt began in parts will not be continued.
                    await self._multipart.abandon(task)
                    return outcome
            finally:
                self._means.memory.give(held)
            # Parts take their memory one by one; holding on to this piece meanwhile could starve them all.
            return await self._move_large(task, body, data, standing)

    async def _in_place(self, task: Task) -> Outcome:
        """What stands under its key already, if anything does. Its variants are made with those of listed ones."""
        await self._means.requests.spend(1)
        standing = await self._means.store.head(task.key)
        if standing is None:
            return Failed(Fault.GONE, f"{task.location} does not exist")
        return Skipped(Skip.IN_PLACE, "", standing.size, standing.sha256, standing.etag)

    async def _look(self, task: Task) -> Standing | None:
        """HEAD. Where ListBucket is missing an absent key looks forbidden: then the conditional put will tell."""
        await self._means.requests.spend(1)
        try:
            return await self._means.store.head(task.key)
        except Forbidden:
            if self._means.capabilities.conditional_put and not self._means.capabilities.can_list:
                return None
            raise

    async def _move_small(self, task: Task, body: Body, data: bytes, standing: Standing | None) -> Outcome:
        await body.check()
        own = self._means.rules.own_put(task, body)
        if own:
            return own
        self._means.rules.check_size(task, len(data))
        self._means.rules.check_content(task, data[:4096], len(data))
        sha256 = await sha256_of(data)
        self._means.rules.check_stood(task, sha256)
        upload = self._means.rules.upload(task, body, data[:4096], len(data), sha256)
        if not self._variants.wanted(task.source):
            return await self._place(task, upload, data, standing)
        return await self._move_image(task, upload, data, standing)

    async def _move_image(self, task: Task, upload: Upload, data: bytes, standing: Standing | None) -> Outcome:
        """An object with variants: they are rendered while it is on its way, and stored when it has arrived."""
        original = Original(len(data), upload.sha256, upload.content_type)
        if not self._variants.keeps_original(task.source):
            return await self._only_variants(task, data, original)
        rendering = asyncio.create_task(self._variants.render(task, data, original))
        try:
            outcome = await self._place(task, upload, data, standing)
            if not _arrived(outcome):
                return outcome
            return replace(outcome, variants=await self._variants.store(await rendering))
        finally:
            rendering.cancel()

    async def _only_variants(self, task: Task, data: bytes, original: Original) -> Outcome:
        drawn = await self._variants.render(task, data, original)
        if not drawn:
            raise Invalid(f"{task.location} is no image, and keep_original = false stores the variants only")
        variants = await self._variants.store(drawn)
        kept = Stored(original.size, original.sha256, original.content_type, "", None)
        return replace(kept, variants=variants, original=False)

    async def _move_large(self, task: Task, body: Body, prefix: bytes, standing: Standing | None) -> Outcome:
        """A large object passes in parts; an image is read once more, whole, for its variants."""
        if not self._variants.wanted(task.source):
            return await self._move_in_parts(task, body, prefix, standing)
        kind = content_type(task.key, body.content_type, prefix[:4096])
        outcome: Stored | Skipped | None = None
        if self._variants.keeps_original(task.source):
            placed = await self._move_in_parts(task, body, prefix, standing)
            if not _arrived(placed) or not kind.startswith("image/"):
                return placed
            outcome = placed
        try:
            data = await self._read_whole(task, body.size or (outcome.size if outcome else None))
        except ObjectError as error:
            if outcome is None:
                raise
            return replace(outcome, variants=self._variants.unmade(task, error.fault, str(error)))
        try:
            original = Original(len(data), outcome.sha256 if outcome else await sha256_of(data), kind)
            if outcome is None:
                return await self._only_variants(task, data, original)
            drawn = await self._variants.render(task, data, original)
            return replace(outcome, variants=await self._variants.store(drawn))
        finally:
            self._means.memory.give(len(data))

    async def _move_in_parts(self, task: Task, body: Body, prefix: bytes, standing: Standing | None) -> Outcome:
        # Of small ones the conditional put tells; here gigabytes would have been sent by then.
        if not _looked(task):
            standing = await self._multipart.look(task.key)
        return await self._multipart.move(task, body, prefix, standing)

    async def _read_whole(self, task: Task, size: int | None) -> bytes:
        """All bytes of a large image, held in memory until they are given back."""
        if size is None or size > self._means.memory.limit:
            raise Invalid(
                f"{task.location} has {size or 'an unknown number of'} bytes, more than may be held to render it",
                hint="raise transfer.memory",
            )
        held = await self._means.memory.take(size)
        try:
            async with self._means.reader.open(task) as body:
                data = await body.read(size)
                await body.check()
        except BaseException:
            self._means.memory.give(held)
            raise
        if len(data) < held:
            self._means.memory.give(held - len(data))
        return data

    async def _place(self, task: Task, upload: Upload, data: bytes, standing: Standing | None) -> Outcome:
        """Puts a small object, unless what stands under its key decides otherwise."""
        known = self._means.capabilities

        async def send(guards: Guards) -> Placed | Taken:
            await self._means.requests.spend(1)
            await self._means.bandwidth.spend(len(data))
            return await self._means.store.put(upload, data, guards)

        return await place(self._means, task, upload, standing, send, known.digest, known.conditional_put)


def _looked(task: Task) -> bool:
    """Whether what stands under the key was asked for before the source was opened."""
    return bool(task.again or task.present)


def _arrived(outcome: Outcome) -> TypeGuard[Stored | Skipped]:
    """Whether the object stands under its key now, by whomever."""
    return isinstance(outcome, Stored) or (
        isinstance(outcome, Skipped) and outcome.reason in (Skip.IDENTICAL, Skip.IN_PLACE)
    )


async def sha256_of(data: bytes) -> bytes:
    """Its SHA-256; in a thread where that would hold up the event loop."""
    if len(data) <= HASH_INLINE:
        return hashlib.sha256(data).digest()
    return await asyncio.to_thread(lambda: hashlib.sha256(data).digest())
