"""What the probe takes for the strongest way that a destination honours."""

import pytest

from migrator.core.errors import Fatal, Forbidden, ObjectError
from migrator.core.model import Side
from migrator.core.objects import Digest
from migrator.engine.probe import Probe
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
