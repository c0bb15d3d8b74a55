"""Browsing and comparing rows in a real browser, on a wide and on a narrow screen, in light and in dark."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.outcomes import Failed, Outcome
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.report.build import build
from gristmill.pipelines.run.outcomes import from_outcomes
from gristmill.pipelines.store.run_directory import RunDirectory

from .chromium import CHROMIUM, Tab, opened
from .conftest import BrowsedRun

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)"),
]

SCREENS = [(width, scheme) for width in (1440, 390) for scheme in ("light", "dark")]

#: Texts with too little contrast: their words, the ratio and what is needed.
CONTRAST = """(() => {
  const parse = (color) => {
    const parts = color.match(/[\\d.]+/g).map(Number);
    return parts.length < 4 ? [...parts, 1] : parts;
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
  const ground = (element) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) {
      layers.unshift(parse(getComputedStyle(each).backgroundColor));
    }
    return layers.reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const light = (color) => {
    const parts = color.slice(0, 3).map((value) => value / 255);
    const [r, g, b] = parts.map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || element.closest("script, style, title, option")) continue;
    if (!element.checkVisibility()) continue;
    seen += 1;
    const style = getComputedStyle(element);
    const under = ground(element);
    const ink = over(parse(element.closest("svg") ? style.fill : style.color), under);
    const [a, b] = [light(ink), light(under)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) bad.push([walker.currentNode.textContent.trim().slice(0, 40), ratio, style.color]);
  }
  return { seen, bad };
})()"""

#: What is wider than the window, and is not in a box that scrolls.
WIDE = """[...document.querySelectorAll("body *")]
  .filter((e) => e.checkVisibility() && !e.closest(".scroll, svg, .words, pre, select"))
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5 || e.getBoundingClientRect().left < -0.5)
  .map((e) => e.outerHTML.slice(0, 80))"""

#: Choose in a control as a person does, and wait until the list has changed.
CHOOSE = """(async (box, name, starts) => {
  const control = document.querySelector(`#${box} [name=${name}]`);
  const option = [...(control.options || [])].find((each) => each.textContent.startsWith(starts));
  control.value = option ? option.value : starts;
  control.dispatchEvent(new Event(option ? "change" : "input", { bubbles: true }));
  await new Promise((done) => setTimeout(done, 200));
  return control.checkVisibility();
})"""


async def choose(tab: Tab, box: str, **controls: str) -> None:
    for name, starts in controls.items():
        assert await tab.value(f"{CHOOSE}({json.dumps(box)}, {json.dumps(name)}, {json.dumps(starts)})")


async def texts(tab: Tab, selector: str) -> list[str]:
    found = await tab.value(
        f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent)"
    )
    return list(found)


#: Charts that are wider than the window or scroll, and letters of charts that are smaller than 9 pixels.
CHARTS = """(() => {
  const shown = [...document.querySelectorAll("svg[role=img]")].filter((e) => e.checkVisibility());
  const wide = shown.filter((e) => {
    const { left, right } = e.getBoundingClientRect();
    const around = [...document.querySelectorAll("*")].filter((each) => each.contains(e));
    return left < -0.5 || right > innerWidth + 0.5 ||
      around.some((each) => each !== document.documentElement && each.scrollWidth > each.clientWidth + 1);
  });
  const small = shown.flatMap((e) => [...e.querySelectorAll("text")])
    .filter((e) => e.getBoundingClientRect().height < 9);
  return { shown: shown.length, wide: wide.length, small: small.length };
})()"""


async def check_looks(tab: Tab) -> None:
    """Nothing is wider than the window, and all text can be read."""
    charts = await tab.value(CHARTS)
    assert charts["shown"] > 3
    assert (charts["wide"], charts["small"]) == (0, 0)
    assert await tab.value("document.documentElement.scrollWidth - innerWidth") <= 0
    assert await tab.value(WIDE) == []
    contrast = await tab.value(CONTRAST)
    assert contrast["seen"] > 100
    assert contrast["bad"] == []


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_rows_are_filtered_by_step_fate_reason_and_text(
    browsed_run: RunDirectory, address: str, width: int, scheme: str
) -> None:
    file = build(browsed_run)

    async def visit() -> Tab:
        async with opened(address, file, width, scheme) as tab:
            rows = "#rows .card"
            assert not await tab.value("document.querySelector('.unscripted').checkVisibility()")
            await choose(tab, "rows", step="unique")
            assert await texts(tab, "#rows .found") == ["24 rows"]
            assert len(await texts(tab, rows)) == 12
            assert await texts(tab, "#rows .more") == ["Show 12 more of 12"]
            await tab.value("document.querySelector('#rows .more').click()")
            assert len(await texts(tab, rows)) == 24
            await check_looks(tab)

            await choose(tab, "rows", fate="filtered")
            assert await texts(tab, "#rows .found") == ["4 rows"]
            assert len(await texts(tab, rows)) == 4
            names = await texts(tab, f"{rows}:first-child .side-name")
            assert names[0] == "this row"
            assert names[1].startswith("the row it is like: ")
            wide = await tab.value(
                "(([a, b]) => a.getBoundingClientRect().top === b.getBoundingClientRect().top)"
                "(document.querySelectorAll('#rows .side'))"
            )
            assert wide == (width == 1440)  # beside it, or below it where there is no room
            await check_looks(tab)

            await choose(tab, "rows", step="verdict", why="worse")
            assert await texts(tab, "#rows .found") == ["1 row"]
            assert await texts(tab, "#rows .side-name") == ["base (compared with)", "student (evaluated)"]
            assert await texts(tab, "#rows .side .words") == [
                "Base 4 answers dryly.",
                "Student 4 answers softly.",
            ]
            await check_looks(tab)

            await choose(tab, "rows", step="kept", text="7 DEGREES")
            assert await texts(tab, "#rows .found") == ["2 of 20 rows have this text"]  # 7 and 17
            assert {each.lower() for each in await texts(tab, "#rows mark")} == {"7 degrees"}
            await choose(tab, "rows", text="i look day 7 up")
            assert await tab.value("document.querySelector('#rows .thought').open")
            roles = [each.split(":")[0] for each in await texts(tab, "#rows .turn > .role")]
            assert roles == ["system", "user", "assistant", "tool", "assistant"]
            assert await texts(tab, "#rows .call code") == ["weather"]
            return tab

    tab = asyncio.run(visit())
    assert tab.errors() == []


def test_what_others_wrote_stays_text(browsed_run: RunDirectory, address: str) -> None:
    file = build(browsed_run)

    async def visit() -> None:
        async with opened(address, file, 390) as tab:
            await choose(tab, "rows", step="chats", text="owned")
            assert "<img src=x onerror=" in (await texts(tab, "#rows .turn .words"))[-1]
            await choose(tab, "rows", text="plain")
            assert (await texts(tab, "#rows .turn .words"))[-1] == "plain \\u001b[31mred \\u202edesrever"
            await choose(tab, "rows", text="xxxxxx")
            assert "more characters" in (await texts(tab, "#rows .turn .words"))[-1]
            await choose(tab, "rows", text="الطحن")
            assert (
                await tab.value(
                    "getComputedStyle([...document.querySelectorAll('.turn .words')].at(-1)).direction"
                )
                == "rtl"
            )
            assert await tab.value("document.title") == "verified-instructions: Gristmill report"
            assert tab.errors() == []

    asyncio.run(visit())


def test_the_funnel_leads_to_its_rows(browsed_run: RunDirectory, address: str) -> None:
    file = build(browsed_run)

    async def visit() -> None:
        async with opened(address, file) as tab:
            links = "[...document.querySelectorAll('#funnel a')]"
            await tab.value(f"{links}.find((a) => a.textContent.includes('exact_duplicate')).click()")
            assert await texts(tab, "#rows .found") == ["4 rows"]
            assert await tab.value("location.hash") == "#samples"
            await tab.value("[...document.querySelectorAll('#verdict a')][0].click()")
            assert await texts(tab, "#rows .found") == ["9 rows"]
            assert "The budget ended this run" in (await texts(tab, "#funnel .ending"))[0]

    asyncio.run(visit())


def test_a_file_with_a_part_of_the_rows_says_how_many_are_missing(
    browsed_run: RunDirectory, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gristmill.pipelines.report.browser.data.ROWS", 22)
    file = build(browsed_run)

    async def visit() -> None:
        async with opened(address, file) as tab:
            await choose(tab, "rows", step="kept", fate="filtered")
            (told,) = await texts(tab, "#rows .found")
            assert told == (
                "5 rows; 2 of 5 are in this file, 3 are not. All of them: "
                f"gristmill rows {browsed_run.path} kept --fate filtered"
            )

    asyncio.run(visit())


class Failing(BrowsedRun):
    """A run of which most answers failed, with what a shell would run in the error and in the path."""

    def answered(self, voice: str) -> None:
        tasks = self.tables["tasks"]
        rows = tasks.to_pylist()
        errors = [f'it\'s "$(touch owned)" `touch owned` {"x" * 300}{n}\nagain' for n in range(5)]
        outcomes: list[list[Outcome]] = [[Failed(error)] for error in [*errors, *[""] * (len(rows) - 5)]]
        fingerprint = self.fingerprint("answered", 1)
        table = from_outcomes(tasks, rows, outcomes, fingerprint=fingerprint, makes_rows=True, types={})
        self.add_table("answered", "generate: respond", "tasks", table)


def test_a_suggested_command_can_be_pasted(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gristmill.pipelines.report.browser.data.ROWS", 12)
    monkeypatch.chdir(tmp_path)
    file = build(Failing(tmp_path / "my $(touch owned) runs").fill(5, "softly"))

    async def visit(why: str) -> str:
        async with opened(address, file) as tab:
            await choose(tab, "rows", step="answered", fate="failed", why=why)
            (told,) = await texts(tab, "#rows .found")
            return str(told).partition("All of them: gristmill ")[2]

    for why, rows in (("it's", 5), ("no error named", 9)):
        printed = subprocess.check_output(
            ["sh", "-c", f"printf '%s\\n' {asyncio.run(visit(why))}"], text=True
        )
        assert ("--where" in printed) == (rows == 5)
        assert main([*printed.splitlines(), "--json"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == rows
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_two_runs_are_compared(
    browsed_run: RunDirectory, other_run: RunDirectory, address: str, width: int, scheme: str
) -> None:
    file = build(browsed_run, other_run)

    async def visit() -> Tab:
        async with opened(address, file, width, scheme) as tab:
            assert (await texts(tab, "#compared .step .who b")) == ["kept", "answered", "verdict"]
            await tab.value("document.querySelector('#compared .told a').click()")
            assert await texts(tab, "#compared-rows .found") == ["3 rows"]
            assert await texts(tab, "#compared-rows .why") == ["the other run: filtered by n >= 8"] * 3
            await choose(tab, "compared-rows", step="answered", fate="answered differently")
            first = "#compared-rows .card:first-child"
            assert await texts(tab, f"{first} .side-name") == ["this run", "the other run"]
            here, there = (await texts(tab, f"{first} .words"))[1::2]
            assert (" softly." in here, " loudly." in there) == (True, True)
            await check_looks(tab)
            return tab

    assert asyncio.run(visit()).errors() == []


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_every_section_can_be_read(built_run: RunDirectory, address: str, width: int, scheme: str) -> None:
    file = build(built_run)

    async def visit() -> dict[str, Any]:
        async with opened(address, file, width, scheme) as tab:
            await tab.value("document.querySelectorAll('details').forEach((each) => (each.open = true))")
            await check_looks(tab)
            colors = "[...document.querySelectorAll('#map .map-legend .key')].map((e) => e.style.background)"
            return {"colors": await tab.value(colors), "errors": tab.errors()}

    seen = asyncio.run(visit())
    assert seen["errors"] == []
    assert len(set(seen["colors"])) == 6  # of as many clusters in each of two rounds
