from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts import registry

ITEM = "write a short story about a lighthouse keeper who finds a map in an old bottle on the shore"
OTHER = "explain to a child of seven years why the sky over the sea turns red in the evening sun"


@pytest.mark.parametrize(
    ("trained", "count"),
    [
        ({"prompt": [ITEM.upper(), "x"]}, 1),
        ({"chosen": ["a", f"Sure. {OTHER}"], "rejected": [ITEM, "b"]}, 2),
        ({"messages": [[{"role": "user", "content": ITEM}], [{"role": "user", "content": "hi"}]]}, 1),
        # A phrase of a template: 13 of 19 words, one of seven 13-grams.
        ({"prompt": [" ".join(ITEM.split()[:13]) + " and a dog", "x"]}, 0),
        ({"prompt": ["Sum 2 and 3!", "x"]}, 1),
        ({"prompt": ["Sum 2 and 3 and 4", "x"]}, 0),
        ({"number": [1, 2]}, None),
    ],
)
def test_items_that_are_trained_on_are_counted(rows: Any, trained: dict[str, Any], count: int | None) -> None:
    items = rows(prompt=[ITEM, OTHER, "sum 2 and 3"])
    assert registry.contaminated_items()(rows(**trained), items) == count


@pytest.mark.parametrize("name", ["ctx", "problem", "query", "text"])
def test_what_an_evaluation_asks_about_is_compared(rows: Any, name: str) -> None:
    count = registry.contaminated_items()
    items = rows(**{name: [ITEM, OTHER, "Sum 2 and 3"]}, answer=["a", "b", "5"], endings=[["a"]] * 3)
    assert count(rows(prompt=[ITEM, "sum 2 and 3"]), items, (), {name, "endings"}) == 2
    assert count(rows(prompt=["x"]), items, (), {name, "endings"}) == 0
    assert count(rows(prompt=["x"]), items, (), {"endings"}) is None, "the answers alone tell nothing"
    assert count(rows(prompt=["x"], response=[" A"]), rows(answer=["a"]), (), ()) == 0
    # What the training itself names is compared too.
    assert count(rows(body=[ITEM, "sum 2 and 3"]), items, ("body",), {name}) == 2
    assert count(rows(body=[ITEM]), items, (), {name}) is None


#: What a long working is beside: a question of 24 words, and a short one.
WORKING = " ".join(f"step {number} adds {number * 7} apples to the basket" for number in range(9))
SHORT = "What is the capital of Mongolia?"


def said(*turns: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(turns)]


@pytest.mark.parametrize(
    ("trained", "count"),
    [
        ({"messages": [said(ITEM, "Other working."), said("hi", "ho")]}, 1),
        ({"prompt": [f"Solve this problem step by step.\n\n{ITEM}"]}, 1),
        ({"response": [WORKING]}, 1),
        ({"messages": [said(SHORT, "Ulaanbaatar"), said("hi", "ho", SHORT, "Ulaanbaatar")]}, 1),
        ({"messages": [json.dumps([{"role": "system", "content": "Be brief."}, *said(SHORT, "U")])]}, 1),
        ({"prompt": [said(SHORT)], "response": ["U"]}, 1),
        ({"instruction": [SHORT], "output": ["Ulaanbaatar"]}, 1),
        ({"messages": [said("Name a city", SHORT)]}, 0),
        ({"response": [SHORT]}, 0),
    ],
)
def test_a_question_counts_whatever_its_answer_and_its_place(
    rows: Any, trained: dict[str, Any], count: int
) -> None:
    answers = [WORKING, "Ulaanbaatar", f"{OTHER} and {OTHER[::-1]}"]
    counted = registry.contaminated_items()
    assert counted(rows(**trained), rows(question=[ITEM, SHORT, OTHER], answer=answers)) == count
    turns = [said(*each) for each in zip([ITEM, SHORT, OTHER], answers)]
    assert counted(rows(**trained), rows(messages=turns), (), {"messages"}) == count


def test_a_system_prompt_is_no_part_of_the_question(rows: Any) -> None:
    system = [{"role": "system", "content": f"Be brief. {WORKING}"}]
    items = rows(prompt=[[*system, *said(ITEM)], [*system, *said(SHORT)]], answer=["a", "b"])
    count = registry.contaminated_items()
    assert count(rows(prompt=[f"Well: {ITEM}", SHORT]), items, (), {"prompt"}) == 2
    assert count(rows(prompt=["x"]), items, (), {"prompt"}) == 0


def test_a_template_of_the_items_is_no_item(rows: Any) -> None:
    template = "read the question with care and then answer it in one word that stands alone on its line"
    items = rows(prompt=[f"{template}: {each}" for each in (SHORT, "Who was Ada?", "Why?", "Where is Oslo?")])
    count = registry.contaminated_items()
    assert count(rows(prompt=[f"{template}: name a fish"]), items) == 0
    assert count(rows(prompt=[f"Please. {template}: {SHORT} Now."]), items) == 1


def test_a_passage_that_several_items_share_is_no_item(rows: Any) -> None:
    count = registry.contaminated_items()
    items = rows(passage=[ITEM] * 3, query=["Who finds it?", "Where?", OTHER])
    assert count(rows(prompt=[f"{ITEM} What is old?"]), items, (), {"passage", "query"}) == 0
    assert count(rows(prompt=[OTHER]), items, (), {"passage", "query"}) == 1
    assert count(rows(prompt=["x"]), items, (), {"passage"}) is None


def test_tables_that_cannot_be_compared_say_so(rows: Any) -> None:
    assert registry.contaminated_items()(rows(prompt=["a"]), rows(number=[1])) is None
    assert registry.contaminated_items()(rows(prompt=pa.array([], pa.string())), rows(prompt=["a"])) == 0
