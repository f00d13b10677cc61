"""`python -m benchmarks.bare CASE DATA ORIGIN ENDPOINT DIGEST CONCURRENCY`: the requests of a case and nothing else.

No ledger, no scan, no retries, no start-up to speak of: the same connections and signatures as migrator's, a loop
around them, and the digests that the server checks. What it reaches is as far as a tool in Python can come.
"""

import asyncio
import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.contestants import BUCKET, SOURCE, files_below
from benchmarks.servers import ACCESS_KEY, SECRET_KEY
from migrator.clients.connection import Answer
from migrator.clients.idle import Idle
from migrator.clients.signing import EMPTY_SHA256, UNSIGNED, Credentials, Signer, quote_key
from migrator.clients.wire import Way, Wire
from migrator.stores.s3_headers import checksum_headers, md5

_SECONDS = 60.0
_KEPT = 256
_TRIES = 3
"""rclone's server answers 500 now and then when two first puts make the same folder."""


class Server:
    """One server of the case: requests to it, signed or not."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.netloc
        self._wire = Wire(Way(parts.hostname or "", parts.port or 80, None), _SECONDS, Idle(_KEPT))
        self._signer = Signer("us-east-1")
        self._credentials = Credentials(ACCESS_KEY, SECRET_KEY)

    async def get(self, path: str) -> bytes:
        """An unsigned GET."""
        return _fine(await self._wire.request("GET", path, {"host": self._host}, b"", _SECONDS)).body

    async def signed(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b"", payload: str = EMPTY_SHA256
    ) -> bytes:
        """A request to S3."""
        headers = {"host": self._host, **headers}
        self._signer.sign(self._credentials, time.time(), method, path, "", headers, payload)
        for _ in range(_TRIES):
            answer = await self._wire.request(method, path, headers, body, _SECONDS)
            if answer.status != 500:
                break
        return _fine(answer).body


def _fine(answer: Answer) -> Answer:
    if answer.status != 200:
        raise SystemExit(f"{answer.status} {answer.body[:500]!r}")
    return answer


class Case:
    """How one object is moved in each case."""

    def __init__(self, case: str, data: Path, origin: str, endpoint: str, digest: str) -> None:
        self._case = case
        self._data = data
        self._origin = Server(origin) if origin else None
        self._destination = Server(endpoint)
        self._digest = digest

    async def move(self, key: str) -> None:
        """One object."""
        path = f"/{BUCKET}/{quote_key(key)}"
        if self._case == "d":
            await self._destination.signed("PUT", path, {"x-amz-copy-source": f"/{SOURCE}/{quote_key(key)}"})
            return
        body = await self._read(key)
        sha256 = hashlib.sha256(body).digest()  # whoever wants to verify later needs it, whatever the server checks
        checked = {"content-md5": md5(body)} if self._digest == "md5" else checksum_headers(sha256)
        headers = {"content-type": "image/jpeg", "if-none-match": "*"} | checked
        await self._destination.signed("PUT", path, headers, body, UNSIGNED)

    async def _read(self, key: str) -> bytes:
        if self._origin is None:
            return (self._data / key).read_bytes()
        if self._case == "b":
            return await self._origin.get(f"/{quote_key(key)}")
        return await self._origin.signed("GET", f"/{SOURCE}/{quote_key(key)}", {})


async def main(case: Case, keys: Iterator[str], concurrency: int) -> None:
    """All objects, as many at once as the others are told."""

    async def lane() -> None:
        for key in keys:
            await case.move(key)

    await asyncio.gather(*[lane() for _ in range(concurrency)])


if __name__ == "__main__":
    name, folder, origin, endpoint, digest, concurrency = sys.argv[1:]
    case = Case(name, Path(folder), origin, endpoint, digest)
    asyncio.run(main(case, iter(files_below(Path(folder))), int(concurrency)))
