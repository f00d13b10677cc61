"""`setup` of a bucket on real servers: it says what would change, changes that, and changes nothing the second time."""

import asyncio
import secrets
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from migrator.core.config import Destination
from migrator.core.errors import PreflightError
from migrator.setup.bucket import apply, changes, inspect, prepare
from tests.faults import wire
from tests.faults.actions import s3_error
from tests.faults.proxy import Forward, Proxy, Rule
from tests.faults.wire import Answer
from tests.servers.s3 import S3Server, ServerMissing, ceph, free_port
from tests.servers.scripted import Reply, Request, error_document, scripted


def destination(server: S3Server, bucket: str = "", **more: Any) -> Destination:
    """A destination on a bucket that is not there yet."""
    return Destination(bucket=bucket or f"new-{secrets.token_hex(6)}", endpoint_url=server.endpoint, **more)


def test_a_new_bucket_is_made_right_once(moto_server: S3Server) -> None:
    wanted, client = destination(moto_server), moto_server.client()
    name, planned = prepare(wanted, versioning=True, dry_run=True)
    assert name == wanted.bucket
    assert not any(change.applied for change in planned)
    assert name not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}, "a dry run changes nothing"

    name, done = prepare(wanted, versioning=True)
    assert [change.what for change in done] == [change.what for change in planned]
    assert all(change.applied for change in done)
    assert all(client.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values())
    assert client.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    assert client.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    [rule] = client.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}

    assert prepare(wanted, versioning=True) == (name, [])


def test_other_lifecycle_rules_stay(moto_server: S3Server) -> None:
    bucket, client = moto_server.new_bucket(), moto_server.client()
    theirs = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}
    narrow = {
        "ID": "narrow",
        "Status": "Enabled",
        "Filter": {"Prefix": "tmp/"},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    }
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [theirs, narrow]})
    prepare(destination(moto_server, bucket))
    rules = client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert rules[:2] == [theirs, narrow]
    assert len(rules) == 3
    prepare(destination(moto_server, bucket))
    assert client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules


def test_a_rule_of_theirs_that_does_it_is_enough(moto_server: S3Server) -> None:
    bucket, client = moto_server.new_bucket(), moto_server.client()
    rule = {
        "ID": "theirs",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3},
    }
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    _, done = prepare(destination(moto_server, bucket))
    assert "incomplete uploads" not in [change.what for change in done]


def test_encryption_of_theirs_stays_and_ours_is_as_configured(moto_server: S3Server) -> None:
    client = moto_server.client()
    name, _ = prepare(destination(moto_server, sse="aws:kms", kms_key_id="key-1"))
    [rule] = client.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "key-1"}
    assert prepare(destination(moto_server, name)) == (name, [])


def test_looking_whether_encryption_works_leaves_nothing_behind(moto_server: S3Server) -> None:
    bucket, client = moto_server.new_bucket(), moto_server.client()
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    _, done = prepare(destination(moto_server, bucket))
    assert "default encryption" in [change.what for change in done if change.applied]
    listed = client.list_object_versions(Bucket=bucket)
    assert not listed.get("Versions")
    assert not listed.get("DeleteMarkers")


def test_encryption_that_the_server_cannot_carry_out_is_taken_back() -> None:
    try:
        with ceph(20) as server:
            name, done = prepare(destination(server))
            [left] = [change for change in done if change.what == "default encryption"]
            assert not left.applied
            assert left.note == "with it every object is refused (400 InvalidArgument), so it was taken back"
            server.client().put_object(Bucket=name, Key="key", Body=b"1")
            server.client().delete_object(Bucket=name, Key="key")
            server.client().delete_bucket(Bucket=name)
    except ServerMissing as missing:
        pytest.skip(str(missing))


def test_encryption_that_breaks_every_put_is_taken_back(moto_server: S3Server) -> None:
    client, bucket = moto_server.client(), moto_server.new_bucket()

    async def without_a_key_store(request: wire.Request, forward: Forward) -> Answer:
        try:
            client.get_bucket_encryption(Bucket=bucket)
        except ClientError:
            return await forward(request)
        return s3_error(500, "InternalError")

    with Proxy(
        f"127.0.0.1:{moto_server.port}", rules=[Rule(without_a_key_store, "PUT", "canary", times=None)]
    ) as proxy:
        wanted = Destination(bucket=bucket, endpoint_url=proxy.url)
        _, done = prepare(wanted)
    [left] = [change for change in done if change.what == "default encryption"]
    assert left.note == "with it every object is refused (500 InternalError), so it was taken back"
    with pytest.raises(ClientError, match="NotFound"):
        client.get_bucket_encryption(Bucket=bucket)


def test_public_objects_are_not_blocked(moto_server: S3Server) -> None:
    _, done = prepare(destination(moto_server, acl="public-read"))
    assert "public access" not in [change.what for change in done]


