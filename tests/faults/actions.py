"""What can go wrong with one request: each is an action for a proxy's rule."""

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import formatdate

from tests.faults.proxy import Action, Forward
from tests.faults.wire import Answer, Cut, Dried, Headers, Request, header, without

CLOCK_TOLERANCE = 900
"""Seconds: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html (RequestTimeTooSkewed)."""


def s3_error(status: int, code: str, *, extra: str = "", headers: Headers | None = None) -> Answer:
    """An error as S3 words it; `extra` is more XML inside of `<Error>`. To HEAD it sends the headers alone."""
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>scripted {code}</Message>'
        f"{extra}<RequestId>0123456789ABCDEF</RequestId></Error>"
    )
    named = [("Content-Type", "application/xml"), ("x-amz-request-id", "0123456789ABCDEF")]
    return Answer(status, [*named, *(headers or [])], body.encode())


async def reset(request: Request, forward: Forward) -> Answer:
    """The line is reset before the server hears of it."""
    raise Cut


async def lose_answer(request: Request, forward: Forward) -> Answer:
    """The server does it; nobody hears of it."""
    await forward(request)
    raise Cut


def cut_request(size: int) -> Action:
    """The line is reset after `size` bytes of the request's body; the server never hears of it."""

    async def action(request: Request, forward: Forward) -> Answer:
        await request.some(size)
        raise Cut

    return action


def cut_answer(size: int) -> Action:
    """The answer's body ends after `size` bytes of what its head announced."""

    async def action(request: Request, forward: Forward) -> Answer:
        raise Cut(await forward(request), size)

    return action


def dry_up(size: int, every: float) -> Action:
    """After `size` bytes of the answer's body the line stays, and brings one byte each `every` seconds."""

    async def action(request: Request, forward: Forward) -> Answer:
        raise Dried(await forward(request), size, every)

    return action


def cut_chunks(size: int) -> Action:
    """The answer's body comes in chunks, of whose bytes the line ends after `size`."""

    async def action(request: Request, forward: Forward) -> Answer:
        page = await forward(request)
        raise Cut(replace(page, chunked=True), size)

    return action


def alter_request(offset: int) -> Action:
    """One bit of the body flips on the way to the server."""

    async def action(request: Request, forward: Forward) -> Answer:
        request.replace_body(_flip(await request.body(), offset))
        return await forward(request)

    return action


def alter_answer(offset: int) -> Action:
    """One bit of the body flips on the way back."""

    async def action(request: Request, forward: Forward) -> Answer:
        answer = await forward(request)
        answer.body = _flip(answer.body, offset)
        return answer

    return action


def answer(result: Answer) -> Action:
    """The server never hears of it; the client gets `result`."""

    async def action(request: Request, forward: Forward) -> Answer:
        return result

    return action


def delay(seconds: float) -> Action:
    """The request waits before it goes on."""

    async def action(request: Request, forward: Forward) -> Answer:
        await asyncio.sleep(seconds)
        return await forward(request)

    return action


def drop_request_headers(*patterns: str) -> Action:
    """The server never sees headers whose lower-case names match one of the regular expressions."""

    async def action(request: Request, forward: Forward) -> Answer:
        request.headers = without(request.headers, *patterns)
        return await forward(request)

    return action


def refuse_request_headers(refusal: Answer, *patterns: str) -> Action:
    """The server refuses requests that have a header whose lower-case name matches one of the regular expressions."""

    async def action(request: Request, forward: Forward) -> Answer:
        known = without(request.headers, *patterns)
        return await forward(request) if len(known) == len(request.headers) else refusal

    return action


def drop_answer_headers(*patterns: str) -> Action:
    """The client never sees headers whose lower-case names match one of the regular expressions."""

    async def action(request: Request, forward: Forward) -> Answer:
        result = await forward(request)
        result.headers = without(result.headers, *patterns)
        return result

    return action


def change_answer_header(name: str, value: str) -> Action:
    """The client sees `value` under `name` wherever the server sent that header."""

    async def action(request: Request, forward: Forward) -> Answer:
        result = await forward(request)
        result.headers = [(key, value if key.lower() == name else old) for key, old in result.headers]
        return result

    return action


def call(function: Callable[[], None]) -> Action:
    """Something happens outside when the request's head is here and its body is not read yet."""

    async def action(request: Request, forward: Forward) -> Answer:
        await asyncio.to_thread(function)
        return await forward(request)

    return action


def other_clock(ahead: float) -> Action:
    """The server's clock is `ahead` seconds ahead, and it refuses signatures of another time, as S3 does."""

    async def action(request: Request, forward: Forward) -> Answer:
        now = time.time() + ahead
        date = ("Date", formatdate(now, usegmt=True))
        stamp = header(request.headers, "x-amz-date") or ""
        signed = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp() if stamp else 0.0
        if abs(signed - now) > CLOCK_TOLERANCE:
            server_time = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            extra = f"<RequestTime>{stamp}</RequestTime><ServerTime>{server_time}</ServerTime>"
            return s3_error(403, "RequestTimeTooSkewed", extra=extra, headers=[date])
        result = await forward(request)
        result.headers = [*without(result.headers, "date"), date]
        return result

    return action


async def check_digests(request: Request, forward: Forward) -> Answer:
    """The server checks every digest that the request carries, as S3 does."""
    body = await request.body()
    sha256 = header(request.headers, "x-amz-checksum-sha256")
    if sha256 and sha256 != base64.b64encode(hashlib.sha256(body).digest()).decode():
        return s3_error(400, "BadDigest")
    md5 = header(request.headers, "content-md5")
    if md5 and md5 != base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode():
        return s3_error(400, "BadDigest")
    signed = header(request.headers, "x-amz-content-sha256")
    if signed and len(signed) == 64 and signed != hashlib.sha256(body).hexdigest():
        return s3_error(400, "XAmzContentSHA256Mismatch")
    return await forward(request)


def _flip(body: bytes, offset: int) -> bytes:
    if not body:
        return body
    at = offset % len(body)
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
