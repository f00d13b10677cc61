"""What every Store must do. A store is tested by a subclass of StoreContract with the fixtures `store` and `expected`.

What a destination does not honour is said in `Expected` and asserted as such: the suite documents reality.
"""

import asyncio
import hashlib
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from migrator.core.errors import Changed, Gone, Invalid, ObjectError, Transient
from migrator.core.model import MIB
from migrator.core.objects import PUT_ID, SHA256, Digest, Guards, Part, Placed, Standing, Taken, Upload
from migrator.core.oddities import Oddity
from migrator.core.ports import Store
from migrator.engine.probe import Probe

ALL_CHECKED = frozenset(Digest) - {Digest.READ_BACK}

ODD_KEYS = {
    "signs": "a+b%2Fc#d?e&f=g;h,i@j!k'l(m)n*o$p:q.jpg",
    "spaces": " leading, double  and trailing .jpg ",
    "percent": "100%/%41%zz.jpg",
    "NFC": "caf\u00e9.jpg",
    "NFD": "cafe\u0301.jpg",
    "emoji": "\U0001f4f7/\U0001f468\u200d\U0001f469\u200d\U0001f467.jpg",
    "quotes": '"double"<angle>\\back`tick|{brace}^~[square].jpg',
    "control": "bell\x07tab\tline\n.jpg",
    "double slash": "a//b///c.jpg",
    "trailing slash": "folder/",
    "dots": ".hidden/..two/three.../v1.2.jpg",
    "longest": "k" * 200 + "/" + "e" * 200 + "/" + "y" * 200 + "/" + "s" * 200 + "/" + "x" * 220,
    "longest in UTF-8": "/".join(["é" * 100] * 5) + "/" + "é" * 9 + "x",
}
ODDITIES = {"double slash": Oddity.DOUBLE_SLASH, "quotes": Oddity.BACKSLASH, "trailing slash": Oddity.FINAL_SLASH}
"""What is odd about keys that some server alters."""
REFUSED_KEYS = (
    "",
    "/leading.jpg",
    "a/../b.jpg",
    "a/./b.jpg",
    "..",
    "nul\0.jpg",
    "k" * 1025,
    "é" * 513,
    "half\ud83d.jpg",
)

BODY = b"The bytes of one object.\n"
OTHER = b"Other bytes, of another length.\n"
PART = 5 * MIB
"""The least that S3 allows for a part but the last."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What one destination honours; the defaults are those of S3 itself."""

    conditional_put: bool = True
    refuses_conditions: bool = False
    """A put under a condition is refused in words, whatever stands there."""
    atomic_put: bool = True
    """Nothing can come between its look at the key and its put."""
    conditional_replace: bool = True
    conditional_complete: bool = True
    conditional_copy: bool = True
    digests: frozenset[Digest] = ALL_CHECKED
    part_digests: frozenset[Digest] = ALL_CHECKED
    summed_parts: bool = True
    """Uploads whose parts have SHA-256 checksums can be completed."""
    keeps_checksum: bool = True
    tells_part_checksums: bool = True
    forgets_uploads: bool = True
    """An upload that was completed is no longer there to be asked for."""
    lost_keys: frozenset[str] = frozenset()
    """Names of ODD_KEYS that the store refuses in words, for the plan."""
    refused_keys: frozenset[str] = frozenset()
    """Names of ODD_KEYS that the server itself refuses."""
    altered_keys: frozenset[str] = frozenset()
    """Names of ODD_KEYS that the server stores under another key, or without their bytes, and says nothing of it."""
    uncopied_keys: frozenset[str] = frozenset()
    """Names of ODD_KEYS that it holds but cannot copy."""

    @property
    def guards(self) -> Guards:
        """Those of a put of something new."""
        return Guards(absent=not self.refuses_conditions, digest=Digest.SHA256)

    @property
    def part_digest(self) -> Digest:
        """One that parts can have."""
        return Digest.SHA256 if self.summed_parts else Digest.MD5_ONLY


FREE = Guards(absent=False, digest=Digest.SIGNED)
ABSENT = Guards(absent=True, digest=Digest.SHA256)


