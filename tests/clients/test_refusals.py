"""What each refusal means: the table of faults, and that no answer can do harm or tell a secret."""

import pytest

from migrator.clients.refusals import Refusal, error_of, read_error, retry_after
from migrator.core.errors import (
    Archived,
    Conflict,
    Fatal,
    Forbidden,
    Gone,
    Invalid,
    ObjectError,
    Throttled,
    Transient,
)
from migrator.core.model import Side


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchKey", Gone),
        (404, "", Gone),
        (410, "", Gone),
        (404, "NoSuchUpload", Gone),
        (409, "XMinioObjectExistsAsDirectory", Invalid),
        (400, "XMinioParentIsObject", Invalid),
        (404, "NoSuchBucket", Fatal),
        (403, "AccessDenied", Forbidden),
        (403, "", Forbidden),
        (401, "", Forbidden),
        (403, "InvalidAccessKeyId", Fatal),
        (403, "SignatureDoesNotMatch", Fatal),
        (403, "RequestTimeTooSkewed", Fatal),
        (403, "InvalidObjectState", Archived),
        (403, "QuotaExceeded", Fatal),
        (400, "ExpiredToken", Fatal),
        (400, "InvalidToken", Fatal),
        (400, "AuthorizationHeaderMalformed", Fatal),
        (301, "PermanentRedirect", Fatal),
        (307, "TemporaryRedirect", Fatal),
        (400, "BadDigest", Transient),
        (400, "XAmzContentSHA256Mismatch", Transient),
        (400, "InvalidDigest", Transient),
        (400, "RequestTimeout", Transient),
        (400, "EntityTooLarge", Invalid),
        (400, "KeyTooLongError", Invalid),
        (400, "InvalidStorageClass", Fatal),
        (409, "ConditionalRequestConflict", Transient),
        (409, "OperationAborted", Transient),
        (412, "PreconditionFailed", Conflict),
        (429, "", Throttled),
        (503, "SlowDown", Throttled),
        (503, "", Throttled),
        (503, "ServiceUnavailable", Transient),
        (500, "InternalError", Transient),
        (502, "", Transient),
        (504, "", Transient),
        (501, "NotImplemented", Invalid),
        (507, "", Fatal),
    ],
)
def test_every_refusal_is_one_error(status: int, code: str, kind: type[ObjectError]) -> None:
    error = error_of(Refusal("PUT", "bucket", "photos/one.jpg", status, code), "us-east-1")
    assert type(error) is kind
    assert error.side is Side.DESTINATION
    assert "\n" not in str(error)
    assert str(status) in error.message
    assert "photos/one.jpg" in error.message or "bucket" in error.message


@pytest.mark.parametrize(
    ("operation", "status", "ambiguous"),
    [("PUT", 500, True), ("COPY", 502, True), ("HEAD", 500, False), ("LIST", 500, False), ("PUT", 409, False)],
)
def test_only_a_failed_change_may_have_been_made(operation: str, status: int, ambiguous: bool) -> None:
    assert error_of(Refusal(operation, "bucket", "key", status), "us-east-1").ambiguous is ambiguous


def test_the_region_is_named_with_what_to_write() -> None:
    error = error_of(Refusal("PUT", "photos", "a", 301, "PermanentRedirect", bucket_region="eu-west-3"), "us-east-1")
    assert "eu-west-3" in error.message
    assert error.hint == 'set destination.region = "eu-west-3"'


def test_a_head_in_the_wrong_region_has_only_headers() -> None:
    assert "eu-west-3" in str(error_of(Refusal("HEAD", "photos", "a", 400, bucket_region="eu-west-3"), "us-east-1"))
    assert type(error_of(Refusal("HEAD", "photos", "a", 403, bucket_region="us-east-1"), "us-east-1")) is Forbidden


def test_the_wish_of_the_server_is_passed_on() -> None:
    error = error_of(Refusal("PUT", "photos", "a", 503, "SlowDown", retry_after=7.0), "us-east-1")
    assert error.retry_after == 7.0
    assert retry_after("3") == 3.0
    assert retry_after("Fri, 21 Nov 2026 00:00:00 GMT") is None
    assert retry_after(None) is None


def test_a_permission_is_named() -> None:
    assert "s3:PutObject" in error_of(Refusal("PUT", "photos", "a", 403, "AccessDenied"), "us-east-1").hint
    assert "s3:ListBucket" in error_of(Refusal("HEAD", "photos", "a", 403), "us-east-1").hint


def test_hostile_error_documents() -> None:
    bomb = (
        b'<!DOCTYPE z [<!ENTITY a "'
        + b"x" * 1000
        + b'"><!ENTITY b "'
        + b"&a;" * 1000
        + b'">]><Error><Code>&b;</Code></Error>'
    )
    assert len(read_error(bomb)[0]) < 100
    assert read_error(b"<html>\xff\xfe not xml") == ("", "", "")
    assert read_error(b"<Code>" + b"x" * 1_000_000) == ("", "", "")
    assert read_error(b"<Error><Code>A</Code><Message>a &amp; b</Message></Error>") == ("A", "a & b", "")


def test_a_message_is_one_short_line_without_secrets() -> None:
    text = "see\nhttps://user:hunter2@host/x?X-Amz-Signature=deadbeef " + "long " * 1000
    message = str(error_of(Refusal("PUT", "photos", "a\x1b[31m\n", 400, "InvalidArgument", text), "us-east-1"))
    assert message.isprintable()
    assert "hunter2" not in message
    assert "deadbeef" not in message
    assert len(message) < 400
