"""The report opened in a real browser, driven over the DevTools protocol."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from gristmill.pipelines.report.build import build
from gristmill.pipelines.store.run_directory import RunDirectory

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((found for name in BROWSERS if (found := shutil.which(name))), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)"),
]

FLAGS = (
    "--headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-background-networking"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a browser; yields its debugging address."""
    profile = tmp_path_factory.mktemp("profile")
    assert CHROMIUM is not None
    process = subprocess.Popen(
        [CHROMIUM, *FLAGS.split(), "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = profile / "DevToolsActivePort"
        for _ in range(300):
            if port.exists() and len(port.read_text().split()) == 2:
                break
            asyncio.run(asyncio.sleep(0.1))
        number = port.read_text().split()[0]
        yield httpx.get(f"http://127.0.0.1:{number}/json/list").json()[0]["webSocketDebuggerUrl"]
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
            heard = json.loads(await asyncio.wait_for(self.socket.recv(), 30))
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


async def visit(address: str, file: Path, tmp_path: Path) -> tuple[Tab, dict[str, Any]]:
    """Open the report, click everything, and record the results."""
    import websockets

    seen: dict[str, Any] = {}
    async with websockets.connect(address, max_size=None) as socket:
        tab = Tab(socket)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await tab.ask(f"{domain}.enable")
        await tab.ask(
            "Network.emulateNetworkConditions",
            offline=True,
            latency=0,
            downloadThroughput=0,
            uploadThroughput=0,
        )
        await tab.ask(
            "Emulation.setDeviceMetricsOverride", width=1000, height=800, deviceScaleFactor=1, mobile=False
        )
        await tab.ask("Page.navigate", url=file.as_uri())
        await tab.value(
            "new Promise(r => document.readyState === 'complete' ? r() : addEventListener('load', () => r()))"
        )
        seen["sections"] = await tab.value("[...document.querySelectorAll('main > section')].map(s => s.id)")
        seen["heights"] = await tab.value(
            "[...document.querySelectorAll('main > section')].map(s => s.offsetHeight)"
        )
        seen["title"] = await tab.value("document.title")
        seen["overflow"] = await tab.value("document.documentElement.scrollWidth - innerWidth")
        seen["unnamed"] = await tab.value(
            "[...document.querySelectorAll('svg[role=img], canvas')].filter(e => !e.ariaLabel).length"
        )
        ink = "document.querySelector('.map canvas').toDataURL()"
        seen["by"] = [await tab.value("document.querySelector('.map').dataset.by")]
        seen["ink"] = [await tab.value(ink)]
        seen["legend"] = [await tab.value("document.querySelector('.map-legend').textContent")]
        await tab.value("document.querySelector('.map [data-by=fate]').click()")
        seen["by"].append(await tab.value("document.querySelector('.map').dataset.by"))
        seen["ink"].append(await tab.value(ink))
        seen["legend"].append(await tab.value("document.querySelector('.map-legend').textContent"))
        seen["tip"] = await tab.value(HOVER)
        shot = await tab.ask("Page.captureScreenshot", captureBeyondViewport=True)
        (tmp_path / "report.png").write_bytes(b64decode(shot["data"]))
        return tab, seen


#: Point at the first row of the first map and read the tooltip.
HOVER = """(() => {
  const box = document.querySelector('.map');
  const canvas = box.querySelector('canvas');
  const [x, y] = JSON.parse(box.querySelector('script').textContent).points[0];
  const frame = canvas.getBoundingClientRect();
  const at = (part, whole, size) => (40 + part * (whole - 80)) / whole * size;
  canvas.dispatchEvent(new MouseEvent('mousemove', {
    clientX: frame.left + at(x, canvas.width, frame.width),
    clientY: frame.top + at(1 - y, canvas.height, frame.height),
  }));
  return box.querySelector('.tip').textContent;
})()"""


def test_the_report_opens_offline_and_its_map_answers(
    built_run: RunDirectory, address: str, tmp_path: Path
) -> None:
    from PIL import Image

    report = build(built_run)
    tab, seen = asyncio.run(visit(address, report, tmp_path))

    requested = [each["params"]["request"]["url"] for each in tab.named("Network.requestWillBeSent")]
    assert [url for url in requested if url != report.as_uri()] == []
    errors = tab.named("Runtime.exceptionThrown")
    errors += [
        each
        for each in tab.named("Runtime.consoleAPICalled")
        if each["params"]["type"] in ("error", "warning")
    ]
    errors += [each for each in tab.named("Log.entryAdded") if each["params"]["entry"]["level"] == "error"]
    assert errors == []

    assert seen["sections"] == [
        "funnel", "verdict", "training", "scores", "lengths", "map", "samples", "failures", "cost",
        "provenance",
    ]  # fmt: skip
    assert min(seen["heights"]) > 60
    assert seen["title"] == "verified-instructions: Gristmill report"  # the hostile row did not run
    assert seen["overflow"] <= 0
    assert seen["unnamed"] == 0

    assert seen["by"] == ["cluster", "fate"]
    assert seen["ink"][0] != seen["ink"][1]
    assert "kept" in seen["legend"][1]
    assert "filtered by unique" in seen["legend"][1]
    assert "Write about" in seen["tip"]

    with Image.open(tmp_path / "report.png") as shot:
        assert shot.width == 1000
        assert shot.height > 3000
        assert len(shot.convert("RGB").getcolors(1 << 24) or []) > 50
