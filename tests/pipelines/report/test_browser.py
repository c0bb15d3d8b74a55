"""The report opened in a real browser, driven over the DevTools protocol."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from gristmill.pipelines.report.build import build
from gristmill.pipelines.store.run_directory import RunDirectory

from .chromium import CHROMIUM, Tab, opened

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)"),
]


async def visit(address: str, file: Path, tmp_path: Path) -> tuple[Tab, dict[str, Any]]:
    """Open the report, click everything, and record the results."""
    seen: dict[str, Any] = {}
    async with opened(address, file) as tab:
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
    assert tab.errors() == []

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
