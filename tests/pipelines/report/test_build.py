"""The report of a run of two rounds, read by a parser."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gristmill.contracts.errors import StoreError
from gristmill.pipelines.report.build import build, render
from gristmill.pipelines.store.run_directory import RunDirectory

SECTIONS = [
    "funnel",
    "verdict",
    "training",
    "scores",
    "lengths",
    "map",
    "samples",
    "failures",
    "cost",
    "provenance",
]


class Page(HTMLParser):
    """Collects the sections, the scripts, the text and every external reference."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.tags: list[str] = []
        self.reaches: list[str] = []
        self.handlers: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            if tag == "section" and name == "id":
                self.sections.append(value or "")
            if name in ("src", "action", "data") or (name == "href" and not (value or "").startswith("#")):
                self.reaches.append(f"{tag} {name}={value}")
            if name.startswith("on"):
                self.handlers.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def html(built_run: RunDirectory) -> str:
    return render(built_run)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_every_section_is_there(page: Page) -> None:
    assert page.sections == SECTIONS


def test_nothing_reaches_for_the_network(page: Page, html: str) -> None:
    assert page.reaches == []
    assert "link" not in page.tags
    assert "@import" not in html
    assert "url(" not in html
    assert "default-src 'none'" in html


def test_what_a_model_wrote_stays_text(page: Page, html: str) -> None:
    assert page.handlers == []
    assert page.tags.count("script") == 4  # the data of two maps, the rows, and the page's own
    assert "img" not in page.tags
    assert "<script>document.title" not in html
    assert any("document.title='owned'" in words for words in page.words), "the hostile row must be shown"


def test_data_of_the_maps_is_json(html: str) -> None:
    found = re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    maps = [data for each in found if "points" in (data := json.loads(each))]
    assert [len(each["points"]) > 50 for each in maps] == [True, True]


def test_the_page_tells_what_happened(html: str) -> None:
    for words in (
        "round 1: promoted",
        "round 2: abstained",
        "the engine died three times",
        "self_certainty &gt; quantile(0.2)",
        "verdict.gain.ci_low &gt; 0",
        "400,000",
        "d" * 64,
        "2.13.0",
    ):
        assert words in html, words


def test_the_cut_is_drawn_on_the_scores_it_was_made_on(built_run: RunDirectory, html: str) -> None:
    plan = built_run.rounds()[0].plan["steps"]["kept"]
    cut = built_run.step("kept", plan["fingerprint"]).manifest["summary"]["thresholds"]["self_certainty"]
    assert f"cut {cut:.3g}" in html


def test_the_held_out_loss_is_drawn_with_the_measurement_at_the_end(html: str) -> None:
    dots = re.findall(r"<title>held out ([^<]*)</title>", html)
    # One for each round, in the form for wide screens and in that for narrow ones.
    assert dots.count("0.875") == 2 * 2
    assert set(dots) == {"2.5", "0.875"}


def test_keys_do_not_reach_the_file(
    built_run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(built_run.path, copy)
    plan = RunDirectory.open(copy).rounds()[0].plan
    plan["steps"]["answers"]["request"]["params"] |= {
        "api_key": "sk-in-the-file-1",
        "header": "Bearer env-key-12345",
    }
    RunDirectory.open(copy).write_plan(1, plan)
    monkeypatch.setenv("SOME_SERVICE_API_KEY", "env-key-12345")
    text = build(RunDirectory.open(copy)).read_text()
    assert "sk-in-the-file-1" not in text
    assert "env-key-12345" not in text
    assert "Bearer ***" in text


def test_a_run_that_is_not_finished_has_a_report_too(built_run: RunDirectory, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(built_run.path, copy)
    shutil.rmtree(copy / "rounds/2")
    (copy / "rounds/1/result.json").unlink()
    for name in ("unique", "student", "verdict"):
        (folder,) = (
            path
            for path in (copy / "steps").glob(f"{name}-*")
            if path.name[len(name) + 1 :] in _folders(copy)
        )
        shutil.rmtree(folder)
    (kept,) = (path for path in (copy / "steps").glob("kept-*") if path.name[5:] in _folders(copy))
    (kept / "manifest.json").unlink()
    text = render(RunDirectory.open(copy))
    assert "(not finished), 239 of 239 rows" in text
    assert "(not started)" in text
    # No section is empty, and no link leads to one that is not there.
    assert Page(text).sections == ["funnel", "scores", "lengths", "samples", "failures", "cost", "provenance"]
    assert set(re.findall(r'<a href="#([\w-]+)">', text)) == set(Page(text).sections)


def _folders(run: Path) -> set[str]:
    """The first digits of the fingerprints that the first round uses."""
    plan = json.loads((run / "rounds/1/plan.json").read_text())
    return {step["fingerprint"][:12] for step in plan["steps"].values()}


def test_a_run_without_a_round_is_refused_with_the_reason(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "new", name="new")
    with pytest.raises(StoreError, match="no round yet"):
        build(run)


def test_building_twice_gives_the_same_file(built_run: RunDirectory) -> None:
    assert build(built_run).read_bytes() == build(built_run).read_bytes()
