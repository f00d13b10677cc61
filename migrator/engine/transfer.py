"""One Task -> Outcome, by the protocol of DESIGN section 5. Large objects go through multipart.py from here."""

import asyncio
import hashlib

from migrator.core.errors import Forbidden, ObjectError, Transient
from migrator.core.model import (
    MIB,
    SMALL,
    Failed,
    Fault,
    Guards,
    Outcome,
    Side,
    Standing,
    Stored,
    Taken,
    Task,
    Upload,
)
from migrator.core.ports import Body
from migrator.engine.conflict import Replace
from migrator.engine.guard import failed
from migrator.engine.means import Means
from migrator.engine.multipart import Multipart

HASH_INLINE = MIB
"""Bytes up to which hashing in the event loop (0.6 ms) costs less than handing it to a thread."""


class Transfer:
    """Moves one object: read, check, hash, put; and decides what a lost answer or a taken key means."""

    def __init__(self, means: Means, multipart: Multipart) -> None:
        self._means = means
        self._multipart = multipart

    async def __call__(self, task: Task) -> Outcome:
        """One attempt. Raises only Fatal (and LedgerError): everything else is an outcome."""
        try:
            return await self._move(task)
        except ObjectError as error:
            if error.fault is Fault.FATAL:
                raise
            return failed(error)

    async def _move(self, task: Task) -> Outcome:
        refused = self._means.store.refuses(task.key)
        if refused:
            return Failed(Fault.INVALID, f"the destination cannot hold the key {task.key!r}: {refused}")
        standing = await self._look(task) if task.again or task.present else None
        async with self._means.reader.open(task) as body:
            if body.size is not None:
                self._means.rules.check_size(task, body.size)
            if body.size is not None and body.size > SMALL:
                return await self._multipart.move(task, body, b"")
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
            return await self._multipart.move(task, body, data)

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
        self._means.rules.check_size(task, len(data))
        self._means.rules.check_content(task, data[:4096], len(data))
        sha256 = await _sha256(data)
        upload = self._means.rules.upload(task, body, data[:4096], len(data), sha256)
        if standing is None:
            outcome = await self._put(upload, data)
            if outcome is not None:
                return outcome
            standing = await self._means.store.head(task.key)
            if standing is None:
                raise Transient(f"{task.key} was taken a moment ago and is free now", side=Side.DESTINATION)
        verdict = await self._means.verdicts.decide(task, upload, standing)
        if not isinstance(verdict, Replace):
            return verdict
        outcome = await self._put(upload, data, verdict)
        return outcome or Failed(
            Fault.CONFLICT, f"{task.key} changed while it was about to be replaced; try again", Side.DESTINATION
        )

    async def _put(self, upload: Upload, data: bytes, replace: Replace | None = None) -> Stored | None:
        """None: the key is taken (or no longer holds what was to be replaced)."""
        await self._means.requests.spend(1)
        await self._means.bandwidth.spend(len(data))
        guards = Guards(
            absent=self._means.capabilities.conditional_put and replace is None,
            digest=self._means.capabilities.digest,
            replace=replace.etag if replace else None,
        )
        answer = await self._means.store.put(upload, data, guards)
        if isinstance(answer, Taken):
            return None
        return Stored.of(upload, answer, replace.replaced if replace else None)


async def _sha256(data: bytes) -> bytes:
    if len(data) <= HASH_INLINE:
        return hashlib.sha256(data).digest()
    return await asyncio.to_thread(lambda: hashlib.sha256(data).digest())
