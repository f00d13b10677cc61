"""Canaries: small objects of our own that find out what a destination honours. They are removed again."""

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from migrator.core.errors import Forbidden, Invalid, ObjectError, Throttled, Transient
from migrator.core.model import RESERVED_PREFIX
from migrator.core.objects import PUT_ID, Capabilities, Digest, Guards, Placed, Taken, Upload
from migrator.core.oddities import Oddity
from migrator.core.ports import Store

CANARY = b"A canary of migrator: it finds out what this destination honours and is deleted at once.\n"

CHECKSUMS = (Digest.SHA256_ONLY, Digest.SHA256)
OTHERS = (Digest.MD5_ONLY, Digest.MD5, Digest.SIGNED)
STRONGEST_FIRST = CHECKSUMS + OTHERS
"""Ways to check a body, as they are tried."""

LISTED = "the destination is listed first"

PAUSES = (0.2, 1.0, 3.0)
"""Seconds before a step is tried again: a reset or a busy server says nothing about what a destination honours."""

T = TypeVar("T")


async def patiently(step: Callable[[], Awaitable[T]]) -> T:
    """The result of `step`, tried again when the destination was busy or did not answer."""
    for pause in PAUSES:
        try:
            return await step()
        except (Transient, Throttled):
            await asyncio.sleep(pause)
    return await step()


class Finding(Struct, frozen=True):
    """One thing that a probe found out, for the table of `test-connection`. `ok` None: good to know, not needed."""

    what: str
    ok: bool | None
    detail: str


def canary(prefix: str) -> Upload:
    """A canary under a name that nobody else has."""
    key = f"{prefix}{RESERVED_PREFIX}canary/{secrets.token_hex(8)}"
    return Upload(key, len(CANARY), hashlib.sha256(CANARY).digest(), "text/plain", {PUT_ID: "canary"})


def copy_of(key: str) -> str:
    """Where the copy of the canary under `key` stands."""
    return f"{key}-copy"


def odd_canary(key: str, oddity: Oddity) -> str:
    """The key of a canary of this form, in a folder of its own beside that under `key`."""
    return f"{key}-{oddity.name.lower()}/{oddity.example}"


async def sweep(store: Store, key: str) -> None:
    """Removes what a probe that was killed left under the key of its canary, of its copy, and beside it."""
    for one in (key, copy_of(key)):
        with suppress(Forbidden):  # nobody may list uploads: the object at least can go
            for upload_id, _ in await store.open_uploads(one):
                await store.abort(one, upload_id)
        await store.purge(one)
    with suppress(Forbidden):  # who may not list has left none
        for one in await _beside(store, key):
            await store.purge(one)


async def _beside(store: Store, key: str) -> list[str]:
    """The canaries beside that under `key`, by the names that they have got."""
    return [one async for page in store.keys(f"{key}-") for one in page]


async def can_write(store: Store, prefix: str, capabilities: Capabilities) -> bool:
    """Whether a put is still allowed at all: tells one forbidden object from credentials that lost everything."""
    upload = canary(prefix)
    try:
        answer = await store.put(upload, CANARY, Guards(capabilities.conditional_put, capabilities.digest))
    except Forbidden:
        return False
    if isinstance(answer, Placed):
        await store.purge(upload.key)
    return True


