"""The settings of a bucket: how each is looked at, what it should be, how it is put and said."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError
from msgspec import Struct

from migrator.core.config import Destination
from migrator.core.model import CANARY, RESERVED_PREFIX
from migrator.setup import lifecycle

NOT_OFFERED = "not offered by this server"
_BLOCKED = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


class Left(Exception):
    """The setting stays as it is; says why."""


class Setting(Struct, frozen=True):
    """One setting. `look` raises LookupError when the answer is about something else: the server has no such thing.

    `wanted` turns what is into what should be, None when that is so already; `nothing` is the state of a new bucket.
    """

    name: str
    nothing: Any
    look: Callable[[Any, str], Any]
    wanted: Callable[[Any], Any | None]
    put: Callable[[Any, str, Any], None]
    words: Callable[[Any], str]


def settings_of(destination: Destination, *, versioning: bool, keep: float | None = None) -> list[Setting]:
    """The settings that this destination cares for; `keep` as in `lifecycle.recommended`."""
    found = [_encryption(destination), _lifecycle(destination, keep)]
    if not destination.acl.startswith("public"):  # objects that are public on purpose would be refused
        found.insert(0, _public_access())
    if versioning:
        found.append(_versioning())
    return found


def _public_access() -> Setting:
    def look(client: Any, bucket: str) -> dict[str, bool]:
        answer = _ask(client.get_public_access_block, bucket, "NoSuchPublicAccessBlockConfiguration")
        return dict(answer["PublicAccessBlockConfiguration"]) if answer else {}

    def put(client: Any, bucket: str, wanted: dict[str, bool]) -> None:
        client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=wanted)

    return Setting(
        "public access",
        nothing={},
        look=look,
        wanted=lambda seen: None if all(seen.get(name) for name in _BLOCKED) else dict.fromkeys(_BLOCKED, True),
        put=put,
        words=lambda seen: "blocked" if all(seen.get(name) for name in _BLOCKED) else "not blocked",
    )


def _encryption(destination: Destination) -> Setting:
    algorithm = destination.sse or "AES256"
    default = {"SSEAlgorithm": algorithm} | (
        {"KMSMasterKeyID": destination.kms_key_id} if destination.kms_key_id else {}
    )

    def look(client: Any, bucket: str) -> list[dict[str, Any]]:
        answer = _ask(client.get_bucket_encryption, bucket, "ServerSideEncryptionConfigurationNotFoundError")
        return list(answer["ServerSideEncryptionConfiguration"].get("Rules", ())) if answer else []

    def put(client: Any, bucket: str, wanted: list[dict[str, Any]]) -> None:
        client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": wanted})
        key = f"{destination.prefix}{RESERVED_PREFIX}canary/{secrets.token_hex(8)}"
        refused = _refusal_of_canary(client, bucket, key)
        # Without a key store, Ceph and SeaweedFS take the setting, and from then on refuse every object (400, 500).
        if refused is None or status_of(refused) in (401, 403) or not look(client, bucket):
            return
        client.delete_bucket_encryption(Bucket=bucket)
        if _refusal_of_canary(client, bucket, key):
            raise refused  # with it or without
        raise Left(f"with it every object is refused ({status_of(refused)} {code_of(refused)}), so it was taken back")

    def words(rules: list[dict[str, Any]]) -> str:
        names = [rule.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm", "") for rule in rules]
        return ", ".join(filter(None, names)) or "none"

    return Setting(
        "default encryption",
        nothing=[],
        look=look,
        wanted=lambda rules: None if rules else [{"ApplyServerSideEncryptionByDefault": default}],
        put=put,
        words=words,
    )


def _refusal_of_canary(client: Any, bucket: str, key: str) -> ClientError | None:
    """Why a small object cannot be put; where it can, it is taken away again, its version too."""
    try:
        version = client.put_object(Bucket=bucket, Key=key, Body=CANARY).get("VersionId")
    except ClientError as error:
        return error
    with suppress(ClientError):
        client.delete_object(Bucket=bucket, Key=key, **({"VersionId": version} if version else {}))
    return None


def _lifecycle(destination: Destination, keep: float | None) -> Setting:
    """Abandoned uploads cost money and are invisible. Other rules of the bucket stay as they are."""
    ours = lifecycle.recommended(destination.prefix, keep)

    def look(client: Any, bucket: str) -> dict[str, Any]:
        answer = _ask(client.get_bucket_lifecycle_configuration, bucket, "NoSuchLifecycleConfiguration")
        if not answer:
            return {"Rules": []}
        kept = ("Rules", "TransitionDefaultMinimumObjectSize")
        return {"Rules": answer["Rules"]} | {name: answer[name] for name in kept if name in answer}

    def wanted(seen: dict[str, Any]) -> dict[str, Any] | None:
        rules = lifecycle.merged(seen["Rules"], ours)
        return None if rules is None else seen | {"Rules": rules}

    def put(client: Any, bucket: str, wanted: dict[str, Any]) -> None:
        size = wanted.get("TransitionDefaultMinimumObjectSize")
        client.put_bucket_lifecycle_configuration(
            Bucket=bucket,
            LifecycleConfiguration={"Rules": wanted["Rules"]},
            **({"TransitionDefaultMinimumObjectSize": size} if size else {}),
        )

    def words(seen: dict[str, Any]) -> str:
        if keep is not None:
            there = len(ours) - len(lifecycle.missing(seen["Rules"], ours))
            return f"{there} of {len(ours)} rules of migrator"
        if not lifecycle.missing(seen["Rules"], ours):
            return f"aborted after {lifecycle.ABORT_DAYS} days"
        return f"kept for ever ({len(seen['Rules'])} other rules)" if seen["Rules"] else "kept for ever"

    name = "incomplete uploads" if keep is None else "lifecycle"
    return Setting(name, {"Rules": []}, look, wanted, put, words)


def _versioning() -> Setting:
    def look(client: Any, bucket: str) -> str:
        return str(client.get_bucket_versioning(Bucket=bucket).get("Status", "off"))

    def put(client: Any, bucket: str, wanted: str) -> None:
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": wanted})

    return Setting(
        "versioning",
        nothing="off",
        look=look,
        wanted=lambda status: None if status == "Enabled" else "Enabled",
        put=put,
        words=lambda status: {"Enabled": "on", "Suspended": "suspended"}.get(status, "off"),
    )


def code_of(error: ClientError) -> str:
    """What S3 calls the error; empty where it has no name."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """The HTTP status of the answer; 0 without one."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _ask(method: Callable[..., dict[str, Any]], bucket: str, nothing: str) -> dict[str, Any] | None:
    """The answer; None when the bucket has no such setting yet."""
    try:
        return method(Bucket=bucket)
    except ClientError as error:
        if code_of(error) == nothing:
            return None
        raise
