"""The store's contract on every S3 server of this machine; `make conformance` runs it on Ceph too."""

from collections.abc import AsyncIterator

import pytest

from migrator.core.config import Destination, Transfer
from migrator.core.objects import Digest
from migrator.stores.s3 import S3Store
from tests.servers.s3 import S3Server

from .contract import ALL_CHECKED, Expected, StoreContract

SERVERS = {
    "moto": Expected(
        atomic_put=False,
        conditional_copy=False,
        digests=frozenset(),
        part_digests=frozenset(),
        tells_part_checksums=False,
        refused_keys=frozenset({"control"}),
    ),
    "rclone": Expected(
        conditional_put=False,
        conditional_replace=False,
        conditional_complete=False,
        conditional_copy=False,
        digests=frozenset({Digest.MD5, Digest.MD5_ONLY}),
        part_digests=frozenset({Digest.MD5, Digest.MD5_ONLY}),
        tells_part_checksums=False,
        refused_keys=frozenset({"double slash"}),
        altered_keys=frozenset({"trailing slash"}),
        uncopied_keys=frozenset({"longest in UTF-8"}),
    ),
    "ceph16": Expected(
        conditional_complete=False,
        conditional_copy=False,
        digests=frozenset({Digest.MD5, Digest.MD5_ONLY, Digest.SIGNED}),
        part_digests=frozenset({Digest.MD5, Digest.MD5_ONLY, Digest.SIGNED}),
        keeps_checksum=False,
        tells_part_checksums=False,
    ),
    "ceph20": Expected(),
    "localstack": Expected(digests=ALL_CHECKED - {Digest.SIGNED}, part_digests=ALL_CHECKED - {Digest.SIGNED}),
    "swift": Expected(
        conditional_put=False,
        refuses_conditions=True,
        conditional_replace=False,
        summed_parts=False,
        digests=frozenset({Digest.MD5, Digest.MD5_ONLY, Digest.SIGNED}),
        part_digests=frozenset({Digest.MD5, Digest.MD5_ONLY, Digest.SIGNED}),
        keeps_checksum=False,
        tells_part_checksums=False,
        forgets_uploads=False,
    ),
    "seaweedfs": Expected(
        digests=frozenset({Digest.SHA256, Digest.SHA256_ONLY, Digest.MD5, Digest.MD5_ONLY}),
        part_digests=frozenset({Digest.SHA256, Digest.SHA256_ONLY, Digest.MD5, Digest.MD5_ONLY}),
        tells_part_checksums=False,
        altered_keys=frozenset({"quotes", "double slash", "trailing slash"}),
    ),
}
"""What was seen of each; tests/servers/README.md and docs/reference/servers.md say it in words."""


@pytest.fixture
def expected(server: S3Server) -> Expected:
    """What this server honours."""
    return SERVERS[server.name]


@pytest.fixture
async def store(server: S3Server) -> AsyncIterator[S3Store]:
    """A store on a bucket of its own."""
    destination = Destination(bucket=server.new_bucket(), endpoint_url=server.endpoint)
    store = await S3Store.open(destination, Transfer(concurrency=16))
    yield store
    await store.close()


class TestS3Store(StoreContract):
    """Every server, every promise."""