class Probe:
    """Asks one destination everything; `run` returns its Capabilities and leaves nothing behind."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._upload = canary(prefix)
        self._absent = canary(prefix)
        self.findings: list[Finding] = []

    @property
    def key(self) -> str:
        """Where the canaries stand while the probe runs."""
        return self._upload.key

    async def run(self) -> Capabilities:
        """Raises ObjectError (Forbidden, Fatal, ...) when not even a plain put works."""
        key = self._upload.key
        try:
            await patiently(lambda: self._put(absent=False, digest=Digest.SIGNED))
            self._find("put", True, "an object can be stored")
            digest = await self._put_digest()
            conditional = await self._refuses_a_second(digest)
            keeps = await patiently(lambda: self._keeps_checksum(digest))
            can_list = await patiently(self._absent_is_404)
            conditional_complete, part_digest = await patiently(self._multipart)
            self._tell_multipart(conditional_complete, part_digest)
            versioned = await self._versioned()
            alters = await self._altered() if can_list else ()
        finally:
            await patiently(lambda: self._clean(key))
        return Capabilities(
            conditional, conditional_complete, digest, part_digest, keeps, versioned, can_list, alters=alters
        )

    async def _put(self, *, absent: bool, digest: Digest) -> Placed | Taken:
        return await self._store.put(self._upload, CANARY, Guards(absent=absent, digest=digest))

    def _find(self, what: str, ok: bool | None, detail: str) -> None:
        self.findings.append(Finding(what, ok, detail))

    async def _put_digest(self) -> Digest:
        for digest in STRONGEST_FIRST:
            if await self._works_and_checks(digest):
                self._find("digest of a put", True, f"{digest.value}: a wrong one is refused")
                return digest
        self._find("digest of a put", None, "none is checked: every object is read back and hashed")
        return Digest.READ_BACK

    async def _refuses_a_second(self, digest: Digest) -> bool:
        try:
            honoured = isinstance(await patiently(lambda: self._put(absent=True, digest=digest)), Taken)
            detail = "an existing object is never overwritten" if honoured else f"ignored: {LISTED}"
        except Invalid:  # the condition is refused in words: the same put without it was carried out
            honoured, detail = False, f"not offered: {LISTED}"
        self._find("conditional put", True if honoured else None, detail)
        return honoured

    async def _works_and_checks(self, digest: Digest) -> bool:
        try:
            refused = await patiently(lambda: self._store.checks(self._upload.key, digest))
            answer = await patiently(lambda: self._put(absent=False, digest=digest))
        except ObjectError as error:
            # Some allow no signature without the payload; whatever they say of it, the others are tried.
            if not digest.only and (isinstance(error, Forbidden) or error.exit_status == 3):
                raise
            return False  # a server that does not know this kind of digest at all
        return refused and isinstance(answer, Placed)

    async def _keeps_checksum(self, digest: Digest) -> bool:
        try:
            standing = await self._store.head(self._upload.key)
        except Forbidden:
            self._find("head", False, "objects may not be read: a lost answer cannot be adopted (allow s3:GetObject)")
            return False
        keeps = digest.kind is Digest.SHA256 and standing is not None and standing.sha256 is not None
        self._find(
            "checksum kept",
            True if keeps else None,
            "HEAD tells the SHA-256 that was checked" if keeps else "no: comparing with what stands means reading it",
        )
        return keeps

    async def _absent_is_404(self) -> bool:
        try:
            await self._store.head(self._absent.key)
        except Forbidden:
            self._find("list", None, "s3:ListBucket is missing: an absent object looks forbidden")
            return False
        async for _ in self._store.keys(self._upload.key):
            break
        self._find("list", True, "an absent object is told apart from a forbidden one")
        return True

    async def _multipart(self) -> tuple[bool, Digest]:
        """Whether completing an upload over something is refused, and how its parts are checked."""
        for digests in (CHECKSUMS, OTHERS):
            with suppress(Invalid):  # some take no upload, no part or no completion that speaks of checksums
                if digest := await self._part_digest(digests):
                    return await self._completion(digest), digest
        return await self._completion(Digest.READ_BACK), Digest.READ_BACK

    def _tell_multipart(self, conditional: bool, digest: Digest) -> None:
        over = "never overwrites" if conditional else "would overwrite: HEAD comes before completing"
        self._find("multipart", True, f"digest of a part: {digest.value}; {over}")

    async def _part_digest(self, digests: Sequence[Digest]) -> Digest | None:
        """The first of `digests` that is checked, in an upload of its own: a part that is refused ends it on rclone."""
        store, key = self._store, self._upload.key
        upload_id = await store.begin(self._upload, digests[0])
        try:
            for digest in digests:
                try:
                    if await patiently(partial(store.checks, key, digest, upload_id)):
                        return digest
                except ObjectError as error:
                    if error.exit_status == 3 and not digest.only:
                        raise
            return None
        finally:
            await patiently(partial(store.abort, key, upload_id))

    async def _completion(self, digest: Digest) -> bool:
        """Whether it is refused because something stands under the key. Raises Invalid where there is none at all."""
        store, upload, guards = self._store, self._upload, Guards(absent=True, digest=digest)
        assert upload.sha256 is not None
        upload_id = await store.begin(upload, digest)
        answer: Placed | Taken = Taken()
        try:
            part = await store.put_part(upload.key, upload_id, 1, CANARY, upload.sha256, digest)
            try:
                answer = await store.complete(upload, upload_id, [part], guards)
            except Invalid:  # the condition is refused in words, or the upload: the same without it tells
                answer = await store.complete(upload, upload_id, [part], replace(guards, absent=False))
        finally:
            if isinstance(answer, Taken):
                await patiently(partial(store.abort, upload.key, upload_id))
        return isinstance(answer, Taken)

    async def _altered(self) -> tuple[Oddity, ...]:
        odd = {oddity: odd_canary(self.key, oddity) for oddity in Oddity}
        taken = [oddity for oddity, key in odd.items() if await self._takes(key)]
        listed = await patiently(lambda: _beside(self._store, self.key))
        try:
            altered = [one for one in taken if odd[one] not in listed or not await self._is_whole(odd[one])]
        finally:
            for key in listed:
                await patiently(partial(self._store.purge, key))
        detail = (
            f"those with {' or '.join(altered)} are not kept as they are: refused" if altered else "kept as they are"
        )
        self._find("keys", None if altered else True, detail)
        return tuple(altered)

    async def _takes(self, key: str) -> bool:
        """Whether a canary under `key` can be put: the store or the server may refuse such keys in words."""
        if self._store.refuses(key):
            return False
        try:
            await self._store.put(replace(self._upload, key=key), CANARY, Guards(absent=False, digest=Digest.SIGNED))
        except ObjectError:
            return False
        return True

    async def _is_whole(self, key: str) -> bool:
        standing = await patiently(lambda: self._store.head(key))
        return standing is not None and standing.size == len(CANARY)

    async def _versioned(self) -> bool:
        try:
            versioned = await self._store.versioned()
        except ObjectError:
            versioned = False
        self._find("versioning", None, "on" if versioned else "off")
        return versioned

    async def _clean(self, key: str) -> None:
        await self._store.purge(key)
        self._find("delete", True, "the canaries are gone")
