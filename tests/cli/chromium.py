"""Debian's Chromium without a window, driven over its remote debugging protocol
(https://chromedevtools.github.io/devtools-protocol/): what a page says and asks for."""

import asyncio
import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium")
"""None where it is not installed: `apt-get install chromium`."""

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
_PATIENCE = 60.0
_OVERFLOW = """(root => location.protocol === "file:" && document.readyState === "complete"
  ? root.scrollWidth - root.clientWidth : null)(document.documentElement)"""
"""How much wider the page is than its window; null until it has been loaded."""
_LOOK_EVERY = 0.05
"""Seconds. The event of loading is not always told to those who come to a fresh tab."""


@dataclass(slots=True)
class Seen:
    """What a page did while it was loaded.

    said       messages of the console and of the browser about the page
    requests   addresses that it asked for
    overflows  how many pixels it is wider than the window
    dialogs    texts of `alert` and the like
    """

    said: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    overflows: int = 0


def look(page: Path, width: int) -> Seen:
    """Opens a file in a window of this many pixels."""
    assert CHROMIUM
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stderr
            address = next(line.split()[-1] for line in process.stderr if line.startswith("DevTools listening"))
            # What nobody reads would stop it once the pipe is full.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return asyncio.run(asyncio.wait_for(_look(address, page.absolute().as_uri(), width), _PATIENCE))
        finally:
            process.kill()
            process.wait()


async def _look(browser: str, address: str, width: int) -> Seen:
    port = browser.split(":")[2].split("/")[0]
    async with aiohttp.ClientSession() as session:
        async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as answer:
            tab = await answer.json()
        async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            return await _watch(socket, address, width)


async def _watch(socket: aiohttp.ClientWebSocketResponse, address: str, width: int) -> Seen:
    seen = Seen()
    window = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    await _call(socket, seen, "Emulation.setDeviceMetricsOverride", window)
    for domain in ("Network", "Log", "Runtime", "Page"):
        await _call(socket, seen, f"{domain}.enable")
    await _call(socket, seen, "Page.navigate", {"url": address})
    while True:
        measured = await _call(socket, seen, "Runtime.evaluate", {"expression": _OVERFLOW})
        if measured["result"].get("value") is not None:
            seen.overflows = measured["result"]["value"]
            return seen
        await asyncio.sleep(_LOOK_EVERY)


async def _call(
    socket: aiohttp.ClientWebSocketResponse, seen: Seen, method: str, params: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """The answer to one command; what the page does meanwhile is noted in `seen`."""
    await socket.send_str(json.dumps({"id": 1, "method": method, "params": params or {}}))
    async for message in socket:
        event: dict[str, Any] = message.json()
        if "id" in event:
            assert "result" in event, event
            result: dict[str, Any] = event["result"]
            return result
        _note(seen, event["method"], event["params"])
    raise AssertionError(f"the browser ended at {method}")


def _note(seen: Seen, method: str, told: Mapping[str, Any]) -> None:
    match method:
        case "Network.requestWillBeSent":
            seen.requests.append(told["request"]["url"])
        case "Log.entryAdded":
            seen.said.append(told["entry"]["text"])
        case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
            seen.said.append(json.dumps(told))
        case "Page.javascriptDialogOpening":
            seen.dialogs.append(told["message"])
