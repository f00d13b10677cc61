"""What every Copier must do. One is tested by a subclass of CopierContract with the fixtures `world` and `expected`.

What a server does not honour is said in `Expected` and asserted as such: the suite documents reality.
"""

from dataclasses import dataclass

import pytest

from migrator.core.errors import Changed, Gone, Invalid, ObjectError, Transient
from migrator.core.model import MIB, Side
from migrator.core.objects import COPIED, PUT_ID, Capabilities, Copied, Digest, Guards, Placed, Taken, Upload
from migrator.core.ports import Copier, Store
from migrator.engine.copy_probe import CopyProbe
from migrator.engine.probe import Probe

from .contract import BODY, FREE, OTHER, all_keys, content, upload_of

HEADERS = {
    "cache-control": "public, max-age=31536000",
    "content-disposition": 'attachment; filename="a.jpg"',
    "content-encoding": "identity",
    "content-language": "de",
}
TAGS = {"lot": "42 + 43", "house": "a/b=c"}
PART = 5 * MIB


@dataclass(frozen=True, slots=True)
class Expected:
    """What one server makes of copies; the defaults are those that all of them share."""

    pinned: bool = True
    absent: bool = False
    refuses_conditions: bool = False
    """A copy under a condition on its target is refused in words."""
    spares: bool = True
    """What a copy was refused for is whole afterwards."""
    parts: bool = True
    tags: bool = True
    retags: bool = True
    """A copy may be given other tags."""
    forgets: bool = True
    """What a copy that is told does not hear of is gone."""


@dataclass(frozen=True, slots=True)
class World:
    """A bucket to copy from, a bucket to copy into, and what copies."""

    origin: Store
    target: Store
    copier: Copier
    origin_bucket: str
    target_bucket: str

    def location(self, key: str) -> str:
        return f"s3://{self.origin_bucket}/{key}"

    async def stand(self, upload: Upload, body: bytes) -> str:
        """An object to copy; returns its ETag."""
        placed = await self.origin.put(upload, body, FREE)
        assert isinstance(placed, Placed)
        return placed.etag

    async def copy(
        self, etag: str, target: Upload | str, key: str = "photos/one.jpg", *, absent: bool = False
    ) -> object:
        return await self.copier.copy("source", self.location(key), etag, target, absent)


def rich(body: bytes, key: str = "photos/one.jpg", *, tags: bool = True) -> Upload:
    """An object that carries everything that one can carry."""
    plain = upload_of(body, key, lot="42")
    return Upload(key, plain.size, plain.sha256, "image/webp", plain.metadata, TAGS if tags else None, HEADERS)


