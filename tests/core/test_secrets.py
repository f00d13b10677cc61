"""No secret of a URL is ever shown, and what is no secret stays readable."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.core.secrets import mask_text, mask_url

CANARY = "Zq7Xw9Kp"

SIGNED = [
    f"https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A&X-Amz-Signature={CANARY}",
    f"https://b.s3.amazonaws.com/k?AWSAccessKeyId=A&Expires=1&Signature={CANARY}",
    f"https://storage.googleapis.com/b/k?GoogleAccessId=a&Expires=1&Signature={CANARY}",
    f"https://storage.googleapis.com/b/k?X-Goog-Signature={CANARY}",
    f"https://a.blob.core.windows.net/c/k?sv=2020&sr=b&sig={CANARY}",
    f"https://d.cloudfront.net/k?Policy={CANARY}&Key-Pair-Id=K",
    f"https://h/k?token={CANARY}",
    f"https://h/k?access_token={CANARY}",
    f"https://h/k?api_key={CANARY}",
    f"https://h/k?w=300;sig={CANARY}",
    f"https://h/k?%73ig={CANARY}",
    f"https://h/k?hdnea=exp=1~acl=/*~hmac={CANARY}",
    f"https://h/k?v={CANARY}{CANARY}x",
    f"https://h/k?{CANARY}{CANARY}x",
    f"https://user:{CANARY}@h/k",
    f"https://{CANARY}@h/k",
    f"https://h/k#access_token={CANARY}",
    f"https://h/k?password='{CANARY}",
    f"postgresql+psycopg://user:{CANARY}@db:5432/lots",
    f"https://[::1/k?sig={CANARY}",
]


@pytest.mark.parametrize("url", SIGNED)
def test_a_secret_is_masked_alone_and_in_a_text(url: str) -> None:
    assert CANARY not in mask_url(url)
    for text in (f"GET {url} failed", f"'{url}': 403", f'{{"url": "{url}"}}', f"<{url}>", f"{url}\n{url}", f"({url})"):
        assert CANARY not in mask_text(text)


@pytest.mark.parametrize(
    "url",
    [
        "https://h/a/b.jpg",
        "https://h:8080/a?w=300&h=200",
        "file:///data/a b.jpg",
        "s3://bucket/key",
        "https://h/a@b.jpg",
    ],
)
def test_what_is_no_secret_stays(url: str) -> None:
    assert mask_url(url) == url


def test_a_masked_url_still_says_where() -> None:
    assert mask_url("https://u:p@h:81/a/b?sig=x#f") == "https://***@h:81/a/b?***"
    assert mask_text("GET https://h/k?sig=x failed: 403") == "GET https://h/k?*** failed: 403"


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=6), st.text(max_size=6)), max_size=3),
    st.sampled_from(["Signature", "X-Amz-Signature", "sig", "token", "Policy", "X-Goog-Signature", "AUTH", "hmac"]),
    st.text(min_size=1),
    st.integers(0, 3),
)
def test_no_part_of_a_signed_query_is_shown(
    plain: list[tuple[str, str]], name: str, secret: str, position: int
) -> None:
    pairs = [f"{quote(key)}={quote(value)}" for key, value in plain]
    pairs.insert(position, f"{name}={quote(secret)}")
    assert mask_url(f"https://host/key?{'&'.join(pairs)}") == "https://host/key?***"


@given(st.text(max_size=60))
def test_masking_never_fails_and_masks_once(text: str) -> None:
    for url in (text, f"https://{text}", f"https://h/{text}", f"https://h/?{text}"):
        assert mask_url(mask_url(url)) == mask_url(url)
        mask_text(url)
