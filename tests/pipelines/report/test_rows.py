"""The rows that the report embeds to be browsed, and what is shown of each."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from gristmill.pipelines.report.browser import data as browser
from gristmill.pipelines.report.browser import texts as pool
from gristmill.pipelines.report.browser.data import browser_data
from gristmill.pipelines.report.browser.groups import groups, sample, shares
from gristmill.pipelines.report.browser.reading import rank, rows_at
from gristmill.pipelines.report.browser.texts import TextPool
from gristmill.pipelines.report.build import render
from gristmill.pipelines.report.gather import gather
from gristmill.pipelines.store.run_directory import RunDirectory

from ..conftest import HOSTILE
from .conftest import ARABIC


@pytest.fixture(scope="module")
def data(browsed_run: RunDirectory) -> dict[str, Any]:
    found = browser_data(gather(browsed_run))
    assert found is not None
    return found


def of(data: dict[str, Any], step: str, fate: str = "", why: str = "") -> list[dict[str, Any]]:
    """The embedded rows of a step, of a fate and for a reason."""
    found = []
    for row in data["rows"]:
        owner = data["steps"][row["step"]]
        group = owner["groups"][row["group"]]
        if owner["name"] == step and fate in ("", group["fate"]) and why in ("", group["why"]):
            found.append(row)
    return found


def said(data: dict[str, Any], place: int) -> str:
    text = data["texts"][place]
    return str(text if isinstance(text, str) else text[0])


def test_rows_are_grouped_by_step_fate_and_reason(data: dict[str, Any]) -> None:
    told = {
        step["name"]: [(g["fate"], g["why"], g["rows"]) for g in step["groups"]] for step in data["steps"]
    }
    assert told == {
        "chats": [("kept", "", 24)],
        "unique": [("kept", "", 20), ("filtered", "exact_duplicate", 4)],
        "kept": [("kept", "", 15), ("filtered", "n >= 5", 5)],
        "tasks": [("kept", "", 9)],
        "answered": [("kept", "", 8), ("failed", "the server said: no", 1)],
        "verdict": [("kept", "better", 3), ("kept", "worse", 1), ("kept", "no difference", 5)],
    }
    assert len(of(data, "unique", "filtered")) == 4
    assert [said(data, row["why"]) for row in of(data, "answered", "failed")] == ["the server said: no"]


def test_a_report_of_many_rows_has_a_fair_sample_of_each_group_and_says_of_how_many(
    browsed_run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser, "ROWS", 30)
    found = browser_data(gather(browsed_run))
    assert found is not None
    sizes = {(s["name"], g["fate"], g["why"]): g for s in found["steps"] for g in s["groups"]}
    assert sum(group["embedded"] for group in sizes.values()) == len(found["rows"]) == 30
    assert sizes["answered", "failed", "the server said: no"]["embedded"] == 1
    assert {sizes[name, "kept", ""]["embedded"] for name in ("chats", "unique", "kept")} <= {3, 4}
    assert sizes["chats", "kept", ""]["rows"] == 24


def test_the_same_rows_are_taken_at_each_step(browsed_run: RunDirectory) -> None:
    data = gather(browsed_run).rounds[0]
    chats, unique = data.step("chats"), data.step("unique")
    assert chats is not None
    assert unique is not None
    ids = [
        [row["_id"] for _, row in rows_at(step, sample(step, {("kept", ""): 6})["kept", ""], [])]
        for step in (chats, unique)
    ]
    # At most the four duplicates, which are not kept, make room for others.
    assert len(set(ids[0]) & set(ids[1])) >= 2
    whole = chats.store.table(["_id"])["_id"].to_pylist()
    assert ids[0] != whole[:6]  # not simply the first ones
    assert set(ids[0]) == set(sorted(whole, key=rank)[:6])
    assert len({rank(id) for id in whole}) == 24


@pytest.mark.parametrize(
    ("sizes", "total", "expected"),
    [([5, 100, 2], 30, [5, 23, 2]), ([100, 100], 9, [4, 5]), ([1, 1], 9, [1, 1]), ([], 9, []), ([3], 0, [0])],
)
def test_small_groups_are_taken_whole_and_large_ones_share(
    sizes: list[int], total: int, expected: list[int]
) -> None:
    assert shares(sizes, total) == expected


def test_frequent_reasons_have_groups_and_the_rest_shares_one(
    browsed_run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gristmill.pipelines.report.browser.groups.REASONS", 0)
    found = browser_data(gather(browsed_run))
    assert found is not None
    assert len(of(found, "unique", "filtered", "other reasons")) == 4
    step = gather(browsed_run).rounds[0].step("unique")
    assert step is not None
    assert groups(step)["filtered", "other reasons"] == 4


def test_a_conversation_is_embedded_turn_by_turn(data: dict[str, Any]) -> None:
    row = next(row for row in of(data, "kept") if ["n", "7"] in row["parts"][-1]["figures"])
    chat, tools, _ = row["parts"]
    assert (chat["kind"], chat["name"], tools["kind"], tools["name"]) == (
        "chat",
        "messages",
        "folded",
        "tools",
    )
    turns = chat["turns"]
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "tool", "assistant"]
    assert said(data, turns[2]["thought"]) == "I look day 7 up."
    assert turns[2]["calls"][0]["name"] == "weather"
    assert json.loads(said(data, turns[2]["calls"][0]["text"])) == {"city": "Oslo", "day": 7}
    assert "text" not in turns[2]  # the call is all that it says
    assert turns[3]["of"] == "weather"
    assert said(data, turns[4]["text"]) == "It is 7 degrees, and I say it softly."


def test_a_duplicate_comes_with_the_row_that_it_duplicates(data: dict[str, Any]) -> None:
    rows = of(data, "unique", "filtered")
    assert len({row["like"] for row in rows}) == 4
    for row in rows:
        other = data["others"][row["like"]]
        assert other["step"] == "unique"
        assert other["parts"][0]["turns"] == row["parts"][0]["turns"]
        assert other["parts"][-1]["figures"] != row["parts"][-1]["figures"]


def test_an_evaluation_has_both_answers_side_by_side(data: dict[str, Any]) -> None:
    (row,) = of(data, "verdict", why="worse")
    (sides,) = [part for part in row["parts"] if part["kind"] == "sides"]
    assert [side["name"] for side in sides["sides"]] == ["base (compared with)", "student (evaluated)"]
    texts = [said(data, side["parts"][0]["text"]) for side in sides["sides"]]
    assert texts == ["Base 4 answers dryly.", "Student 4 answers softly."]
    assert [side["parts"][-1]["figures"] for side in sides["sides"]] == [[["strict", "1"]], [["strict", "0"]]]
    assert row["parts"][-1]["figures"] == [["gain", "-1"]]


def test_foreign_text_is_cleaned_cut_and_escaped(browsed_run: RunDirectory, data: dict[str, Any]) -> None:
    texts = [text if isinstance(text, str) else text[0] for text in data["texts"]]
    assert HOSTILE in texts
    assert ARABIC in texts
    assert "plain \\u001b[31mred \\u202edesrever" in texts
    assert [text[1] for text in data["texts"] if isinstance(text, list)] == [1_000_000 - pool.LONGEST]
    page = render(browsed_run)
    assert len(page) < 200_000
    (embedded,) = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    assert json.loads(embedded) == json.loads(json.dumps(data))
    assert not set(embedded) & set("<>&\x1b\u202e")


def test_a_secret_is_removed_before_a_text_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SERVICE_API_KEY", "env-key-12345")
    texts = TextPool()
    texts.add("a" * (pool.LONGEST - 6) + "env-key-12345")
    texts.add("<env-key-12345>")
    first, second = texts.embedded()
    assert (str(first)[-6:], second) == ("aaa***", "<***>")


def test_many_long_texts_are_cut_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "CHARACTERS", 8_000)
    texts = TextPool()
    for number in range(8):
        assert texts.add(f"{number}" * 3_000) == texts.add(f"{number}" * 3_000) == number
    assert texts.add("short") == 8
    found = texts.embedded()
    assert found[8] == "short"
    assert [(len(text), missing) for text, missing in found[:8]] == [(500, 2_500)] * 8  # type: ignore[misc]


def test_vectors_bytes_and_the_columns_of_the_runner_are_not_shown(built_run: RunDirectory) -> None:
    found = browser_data(gather(built_run))
    assert found is not None
    names = {part["name"] for row in found["rows"] for part in row["parts"] if "text" in part}
    assert names == {"prompt", "response"}
    assert {step["round"] for step in found["steps"]} == {1, 2}
    assert [step["name"] for step in found["steps"]].count("seeds") == 1  # the rounds share it
    assert found["steps"][found["start"]]["name"] == "unique"
