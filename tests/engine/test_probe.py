"""What the probe takes for the strongest way that a destination honours."""

import pytest
from msgspec.structs import replace

from migrator.core.errors import Fatal, Forbidden, Invalid, ObjectError
from migrator.core.model import Side
from migrator.core.objects import Digest, Guards, Placed, Taken, Upload
from migrator.core.oddities import Oddity
from migrator.engine.probe import Probe, sweep
from tests.engine.memory_store import MemoryStore

KINDS = (Digest.SHA256, Digest.MD5, Digest.SIGNED)


async def test_a_digest_alone_is_taken_where_it_is_checked() -> None:
    found = await Probe(MemoryStore(checked=(*KINDS, Digest.SHA256_ONLY)), "").run()
    assert (found.digest, found.part_digest) == (Digest.SHA256_ONLY, Digest.SHA256_ONLY)


async def test_a_digest_that_is_ignored_is_not_taken() -> None:
    found = await Probe(MemoryStore(checked=(Digest.SIGNED,)), "").run()
    assert (found.digest, found.part_digest) == (Digest.SIGNED, Digest.SIGNED)


@pytest.mark.parametrize("kind", [Forbidden, Fatal])
async def test_where_no_signature_may_leave_the_payload_out(kind: type[ObjectError]) -> None:
    class Strict(MemoryStore):
        async def checks(self, key: str, digest: Digest, upload_id: str | None = None) -> bool:
            if digest.only:
                raise kind("a policy wants x-amz-content-sha256", side=Side.DESTINATION)
            return await super().checks(key, digest, upload_id)

    found = await Probe(Strict(checked=KINDS), "").run()
    assert (found.digest, found.part_digest) == (Digest.SHA256, Digest.SHA256)


async def test_what_a_killed_probe_left_is_removed() -> None:
    class Killed(MemoryStore):
        async def purge(self, key: str) -> None:
            raise Fatal(f"killed before it removed {key}", side=Side.DESTINATION)

    killed, store = Killed(), MemoryStore()
    probe = Probe(killed, "to/")
    with pytest.raises(Fatal):
        await probe.run()
    assert len(killed.objects) == 4
    store.objects = killed.objects
    await sweep(store, probe.key)
    assert not store.objects


async def test_a_server_that_puts_odd_keys_elsewhere() -> None:
    class Folders(MemoryStore):
        async def put(self, upload: Upload, body: bytes, guards: Guards) -> Placed | Taken:
            key = upload.key.replace("//", "/")
            return await super().put(replace(upload, key=key), b"" if key.endswith("/") else body, guards)

    store = Folders()
    probe = Probe(store, "to/")
    found = await probe.run()
    assert found.alters == (Oddity.DOUBLE_SLASH, Oddity.FINAL_SLASH)
    assert found.refuses("a//b")
    assert found.refuses("a/")
    assert found.refuses("a\\b") is None
    assert [one.detail for one in probe.findings if one.what == "keys"] == [
        "those with // or / at the end are not kept as they are: refused"
    ]
    assert not store.objects


async def test_a_server_that_refuses_odd_keys_says_so_itself() -> None:
    class Strict(MemoryStore):
        async def put(self, upload: Upload, body: bytes, guards: Guards) -> Placed | Taken:
            if "//" in upload.key:
                raise Invalid("no such key here", side=Side.DESTINATION)
            return await super().put(upload, body, guards)

    assert (await Probe(Strict(), "").run()).alters == ()