def upload_of(body: bytes, key: str = "photos/one.jpg", **metadata: str) -> Upload:
    """An Upload of `body`."""
    sha256 = hashlib.sha256(body).digest()
    return Upload(key, len(body), sha256, "image/jpeg", {PUT_ID: "ledger/1", **metadata})


async def content(store: Store, key: str) -> bytes:
    """All bytes of an object."""
    return b"".join([piece async for piece in store.read(key)])


async def all_keys(store: Store, prefix: str = "") -> list[str]:
    """The whole listing."""
    return [key async for page in store.keys(prefix) for key in page]


async def stands(store: Store, key: str) -> Standing:
    """What stands there; something must."""
    standing = await store.head(key)
    assert standing is not None
    return standing


class StoreContract:
    """Fill in the fixtures `store` (a Store with nothing in it) and `expected`."""

    async def test_a_put_is_there_whole(self, store: Store, expected: Expected) -> None:
        answer = await store.put(upload_of(BODY), BODY, expected.guards)
        assert isinstance(answer, Placed)
        standing = await stands(store, "photos/one.jpg")
        assert (standing.size, standing.etag, standing.content_type) == (len(BODY), answer.etag, "image/jpeg")
        assert standing.put_id == "ledger/1"
        assert '"' not in answer.etag
        assert await content(store, "photos/one.jpg") == BODY

    async def test_an_empty_object(self, store: Store, expected: Expected) -> None:
        assert isinstance(await store.put(upload_of(b""), b"", expected.guards), Placed)
        assert (await stands(store, "photos/one.jpg")).size == 0
        assert await content(store, "photos/one.jpg") == b""

    async def test_a_put_of_several_pieces(self, store: Store, expected: Expected) -> None:
        body = bytes(range(256)) * (3 * MIB // 256) + b"tail"
        await store.put(upload_of(body), body, expected.guards)
        assert await content(store, "photos/one.jpg") == body

    @pytest.mark.parametrize("digest", list(Digest))
    async def test_a_right_digest_of_any_kind_is_accepted(self, store: Store, digest: Digest) -> None:
        assert isinstance(await store.put(upload_of(BODY), BODY, Guards(absent=False, digest=digest)), Placed)
        assert await content(store, "photos/one.jpg") == BODY

    async def test_a_put_over_something(self, store: Store, expected: Expected) -> None:
        await store.put(upload_of(BODY), BODY, expected.guards)
        if expected.refuses_conditions:
            with pytest.raises(Invalid, match="501"):
                await store.put(upload_of(OTHER), OTHER, ABSENT)
            return
        second = await store.put(upload_of(OTHER), OTHER, ABSENT)
        assert isinstance(second, Taken) is expected.conditional_put
        assert await content(store, "photos/one.jpg") == (BODY if expected.conditional_put else OTHER)

    async def test_one_of_many_racing_puts_wins(self, store: Store, expected: Expected) -> None:
        if not expected.conditional_put:
            pytest.skip("all of them win here, the last one for good: the engine lets no two items have one key")
        bodies = [bytes([i]) * 1000 for i in range(8)]
        racing = (store.put(upload_of(body), body, expected.guards) for body in bodies)
        answers = await asyncio.gather(*racing, return_exceptions=True)
        placed = [body for body, answer in zip(bodies, answers, strict=True) if isinstance(answer, Placed)]
        assert await content(store, "photos/one.jpg") in placed
        assert len(placed) == 1 or not expected.atomic_put
        assert all(isinstance(answer, Placed | Taken) for answer in answers)

    async def test_replacing_exactly_what_was_seen(self, store: Store, expected: Expected) -> None:
        await store.put(upload_of(BODY), BODY, expected.guards)
        seen = (await stands(store, "photos/one.jpg")).etag
        replacing = Guards(absent=False, digest=Digest.SIGNED, replace=seen)
        assert isinstance(await store.put(upload_of(OTHER), OTHER, replacing), Placed)
        assert await content(store, "photos/one.jpg") == OTHER
        stale = await store.put(upload_of(BODY), BODY, replacing)
        assert isinstance(stale, Taken) is expected.conditional_replace
        assert await content(store, "photos/one.jpg") == (OTHER if expected.conditional_replace else BODY)

    async def test_nothing_there_to_be_replaced(self, store: Store, expected: Expected) -> None:
        replacing = Guards(absent=False, digest=Digest.SIGNED, replace="d41d8cd98f00b204e9800998ecf8427e")
        answer = await store.put(upload_of(BODY), BODY, replacing)
        assert isinstance(answer, Taken) is expected.conditional_replace

    @pytest.mark.parametrize("digest", list(Digest))
    async def test_a_wrong_digest(self, store: Store, expected: Expected, digest: Digest) -> None:
        refused = await store.checks("canary", digest)
        assert refused is (digest in expected.digests)
        if refused:
            assert await store.head("canary") is None

    async def test_damaged_bytes(self, store: Store, expected: Expected) -> None:
        put = store.put(upload_of(BODY), OTHER[: len(BODY)], expected.guards)
        if expected.digests & {Digest.SHA256, Digest.SIGNED}:
            with pytest.raises(Transient) as caught:
                await put
            assert not caught.value.ambiguous
            assert await store.head("photos/one.jpg") is None
        else:
            assert isinstance(await put, Placed)

    async def test_damaged_bytes_are_read_back(self, store: Store, expected: Expected) -> None:
        if not expected.digests & {Digest.SHA256, Digest.SIGNED}:
            with pytest.raises(Transient) as caught:
                await store.put(upload_of(BODY), OTHER, Guards(absent=False, digest=Digest.READ_BACK))
            assert caught.value.ambiguous

    async def test_the_sha256_of_what_stands(self, store: Store, expected: Expected) -> None:
        upload = upload_of(BODY)
        await store.put(upload, BODY, expected.guards)
        standing = await stands(store, upload.key)
        assert standing.sha256 == (upload.sha256 if expected.keeps_checksum else None)

    async def test_the_sha256_of_the_metadata(self, store: Store) -> None:
        sha256 = hashlib.sha256(BODY).digest()
        upload = upload_of(BODY, "noted.jpg", **{SHA256: sha256.hex()})
        await store.put(upload, BODY, FREE)
        assert (await stands(store, "noted.jpg")).sha256 == sha256

    async def test_absent_objects(self, store: Store) -> None:
        assert await store.head("absent.jpg") is None
        await store.delete("absent.jpg")
        with pytest.raises(Gone):
            await content(store, "absent.jpg")

    async def test_delete(self, store: Store, expected: Expected) -> None:
        await store.put(upload_of(BODY), BODY, expected.guards)
        await store.delete("photos/one.jpg")
        assert await store.head("photos/one.jpg") is None
        assert isinstance(await store.put(upload_of(BODY), BODY, expected.guards), Placed)

    async def test_purge_leaves_nothing(self, store: Store, expected: Expected) -> None:
        for key in ("canary", "canary/longer"):
            await store.put(upload_of(BODY, key.replace("/", "-")), BODY, expected.guards)
        await store.purge("canary")
        assert await all_keys(store) == ["canary-longer"]

    @pytest.mark.parametrize("name", ODD_KEYS)
    async def test_odd_keys_are_kept_byte_for_byte(self, store: Store, expected: Expected, name: str) -> None:
        key = ODD_KEYS[name]
        assert (store.refuses(key) is not None) is (name in expected.lost_keys)
        if name in expected.lost_keys:
            return
        if name in expected.refused_keys:
            with pytest.raises(ObjectError) as caught:
                await store.put(upload_of(BODY, key), BODY, expected.guards)
            assert str(caught.value).isprintable()
            return
        await store.put(upload_of(BODY, key), BODY, expected.guards)
        if name in expected.altered_keys:
            assert await all_keys(store) != [key] or (await stands(store, key)).size != len(BODY)
            return
        assert await all_keys(store) == [key]
        assert (await stands(store, key)).size == len(BODY)
        assert await content(store, key) == BODY
        if name not in expected.uncopied_keys:
            await store.copy(key, "copy.jpg", (await stands(store, key)).etag)
            assert await content(store, "copy.jpg") == BODY
            await store.delete("copy.jpg")
        await store.delete(key)
        assert await all_keys(store) == []

    async def test_the_probe_names_keys_that_are_altered(self, store: Store, expected: Expected) -> None:
        probe = Probe(store, "to/")
        found = await probe.run()
        assert set(found.alters) == {ODDITIES[name] for name in expected.altered_keys}
        for name in expected.altered_keys:
            assert found.refuses(ODD_KEYS[name])
        assert await all_keys(store) == []

    @pytest.mark.parametrize("key", REFUSED_KEYS)
    def test_impossible_keys_are_refused_in_words(self, store: Store, key: str) -> None:
        assert store.refuses(key)

    async def test_listing_by_prefix_and_page(self, store: Store) -> None:
        names = [f"many/{number:04}" for number in range(1003)]
        bound = asyncio.Semaphore(32)

        async def put(key: str) -> None:
            async with bound:
                await store.put(upload_of(b"", key), b"", FREE)

        await put(names[0])  # rclone's server fails now and then when two first puts make the same folder
        await asyncio.gather(*(put(key) for key in (*names[1:], "before", "nearly")))
        pages = [page async for page in store.keys("many/")]
        assert [key for page in pages for key in page] == names
        assert max(len(page) for page in pages) <= 1000

    async def test_copy_takes_everything_along(self, store: Store, expected: Expected) -> None:
        await store.put(upload_of(BODY, lot="42"), BODY, expected.guards)
        etag = (await stands(store, "photos/one.jpg")).etag
        await store.copy("photos/one.jpg", "backup/one.jpg", etag)
        standing = await stands(store, "backup/one.jpg")
        assert (standing.content_type, standing.metadata["lot"]) == ("image/jpeg", "42")
        assert await content(store, "backup/one.jpg") == BODY
        await store.put(upload_of(OTHER), OTHER, FREE)
        if expected.conditional_copy:
            with pytest.raises(Changed):
                await store.copy("photos/one.jpg", "backup/two.jpg", etag)
            assert await store.head("backup/two.jpg") is None
        with pytest.raises(Gone):
            await store.copy("absent.jpg", "backup/three.jpg", etag)

    async def test_multipart(self, store: Store, expected: Expected) -> None:
        pieces = [b"a" * PART, b"b" * PART, b"the end"]
        upload, upload_id, parts = await self.send_parts(store, expected.part_digest, pieces, order=(2, 1, 3))
        assert await store.head(upload.key) is None
        answer = await store.complete(upload, upload_id, parts, expected.guards)
        assert isinstance(answer, Placed)
        standing = await stands(store, upload.key)
        assert (standing.size, standing.content_type, standing.put_id) == (2 * PART + 7, "image/jpeg", "ledger/1")
        assert standing.etag == answer.etag
        assert standing.sha256 in (None, hashlib.sha256(b"".join(pieces)).digest())
        assert await content(store, upload.key) == b"".join(pieces)
        if expected.forgets_uploads:
            with pytest.raises(Gone):
                await store.parts(upload.key, upload_id)

    async def test_parts_are_told(self, store: Store, expected: Expected) -> None:
        upload, upload_id, sent = await self.send_parts(store, expected.part_digest, [b"a" * PART, b"b" * 100])
        told = await store.parts(upload.key, upload_id)
        assert [(part.number, part.size) for part in told] == [(1, PART), (2, 100)]
        for part, known in zip(told, sent, strict=True):
            assert part.etag == known.etag
            assert part.sha256 == (known.sha256 if expected.tells_part_checksums else None)
        # Who was begun with checksums must name them, so what is not told is sent again by whoever goes on.
        parts = told if expected.tells_part_checksums else sent
        assert isinstance(await store.complete(upload, upload_id, parts, expected.guards), Placed)

    async def test_a_part_may_be_sent_again(self, store: Store, expected: Expected) -> None:
        upload, upload_id, _ = await self.send_parts(store, expected.part_digest, [b"a" * 100])
        again = await store.put_part(upload.key, upload_id, 1, b"a" * 100, sha256_of(b"a" * 100), expected.part_digest)
        await store.complete(upload, upload_id, [again], expected.guards)
        assert await content(store, upload.key) == b"a" * 100

    @pytest.mark.parametrize("digest", list(Digest))
    async def test_a_wrong_digest_of_a_part(self, store: Store, expected: Expected, digest: Digest) -> None:
        upload = replace(upload_of(BODY), size=None, sha256=None)
        upload_id = await store.begin(upload, digest)
        assert await store.checks(upload.key, digest, upload_id) is (digest in expected.part_digests)
        await store.abort(upload.key, upload_id)

    async def test_a_right_digest_of_a_part(self, store: Store, expected: Expected) -> None:
        for digest in Digest:
            if digest.kind is Digest.SHA256 and not expected.summed_parts:
                continue
            upload = replace(upload_of(BODY, f"{digest}.jpg"), size=None, sha256=None)
            upload_id = await store.begin(upload, digest)
            part = await store.put_part(upload.key, upload_id, 1, BODY, sha256_of(BODY), digest)
            await store.complete(upload, upload_id, [part], Guards(absent=False, digest=digest))
            assert await content(store, upload.key) == BODY

    async def test_completing_over_something(self, store: Store, expected: Expected) -> None:
        await store.put(upload_of(OTHER), OTHER, expected.guards)
        upload, upload_id, parts = await self.send_parts(store, expected.part_digest, [BODY])
        answer = await store.complete(upload, upload_id, parts, ABSENT)
        assert isinstance(answer, Taken) is expected.conditional_complete
        assert await content(store, upload.key) == (OTHER if expected.conditional_complete else BODY)
        if isinstance(answer, Taken):
            assert len(await store.parts(upload.key, upload_id)) == 1
            await store.abort(upload.key, upload_id)

    async def test_an_object_of_parts_is_replaced_and_deleted_by_the_etag_that_it_has(
        self, store: Store, expected: Expected
    ) -> None:
        for body in (BODY, OTHER):
            upload, upload_id, parts = await self.send_parts(store, expected.part_digest, [body])
            standing = await store.head(upload.key)
            guards = Guards(absent=False, digest=expected.part_digest, replace=standing.etag if standing else None)
            assert isinstance(await store.complete(upload, upload_id, parts, guards), Placed)
        assert await content(store, upload.key) == OTHER
        await store.delete(upload.key, None, (await stands(store, upload.key)).etag)
        assert await store.head(upload.key) is None

    async def test_an_aborted_upload_is_gone(self, store: Store, expected: Expected) -> None:
        upload, upload_id, _ = await self.send_parts(store, expected.part_digest, [BODY])
        await store.abort(upload.key, upload_id)
        await store.abort(upload.key, upload_id)
        with pytest.raises(Gone):
            await store.parts(upload.key, upload_id)
        assert await store.open_uploads(upload.key) == []
        assert await store.head(upload.key) is None

    async def test_a_bucket_that_never_saw_an_upload_has_none_open(self, store: Store) -> None:
        assert await store.open_uploads("photos/a.jpg") == []

    async def test_open_uploads_are_those_of_one_key(self, store: Store) -> None:
        mine = [await store.begin(upload_of(BODY, "photos/a.jpg")) for _ in range(2)]
        other = await store.begin(upload_of(BODY, "photos/a.jpg.bak"))
        found = await store.open_uploads("photos/a.jpg")
        assert sorted(upload_id for upload_id, _ in found) == sorted(mine)
        assert await store.open_uploads("photos/b.jpg") == []
        for upload_id in mine:
            await store.abort("photos/a.jpg", upload_id)
        await store.abort("photos/a.jpg.bak", other)

    async def test_metadata_that_does_not_fit(self, store: Store, expected: Expected) -> None:
        with pytest.raises(Invalid, match="metadata"):
            await store.put(upload_of(BODY, note="x" * 2048), BODY, expected.guards)

    async def test_close_twice(self, store: Store) -> None:
        await store.close()
        await store.close()

    async def send_parts(
        self, store: Store, digest: Digest, pieces: list[bytes], order: tuple[int, ...] = ()
    ) -> tuple[Upload, str, list[Part]]:
        """Opens an upload and sends its parts, in `order` of their numbers."""
        upload = replace(upload_of(b""), size=None, sha256=None)
        upload_id = await store.begin(upload, digest)
        parts = [
            await store.put_part(
                upload.key, upload_id, number, pieces[number - 1], sha256_of(pieces[number - 1]), digest
            )
            for number in order or range(1, len(pieces) + 1)
        ]
        return upload, upload_id, sorted(parts, key=lambda part: part.number)


def sha256_of(body: bytes) -> bytes:
    """The SHA-256, raw."""
    return hashlib.sha256(body).digest()
