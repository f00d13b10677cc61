"""Makes the destination bucket right: inspect -> changes -> apply.

Nothing is deleted but a setting that the server has just shown: one that knows no sub-resources takes
`DELETE ?encryption` for DeleteBucket.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct, field
from msgspec.structs import replace

from migrator.clients.operator import operator_client, preflight_error
from migrator.clients.refusals import missing_permission
from migrator.core.config import Destination
from migrator.core.errors import PreflightError
from migrator.setup.bucket_settings import NOT_OFFERED, Left, Setting, code_of, settings_of, status_of
from migrator.setup.change import Change

_TAKEN = frozenset({"BucketAlreadyExists", "OperationAborted"})
_OURS = frozenset({"BucketAlreadyOwnedByYou"})
_UNKNOWN = frozenset({"NotImplemented", "MethodNotAllowed", "NotSupported", "MalformedXML"}) | _TAKEN
"""How servers say that they have no such setting; one that knows no sub-resources takes it for CreateBucket."""
_LOCATION = frozenset({"InvalidLocationConstraint", "IllegalLocationConstraintException"})


class BucketState(Struct, frozen=True):
    """What stands. `passed` says why names before this one cannot be used; `seen` has what is known of each setting."""

    bucket: str
    exists: bool
    client: Any
    passed: tuple[str, ...] = ()
    seen: Mapping[str, Any] = field(default_factory=dict)
    closed: Mapping[str, str] = field(default_factory=dict)
    """Settings that cannot be looked at, and why."""


def prepare(
    destination: Destination,
    *,
    versioning: bool = False,
    keep: float | None = None,
    dry_run: bool = False,
    done: Callable[[str, Change], None] = lambda _bucket, _change: None,
) -> tuple[str, list[Change]]:
    """Chooses the bucket and makes it right, unless `dry_run`: its name, and what was (or would be) changed.

    `keep`: also the lifecycle rules that keep so many seconds of what is overwritten. Raises PreflightError when no
    name can be used.
    """
    passed: tuple[str, ...] = ()
    while True:
        state = inspect(destination, versioning=versioning, keep=keep, passed=passed)
        todo = changes(state, destination, versioning=versioning, keep=keep)
        if dry_run:
            return state.bucket, todo
        if state.exists:
            return state.bucket, [_apply(state.bucket, change, done) for change in todo]
        try:
            created = [_apply(state.bucket, change, done) for change in todo[:1]]
        except _NameTaken:
            passed = (*state.passed, f"{state.bucket} belongs to somebody else")
            continue
        only = _only(destination, state.bucket)
        return state.bucket, created + prepare(only, versioning=versioning, keep=keep, done=done)[1]


def inspect(
    destination: Destination, *, versioning: bool = False, keep: float | None = None, passed: tuple[str, ...] = ()
) -> BucketState:
    """The first usable bucket of `bucket` and `fallback_buckets` and its settings; the first `len(passed)` are out."""
    client = operator_client(destination)
    try:
        own = _own_buckets(client)
        for bucket in (destination.bucket, *destination.fallback_buckets)[len(passed) :]:
            problem, exists = _look_at(client, bucket, own, destination.region)
            if not problem:
                state = BucketState(bucket, exists, client, passed)
                settings = settings_of(destination, versioning=versioning, keep=keep)
                return _with_settings(state, settings, destination.region) if exists else state
            passed = (*passed, problem)
    except (ClientError, BotoCoreError) as error:
        raise preflight_error(error, "SETUP", destination.bucket, destination.region) from None
    raise PreflightError(
        "no bucket can be used: " + "; ".join(passed),
        "give a name of your own in destination.bucket or fallback_buckets",
    )


def changes(
    state: BucketState, destination: Destination, *, versioning: bool = False, keep: float | None = None
) -> list[Change]:
    """What must change; nothing when all is right."""
    client, bucket = state.client, state.bucket
    found: list[Change] = []
    if not state.exists:
        found.append(
            Change(
                f"bucket {bucket}", "does not exist", f"created in {destination.region}", _creating(state, destination)
            )
        )
    for setting in settings_of(destination, versioning=versioning, keep=keep):
        if setting.name in state.closed:
            found.append(Change(setting.name, "", "", note=state.closed[setting.name]))
            continue
        seen = state.seen.get(setting.name, setting.nothing)
        wanted = setting.wanted(seen)
        if wanted is not None:
            act = _setting(setting, client, bucket, wanted) if state.exists else None
            found.append(Change(setting.name, setting.words(seen), setting.words(wanted), act))
    return found


def apply(change: Change) -> Change:
    """Carries one change out and returns it as it went: done, or with a note why the server does not have it."""
    if change.act is None:
        return change
    try:
        change.act()
    except Left as left:
        return replace(change, note=str(left))
    return replace(change, applied=True)


def _apply(bucket: str, change: Change, done: Callable[[str, Change], None]) -> Change:
    result = apply(change)
    if result.applied:
        done(bucket, result)
    return result


class _NameTaken(Exception):
    """The name went to somebody else between looking and creating, or cannot be seen by us at all."""


def _only(destination: Destination, bucket: str) -> Destination:
    return destination.model_copy(update={"bucket": bucket, "fallback_buckets": ()})


def _own_buckets(client: Any) -> set[str] | None:
    """The names of our own buckets; None when we may not ask."""
    try:
        pages = client.get_paginator("list_buckets").paginate()
        return {bucket["Name"] for page in pages for bucket in page.get("Buckets", ())}
    except ClientError as error:
        if status_of(error) in (401, 403) and code_of(error) == "AccessDenied":
            return None
        raise


def _look_at(client: Any, bucket: str, own: set[str] | None, region: str) -> tuple[str, bool]:
    """(why it cannot be used, whether it exists)."""
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        status = status_of(error)
        if status == 404:
            return "", False
        if status == 403 and not (own and bucket in own):
            return f"{bucket} belongs to somebody else (403)", True
        if status in (301, 400) and not (own and bucket in own):
            return f"{bucket} belongs to somebody else (another region)", True
        raise preflight_error(error, "HEAD BUCKET", bucket, region) from None
    if own is not None and bucket not in own:
        return f"{bucket} belongs to somebody else who lets us in", True
    return "", True


def _with_settings(state: BucketState, settings: Sequence[Setting], region: str) -> BucketState:
    seen: dict[str, Any] = {}
    closed: dict[str, str] = {}
    for setting in settings:
        try:
            seen[setting.name] = setting.look(state.client, state.bucket)
        except ClientError as error:
            closed[setting.name] = _why_left(error, region, state.bucket)
        except LookupError:
            closed[setting.name] = NOT_OFFERED
    return replace(state, seen=seen, closed=closed)


def _creating(state: BucketState, destination: Destination) -> Callable[[], None]:
    def create() -> None:
        place = {} if destination.region == "us-east-1" else {"LocationConstraint": destination.region}
        try:
            try:
                _create(state, place)
            except ClientError as error:
                if not (place and destination.endpoint_url and code_of(error) in _LOCATION):
                    raise
                _create(state, {})  # a server of its own kind may know no regions
        except ClientError as error:
            if code_of(error) in _TAKEN:
                raise _NameTaken from None
            if code_of(error) not in _OURS:
                raise preflight_error(error, "CREATE BUCKET", state.bucket, destination.region) from None

    return create


def _create(state: BucketState, place: Mapping[str, str]) -> None:
    state.client.create_bucket(Bucket=state.bucket, **({"CreateBucketConfiguration": place} if place else {}))


def _setting(setting: Setting, client: Any, bucket: str, wanted: Any) -> Callable[[], None]:
    def put() -> None:
        try:
            setting.put(client, bucket, wanted)
            still = setting.wanted(setting.look(client, bucket))
        except ClientError as error:
            raise Left(_why_left(error, "", bucket)) from None
        except LookupError:
            raise Left(NOT_OFFERED) from None
        if still is not None:
            raise Left(NOT_OFFERED)  # accepted without a word, and not kept

    return put


def _why_left(error: ClientError, region: str, bucket: str) -> str:
    status, code = status_of(error), code_of(error)
    if status in (405, 501) or code in _UNKNOWN:
        return NOT_OFFERED
    if 400 <= status < 500 and code != "NoSuchBucket":
        need = missing_permission(str(error.response.get("Error", {}).get("Message", "")))
        why = f"{status} {code or 'no reason given'}" + (f": the credentials need {need}" if need else "")
        return f"refused ({why})"
    raise preflight_error(error, "SETUP", bucket, region) from None
