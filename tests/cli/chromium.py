"""Debian's Chromium without a window, driven over its remote debugging protocol: what a page says and asks for."""

import asyncio
import json
import shutil
import subprocess
import tempfile
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
"""Event by event: `https://chromedevtools.github.io/devtools-protocol/`."""


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
    with tempfile.TemporaryDirectory(prefix="chromium-") as profile:
        process = subprocess.Popen(
            [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stderr
            address = next(line.split()[-1] for line in process.stderr if line.startswith("DevTools listening"))
            return asyncio.run(asyncio.wait_for(_look(address, page.absolute().as_uri(), width), _PATIENCE))
        finally:
            process.kill()
            process.communicate()


async def _look(browser: str, address: str, width: int) -> Seen:
    port = browser.split(":")[2].split("/")[0]
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            (tab, *_) = [each for each in await answer.json() if each["type"] == "page"]
        async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            return await _watch(socket, address, width)


async def _watch(socket: aiohttp.ClientWebSocketResponse, address: str, width: int) -> Seen:
    seen = Seen()
    window = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    await _send(socket, 1, "Emulation.setDeviceMetricsOverride", window)
    for number, domain in enumerate(("Network", "Log", "Runtime", "Page"), 2):
        await _send(socket, number, f"{domain}.enable")
    await _send(socket, 6, "Page.navigate", {"url": address})
    measure = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    async for message in socket:
        event: dict[str, Any] = message.json()
        match event.get("method"):
            case "Network.requestWillBeSent":
                seen.requests.append(event["params"]["request"]["url"])
            case "Log.entryAdded":
                seen.said.append(event["params"]["entry"]["text"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                seen.said.append(json.dumps(event["params"]))
            case "Page.javascriptDialogOpening":
                seen.dialogs.append(event["params"]["message"])
            case "Page.loadEventFired":
                await _send(socket, 7, "Runtime.evaluate", {"expression": measure})
        if event.get("id") == 7:
            seen.overflows = event["result"]["result"]["value"]
            break
    return seen


async def _send(
    socket: aiohttp.ClientWebSocketResponse, number: int, method: str, params: Mapping[str, object] | None = None
) -> None:
    await socket.send_str(json.dumps({"id": number, "method": method, "params": params or {}}))
