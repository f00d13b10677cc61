"""Worker processes that render, one a core, each of which may die: the variant that it was at fails, the others do not.

Pools of the standard library and pebble are no help here: they tell neither which part of a task killed a worker nor
what of it was done by then.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from msgspec.structs import asdict

from migrator.core.content import sniff
from migrator.core.model import Failed, Fault
from migrator.core.variants import CONTENT_TYPES, Rendered, Wanted
from migrator.images.messages import DECODING, HEAD, LONGEST_JSON, Limits, frame, read_rendered, spelled

WORKER = (sys.executable, "-P", "-m", "migrator.images.worker")
"""The command of a worker; -P: a folder that the operator stands in cannot shadow a module."""

_LAST_BREATH = 5.0
"""Seconds that a worker which has closed its socket may take to end."""

_STARTS = 2
"""Workers that may die before they begin with an image: something else is wrong then."""

Result = Rendered | Failed


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


class RenderPool:
    """Renderer: `size` processes, started when they are needed."""

    def __init__(self, size: int = 0, limits: Limits | None = None, command: Sequence[str] = WORKER) -> None:
        self._limits = limits or Limits()
        self._command = tuple(command)
        self._places = asyncio.Semaphore(size or cores())
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._closed = False

    async def render(self, data: bytes, wanted: Sequence[Wanted]) -> list[Result]:
        """See ports.Renderer."""
        job = _Job(wanted)
        while job.left and job.starts < _STARTS and not self._closed:
            async with self._places:
                await self._attempt(data, job)
        job.fail_rest("the renderer was closed" if self._closed else "its process could not be started", retryable=True)
        return job.results()

    async def close(self) -> None:
        """See ports.Renderer."""
        self._closed = True
        for worker in self._all:
            worker.kill()
        while self._idle:
            worker = self._idle.pop()
            self._all.discard(worker)
            await worker.end()
        # The others are at work: who waits for them sees that they are gone, and takes them away.
        for worker in tuple(self._all):
            await worker.gone()

    async def _attempt(self, data: bytes, job: "_Job") -> None:
        """One worker renders what is left of `job`, or dies of it."""
        try:
            worker = await self._free()
        except OSError as error:
            job.fail_rest(f"no process could be started for it: {error.strerror}", retryable=True)
            return
        finished = False
        try:
            # It may have been closed while the process started.
            finished = not self._closed and await worker.work(data, job, self._limits.seconds)
        finally:
            # Also when this was cancelled: the worker is in the middle of something then.
            if finished and not self._closed:
                self._idle.append(worker)
            else:
                self._all.discard(worker)
                job.interrupted(await worker.end())

    async def _free(self) -> "_Worker":
        """An idle worker that still lives, or a new one."""
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            self._all.discard(worker)
            await worker.end()
        return await self._start()

    async def _start(self) -> "_Worker":
        starting = asyncio.ensure_future(asyncio.to_thread(self._spawn))
        try:
            worker = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The thread goes on and there will be a process: nobody else would end it.
            await (await starting).end()
            raise
        self._all.add(worker)
        return worker

    def _spawn(self) -> "_Worker":
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            process = subprocess.Popen(
                (*self._command, str(theirs.fileno()), json.dumps(asdict(self._limits))),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        return _Worker(process, ours)


class _Job:
    """One image: what was made of it so far."""

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        self.wanted = wanted
        self.left = list(range(len(wanted)))
        """Numbers of the variants without a result."""
        self.starts = 0
        self.at: int | None = None
        """What the worker is at; None before it has begun."""
        self._results: dict[int, Result] = {}

    def settle(self, number: int, result: Result) -> None:
        """The result of one variant."""
        self.left.remove(number)
        self._results[number] = result

    def interrupted(self, how: str) -> None:
        """The worker is gone: what it was at has no second chance here."""
        if not self.left:
            return
        if self.at is None:
            self.starts += 1
        elif self.at == DECODING:
            self.fail_rest(f"while it was decoded {how}", retryable=True)
        elif self.at in self.left:
            self.settle(self.at, Failed(Fault.RENDER, f"while it was made {how}", retryable=True))

    def fail_rest(self, message: str, *, retryable: bool = False) -> None:
        """No variant that is left will be made."""
        for number in tuple(self.left):
            self.settle(number, Failed(Fault.RENDER, message, retryable=retryable))

    def results(self) -> list[Result]:
        """In the order of what was wanted."""
        return [self._results[number] for number in range(len(self.wanted))]


class _Worker:
    """One process and the socket to it."""

    def __init__(self, process: "subprocess.Popen[bytes]", pool: socket.socket) -> None:
        self._process = process
        self._socket = pool
        self._late = 0.0
        self._gone = False

    @property
    def alive(self) -> bool:
        """Whether the process runs: an idle one may have been killed by somebody else."""
        return self._process.poll() is None

    async def work(self, data: bytes, job: _Job, seconds: float) -> bool:
        """Renders what is left of `job`. False when the process is of no more use."""
        loop = asyncio.get_running_loop()
        numbers = tuple(job.left)
        job.at = None
        message = {"wanted": spelled([job.wanted[number] for number in numbers])}
        try:
            async with asyncio.timeout(seconds):
                await loop.sock_sendall(self._socket, frame(message, len(data)))
                await loop.sock_sendall(self._socket, data)
            while True:
                async with asyncio.timeout(seconds):
                    answer, body = await self._receive()
                if "end" in answer:
                    self._gone = answer["end"] == "last"
                    return not self._gone
                _take(answer, body, job, numbers)
        except TimeoutError:
            self._late = seconds
        except (OSError, EOFError):
            self._gone = True
        except (ValueError, KeyError, TypeError, IndexError):
            pass  # what it says is none of our words: an image may have taken it over
        return False

    def kill(self) -> None:
        """Ends the process, whatever it is at."""
        self._process.kill()

    async def gone(self) -> None:
        """Returns once the process has ended."""
        await asyncio.to_thread(self._process.wait)

    async def end(self) -> str:
        """Kills the process and says how it ended, as the end of a sentence."""
        self._socket.close()
        if not self._gone:
            self.kill()
        try:
            status = await asyncio.to_thread(self._process.wait, _LAST_BREATH)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = await asyncio.to_thread(self._process.wait)
        if self._late:
            return f"{self._late:g} s went by"
        killed = self._gone and status < 0
        return f"its process died ({signal.Signals(-status).name})" if killed else "its process ended"

    async def _receive(self) -> tuple[dict[str, Any], bytes]:
        text, length = HEAD.unpack(await self._read(HEAD.size))
        if text > LONGEST_JSON or length > 1 << 30:
            raise ValueError("more than any variant has")
        return json.loads(await self._read(text)), await self._read(length)

    async def _read(self, length: int) -> bytes:
        loop = asyncio.get_running_loop()
        data = bytearray(length)
        view = memoryview(data)
        while view:
            count = await loop.sock_recv_into(self._socket, view)
            if not count:
                raise EOFError
            view = view[count:]
        return bytes(data)


def _take(answer: dict[str, Any], body: bytes, job: _Job, numbers: tuple[int, ...]) -> None:
    """Enters one answer of a worker, whose variants have `numbers` in the job."""
    if "at" in answer:
        job.at = DECODING if answer["at"] == DECODING else numbers[answer["at"]]
    elif "none" in answer:
        job.fail_rest(str(answer["none"]))
    elif "failed" in answer:
        job.settle(numbers[answer["failed"]], Failed(Fault.RENDER, str(answer["message"])))
    else:
        number = numbers[answer["done"]]
        wanted = job.wanted[number]
        if sniff(body[:64]) != CONTENT_TYPES[wanted.format]:
            raise ValueError("not what was asked for")
        job.settle(number, read_rendered(answer, wanted, body, CONTENT_TYPES[wanted.format]))