class CopierContract:
    """Fill in the fixtures `world` (both buckets empty) and `expected`."""

    async def test_what_a_bucket_says_of_an_object(self, world: World, expected: Expected) -> None:
        etag = await world.stand(rich(BODY, tags=expected.tags), BODY)
        found = await world.copier.describe("source", world.location("photos/one.jpg"))
        assert (found.size, found.etag, found.content_type) == (len(BODY), etag, "image/webp")
        assert found.description.headers == HEADERS
        assert found.description.metadata["lot"] == "42"
        assert found.description.metadata[PUT_ID] == "ledger/1"
        assert found.description.tags == (TAGS if expected.tags else None)
        assert found.modified is not None
        assert await world.copier.standing("photos/one.jpg") is None

    async def test_a_copy_takes_everything_along(self, world: World, expected: Expected) -> None:
        etag = await world.stand(rich(BODY, tags=expected.tags), BODY)
        original = await world.copier.describe("source", world.location("photos/one.jpg"))
        answer = await world.copy(etag, "new/one.jpg")
        assert isinstance(answer, Copied)
        assert answer.etag == etag
        found = await world.copier.standing("new/one.jpg")
        assert found
        assert (found.size, found.etag, found.content_type) == (len(BODY), etag, "image/webp")
        assert found.description.headers == original.description.headers
        assert found.description.metadata.items() >= original.description.metadata.items()
        assert found.description.tags == original.description.tags
        assert answer.sha256 in (None, upload_of(BODY).sha256)
        assert await content(world.target, "new/one.jpg") == BODY

    async def test_a_copy_carries_what_it_is_told(self, world: World, expected: Expected) -> None:
        etag = await world.stand(rich(BODY, tags=expected.tags), BODY)
        told = Upload(
            "new/one.jpg",
            len(BODY),
            None,
            "image/png",
            {PUT_ID: "ledger/7", COPIED: etag, "name": "Größe"},
            {"lot": "7"} if expected.tags else None,
            {"cache-control": "no-store"},
        )
        assert isinstance(await world.copy(etag, told), Copied)
        found = await world.copier.standing("new/one.jpg")
        assert found
        assert found.content_type == "image/png"
        assert found.description.headers["cache-control"] == "no-store"
        assert found.description.metadata[PUT_ID] == "ledger/7"
        assert found.description.metadata[COPIED] == etag
        assert "name" in found.description.metadata
        assert (found.description.tags == {"lot": "7"}) is (expected.tags and expected.retags)
        assert ("content-language" not in found.description.headers) is expected.forgets
        assert ("lot" not in found.description.metadata) is expected.forgets
        assert await content(world.target, "new/one.jpg") == BODY

    async def test_only_the_version_that_was_meant_is_copied(self, world: World, expected: Expected) -> None:
        etag = await world.stand(rich(BODY, tags=expected.tags), BODY)
        now = await world.stand(rich(OTHER, tags=expected.tags), OTHER)
        if expected.pinned:
            with pytest.raises(Changed) as caught:
                await world.copy(etag, "new/one.jpg")
            assert caught.value.side is Side.SOURCE
            assert await world.target.head("new/one.jpg") is None
        else:
            answer = await world.copy(etag, "new/one.jpg")
            assert isinstance(answer, Copied)
            assert answer.etag == now  # by which the engine sees that it was another one

    async def test_a_copy_over_something(self, world: World, expected: Expected) -> None:
        etag = await world.stand(rich(BODY, tags=expected.tags), BODY)
        await world.target.put(upload_of(OTHER, "new/one.jpg"), OTHER, FREE)
        if expected.refuses_conditions:
            with pytest.raises(Invalid, match="501"):
                await world.copy(etag, "new/one.jpg", absent=True)
            return
        answer = await world.copy(etag, "new/one.jpg", absent=True)
        assert isinstance(answer, Taken) is expected.absent
        if expected.spares:
            assert await content(world.target, "new/one.jpg") == (OTHER if expected.absent else BODY)

    async def test_there_is_nothing_to_copy(self, world: World) -> None:
        with pytest.raises(Gone) as caught:
            await world.copy("d41d8cd98f00b204e9800998ecf8427e", "new/one.jpg")
        assert caught.value.side is Side.SOURCE
        with pytest.raises(Gone):
            await world.copier.describe("source", world.location("photos/one.jpg"))
        assert await world.target.head("new/one.jpg") is None

    @pytest.mark.parametrize(
        "key", ["a+b %2F?c&d=e;f", "café/\U0001f4f7.jpg", "'quoted' \"twice\".jpg", "a=b@c:d,e!f(g)*.jpg"]
    )
    async def test_odd_keys(self, world: World, key: str) -> None:
        etag = await world.stand(rich(BODY, key, tags=False), BODY)
        assert isinstance(await world.copy(etag, f"new/{key}", key), Copied)
        assert await all_keys(world.target) == [f"new/{key}"]
        assert await content(world.target, f"new/{key}") == BODY

    async def test_parts(self, world: World, expected: Expected) -> None:
        body = b"a" * PART + b"b" * PART + b"the end"
        etag = await world.stand(rich(body, tags=expected.tags), body)
        upload = Upload("new/large.jpg", None, None, "image/jpeg", {PUT_ID: "ledger/1"})
        upload_id = await world.target.begin(upload, None)
        spans = [(0, PART - 1), (PART, 2 * PART - 1), (2 * PART, len(body) - 1)]
        location = world.location("photos/one.jpg")
        if not expected.parts:
            with pytest.raises(Transient):
                await world.copier.copy_part("source", location, etag, upload.key, upload_id, 1, spans[0])
            await world.target.abort(upload.key, upload_id)
            return
        for number, span in ((2, spans[1]), (1, spans[0]), (3, spans[2])):
            part = await world.copier.copy_part("source", location, etag, upload.key, upload_id, number, span)
            assert (part.number, part.size) == (number, span[1] - span[0] + 1)
        parts = await world.target.parts(upload.key, upload_id)
        assert [(part.number, part.size) for part in parts] == [(1, PART), (2, PART), (3, 7)]
        assert isinstance(await world.target.complete(upload, upload_id, parts, Guards(False, Digest.SIGNED)), Placed)
        assert await content(world.target, upload.key) == body

    async def test_a_part_of_an_upload_that_is_gone(self, world: World, expected: Expected) -> None:
        etag = await world.stand(rich(BODY, tags=expected.tags), BODY)
        upload_id = await world.target.begin(upload_of(BODY, "new/one.jpg"))
        await world.target.abort("new/one.jpg", upload_id)
        with pytest.raises(ObjectError):  # moto: 500
            await world.copier.copy_part(
                "source", world.location("photos/one.jpg"), etag, "new/one.jpg", upload_id, 1, None
            )
        assert await world.target.head("new/one.jpg") is None

    async def test_the_probe_finds_out_and_leaves_nothing(self, world: World, expected: Expected) -> None:
        known = await Probe(world.target, "to/").run()
        probe = CopyProbe(world.target, world.copier, world.target_bucket, "to/", known)
        found = await probe.run()
        assert copying_of(found) == (True, True, expected.pinned, expected.absent, expected.parts)
        assert await all_keys(world.target) == []
        assert [finding.what for finding in probe.findings] == ["server-side copy"]

    async def test_close_twice(self, world: World) -> None:
        await world.copier.close()
        await world.copier.close()


def copying_of(found: Capabilities) -> tuple[bool | None, bool, bool, bool, bool]:
    """What the probe found about copies."""
    return found.copies, found.copy_keeps, found.copy_pinned, found.copy_absent, found.copy_parts
