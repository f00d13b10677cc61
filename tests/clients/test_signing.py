"""The signer against botocore's own, over whatever hypothesis thinks up."""

import datetime
import hashlib
from unittest import mock
from urllib.parse import unquote

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from migrator.clients.signing import Credentials, Signer, encode_query, quote_key

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60)
HEADER_VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)
NAMES = st.from_regex(r"\A(x-amz-meta-[a-z0-9-]{1,20}|cache-control|content-type|if-none-match|x-amz-acl)\Z")


@given(
    method=st.sampled_from(["PUT", "GET", "HEAD", "DELETE"]),
    key=TEXT,
    query=st.dictionaries(TEXT, st.text(st.characters(codec="utf-8"), max_size=30), max_size=4),
    headers=st.dictionaries(NAMES, HEADER_VALUE, max_size=8),
    body=st.binary(max_size=100),
    token=st.none() | st.text("abcXYZ+/=", min_size=1, max_size=40),
    now=st.integers(0, 4_000_000_000),
)
def test_signs_as_botocore_does(
    method: str,
    key: str,
    query: dict[str, str],
    headers: dict[str, str],
    body: bytes,
    token: str | None,
    now: int,
) -> None:
    path, encoded = f"/bucket/{quote_key(key)}", encode_query(query)
    url = f"http://s3.example.test:9000{path}" + (f"?{encoded}" if encoded else "")
    request = AWSRequest(method=method, url=url, data=body, headers=dict(headers))
    clock = datetime.datetime.fromtimestamp(now, datetime.UTC)
    with mock.patch("botocore.auth.get_current_datetime", return_value=clock.replace(tzinfo=None)):
        botocore.auth.S3SigV4Auth(BotoCredentials("AKIAEXAMPLE", "secret", token), "s3", "eu-west-3").add_auth(request)

    ours = {"host": "s3.example.test:9000", **headers}
    payload = hashlib.sha256(body).hexdigest()
    Signer("eu-west-3").sign(Credentials("AKIAEXAMPLE", "secret", token), now, method, path, encoded, ours, payload)
    assert ours["authorization"] == request.headers["Authorization"]
    assert ours["x-amz-date"] == request.headers["X-Amz-Date"]
    assert ours.get("x-amz-security-token") == request.headers.get("X-Amz-Security-Token")


def test_the_kept_key_follows_the_day_and_the_secret() -> None:
    signer = Signer("us-east-1")

    def signature(secret: str, now: float) -> str:
        headers = {"host": "h"}
        signer.sign(Credentials("A", secret), now, "GET", "/", "", headers, "0" * 64)
        return headers["authorization"].rpartition("=")[2]

    first, day = signature("one", 0.0), 86400.0
    assert signature("one", day) != first
    assert signature("two", 0.0) != first
    assert signature("one", 0.9) == first


@pytest.mark.parametrize("key", ["a b+c%/é?#&=~-._", "//x//", "\U0001f4f7"])
def test_a_quoted_key_is_the_key(key: str) -> None:
    quoted = quote_key(key)
    assert unquote(quoted) == key
    assert quoted.isascii()
    assert not set(quoted) & set(" ?#&=+")


def test_credentials_do_not_show_themselves() -> None:
    assert "secret" not in repr(Credentials("AKIAEXAMPLE", "secret", "token"))
