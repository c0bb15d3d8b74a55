"""A Chromium without a window, driven over the DevTools protocol."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((found for name in BROWSERS if (found := shutil.which(name))), None)

FLAGS = (
    "--headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-background-networking"
)


@contextmanager
def running(profile: Path) -> Iterator[str]:
    """Start a browser; yields its debugging address."""
    assert CHROMIUM is not None
    process = subprocess.Popen(
        [CHROMIUM, *FLAGS.split(), "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = profile / "DevToolsActivePort"
        for _ in range(1200):
            if port.exists() and len(port.read_text().split()) == 2:
                break
            asyncio.run(asyncio.sleep(0.1))
        number = port.read_text().split()[0]
        yield httpx.get(f"http://127.0.0.1:{number}/json/list", timeout=60).json()[0]["webSocketDebuggerUrl"]
    finally:
        process.terminate()
        process.wait(20)


@dataclass
class Tab:
    """One tab: sends commands, and stores the events it receives meanwhile."""

    socket: Any
    events: list[dict[str, Any]] = field(default_factory=list)
    sent: int = 0

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self.sent += 1
        await self.socket.send(json.dumps({"id": self.sent, "method": method, "params": params}))
        while True:
            heard = json.loads(await asyncio.wait_for(self.socket.recv(), 120))
            if heard.get("id") == self.sent:
                assert "error" not in heard, heard
                return dict(heard["result"])
            self.events.append(heard)

    async def value(self, script: str) -> Any:
        result = await self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def named(self, *methods: str) -> list[dict[str, Any]]:
        return [each for each in self.events if each.get("method") in methods]

    def errors(self) -> list[dict[str, Any]]:
        """What the page reported: exceptions, errors and warnings."""
        console = self.named("Runtime.consoleAPICalled")
        return [
            *self.named("Runtime.exceptionThrown"),
            *(each for each in console if each["params"]["type"] in ("error", "warning")),
            *(each for each in self.named("Log.entryAdded") if each["params"]["entry"]["level"] == "error"),
        ]


@asynccontextmanager
async def opened(address: str, file: Path, width: int = 1000, scheme: str = "light") -> AsyncIterator[Tab]:
    """Open a file without a network, ``width`` pixels wide, in the color scheme ``light`` or ``dark``."""
    import websockets

    async with websockets.connect(address, max_size=None) as socket:
        tab = Tab(socket)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await tab.ask(f"{domain}.enable")
        throughput = {"downloadThroughput": 0, "uploadThroughput": 0}
        await tab.ask("Network.emulateNetworkConditions", offline=True, latency=0, **throughput)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await tab.ask("Emulation.setEmulatedMedia", features=features)
        size = {"width": width, "height": 800, "deviceScaleFactor": 1}
        await tab.ask("Emulation.setDeviceMetricsOverride", mobile=False, **size)
        await tab.ask("Page.navigate", url=file.as_uri())
        await tab.value(
            "new Promise(r => document.readyState === 'complete' ? r() : addEventListener('load', () => r()))"
        )
        yield tab
