"""An HTTP/1.1 proxy on 127.0.0.1 that passes bytes through unchanged and writes a line for every request it sees.

`python -m benchmarks.counter PORT UPSTREAM_HOST:PORT LOG`: each line of LOG is `METHOD target`. Requests are counted at
the server's door, so retries and everything else that a client does not tell of are in it.
"""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

_PIECE = 256 * 1024


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_PIECE):
        writer.write(piece)
        await writer.drain()


async def _pass_exactly(size: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while size and (piece := await reader.read(min(size, _PIECE))):
        writer.write(piece)
        await writer.drain()
        size -= len(piece)


async def _pass_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    size = -1
    while size:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        writer.write(line)
        await _pass_exactly(size + 2 if size else 0, reader, writer)
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        writer.write(line)
    writer.write(line)


async def _pass_requests(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log: TextIO) -> None:
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")
        log.write(" ".join(first.split(" ")[:2]) + "\n")
        log.flush()
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        writer.write(head)
        if headers.get("transfer-encoding", "").lower() == "chunked":
            await _pass_chunks(reader, writer)
        else:
            await _pass_exactly(int(headers.get("content-length", 0)), reader, writer)
        await writer.drain()


async def serve(port: int, upstream: tuple[str, int], log: TextIO) -> None:
    """Serves until cancelled."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*upstream)
        answers = asyncio.create_task(_pump(server_reader, writer))
        with suppress(asyncio.IncompleteReadError, OSError):
            await _pass_requests(reader, server_writer, log)
        server_writer.close()
        with suppress(OSError):
            await answers
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", port, backlog=1024) as server:
        await server.serve_forever()


def main() -> None:
    """Reads the command line and serves."""
    port, upstream, log = sys.argv[1:]
    host, _, upstream_port = upstream.rpartition(":")
    with Path(log).open("w", encoding="utf-8") as lines, suppress(KeyboardInterrupt):
        asyncio.run(serve(int(port), (host, int(upstream_port)), lines))


if __name__ == "__main__":
    main()