def test_a_bucket_in_its_region(moto_server: S3Server) -> None:
    name, done = prepare(destination(moto_server, region="eu-west-3"))
    assert done[0].applied
    assert moto_server.client().get_bucket_location(Bucket=name)["LocationConstraint"] == "eu-west-3"


def test_inspect_changes_and_apply_are_steps_of_their_own(moto_server: S3Server) -> None:
    wanted = destination(moto_server, moto_server.new_bucket())
    todo = changes(inspect(wanted), wanted)
    assert [change.what for change in todo] == ["public access", "default encryption", "incomplete uploads"]
    assert apply(todo[0]).applied
    assert [change.what for change in changes(inspect(wanted), wanted)] == ["default encryption", "incomplete uploads"]
    assert todo[1].describe() == "default encryption: none -> AES256"


def test_a_server_without_any_of_these(rclone_server: S3Server, tmp_path: Path) -> None:
    wanted = destination(rclone_server)
    name, done = prepare(wanted, versioning=True)
    assert done[0].applied
    assert all("not offered" in change.describe() for change in done[1:])
    client = rclone_server.client()
    assert name in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}, "and the empty bucket still stands"
    (tmp_path / "one").write_bytes(b"1")
    client.upload_file(str(tmp_path / "one"), name, "one")
    again, rest = prepare(wanted, versioning=True)
    assert again == name
    assert not any(change.applied for change in rest)
    assert client.get_object(Bucket=name, Key="one")["Body"].read() == b"1"


def test_nobody_answers() -> None:
    nowhere = Destination(bucket="photos", endpoint_url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(PreflightError):
        prepare(nowhere)


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(PreflightError, match="no AWS credentials"):
        prepare(Destination(bucket="photos"))


OWN = b"<ListAllMyBucketsResult><Buckets><Bucket><Name>mine-1</Name></Bucket></Buckets></ListAllMyBucketsResult>"


class TestFallback:
    """Names that other people hold, on a server that plays AWS."""

    async def chosen(
        self, names: tuple[str, ...], heads: dict[str, int], creates: dict[str, Reply]
    ) -> tuple[str, list[str]]:
        """The bucket that `prepare` takes, and the names that it tried to create."""
        tried: list[str] = []

        def script(request: Request) -> Reply:
            name, _, query = request.target.strip("/").partition("?")
            if not name.strip("/"):
                return Reply(200, OWN)
            if request.method == "HEAD":
                return Reply(heads[name])
            if request.method == "PUT" and not query:
                tried.append(name)
                heads[name] = 200
                return creates.get(name, Reply(200))
            return Reply(501, error_document("NotImplemented"))

        async with scripted(script) as server:
            wanted = Destination(bucket=names[0], fallback_buckets=names[1:], endpoint_url=server.endpoint)
            bucket, _ = await asyncio.to_thread(prepare, wanted)
        return bucket, tried

    async def test_the_first_that_is_ours(self) -> None:
        assert await self.chosen(("theirs", "mine-1"), {"theirs": 403, "mine-1": 200}, {}) == ("mine-1", [])

    async def test_one_that_lets_us_in_is_still_theirs(self) -> None:
        assert await self.chosen(("theirs", "mine-1"), {"theirs": 200, "mine-1": 200}, {}) == ("mine-1", [])

    async def test_one_in_another_region_is_theirs(self) -> None:
        assert await self.chosen(("theirs", "mine-1"), {"theirs": 301, "mine-1": 200}, {}) == ("mine-1", [])

    async def test_taken_between_looking_and_creating(self) -> None:
        creates = {"raced": Reply(409, error_document("BucketAlreadyExists"))}
        heads = {"theirs": 403, "raced": 404, "mine-1": 200}
        assert await self.chosen(("theirs", "raced", "mine-1"), heads, creates) == ("mine-1", ["raced"])

    async def test_ours_in_another_region_is_named(self) -> None:
        with pytest.raises(PreflightError, match="mine-1"):
            await self.chosen(("mine-1",), {"mine-1": 301}, {})

    async def test_none_can_be_had(self) -> None:
        with pytest.raises(PreflightError, match=r"theirs belongs to somebody else.*other belongs to somebody else"):
            await self.chosen(("theirs", "other"), {"theirs": 403, "other": 403}, {})


@pytest.mark.parametrize("status", [200, 404])
async def test_what_stands_before_the_server_is_not_taken_for_it(status: int) -> None:
    async with scripted(lambda _: Reply(status, b"<html>Please log in</html>", strange=True)) as gateway:
        wanted = Destination(bucket="photos", endpoint_url=gateway.endpoint)
        with pytest.raises(PreflightError, match=f"{status}, but from no S3 server .*: Please log in"):
            await asyncio.to_thread(prepare, wanted, versioning=False)
