"""Formats: a trainer reads back the original conversation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.pipelines.sinks.formats import FORMATS, conversation

texts = st.text(max_size=20)


def turn(role: str) -> st.SearchStrategy[dict[str, str]]:
    return texts.map(lambda content: {"role": role, "content": content})


systems = st.lists(turn("system"), max_size=1)
single = st.tuples(systems, turn("user"), turn("assistant")).map(lambda t: [*t[0], t[1], t[2]])
several = st.tuples(
    systems, st.lists(st.tuples(turn("user"), turn("assistant")).map(list), min_size=1, max_size=4)
).map(lambda t: [*t[0], *[each for pair in t[1] for each in pair]])

#: Format -> function that reads the conversation back.
READERS: dict[str, Any] = {
    "messages": lambda record: record["messages"],
    "prompt_completion": lambda r: exchange(r["system"], r["prompt"], r["completion"]),
    "alpaca": lambda r: exchange(r["system"], r["instruction"] + r["input"], r["output"]),
    "sharegpt": lambda record: [
        {
            "role": {"human": "user", "gpt": "assistant"}.get(each["from"], each["from"]),
            "content": each["value"],
        }
        for each in record["conversations"]
    ],
}


def exchange(system: str | None, user: str, assistant: str) -> list[dict[str, str]]:
    opening = [] if system is None else [{"role": "system", "content": system}]
    return [*opening, {"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


@settings(max_examples=60)
@given(turns=single)
@pytest.mark.parametrize("name", sorted(READERS))
def test_one_exchange_survives_every_format(name: str, turns: list[dict[str, str]]) -> None:
    assert READERS[name](FORMATS[name]({"_id": "r", "messages": turns})) == turns


@settings(max_examples=40)
@given(turns=several)
@pytest.mark.parametrize("name", ["messages", "sharegpt"])
def test_several_turns_survive(name: str, turns: list[dict[str, str]]) -> None:
    assert READERS[name](FORMATS[name]({"messages": turns})) == turns


def test_a_prompt_and_its_response_are_a_conversation() -> None:
    row = {"_id": "r", "prompt": "Why?", "response": "Because.", "system": "Be brief."}
    assert conversation(row) == exchange("Be brief.", "Why?", "Because.")
    assert FORMATS["alpaca"](row) == {
        "system": "Be brief.",
        "instruction": "Why?",
        "input": "",
        "output": "Because.",
    }


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("alpaca", {"messages": exchange(None, "a", "b") * 2}, "row r1: alpaca holds one question"),
        ("messages", {"prompt": "a"}, "row r1: the conversation does not end with the assistant's turn"),
        ("messages", {"text": "a"}, r"row r1: no chat form.*\['text'\]"),
        ("messages", {"messages": []}, "does not end with the assistant"),
        ("messages", {"messages": [{"role": "user"}]}, "row r1"),
        ("messages", {"messages": [{"role": "assistant", "content": None}]}, "needs a role and a text"),
        (
            "sharegpt",
            {"messages": [{"role": "critic", "content": "x"}, *exchange(None, "a", "b")]},
            "no role 'critic'",
        ),
        ("prompt_chosen_rejected", {"prompt": "a", "chosen": "b"}, "column 'rejected', found no such column"),
    ],
)
def test_a_row_that_does_not_fit_is_named(name: str, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        FORMATS[name]({"_id": "r1", **row})


def test_a_pair_keeps_both_answers() -> None:
    row = {"prompt": "a", "chosen": "b", "rejected": "c", "other": 1}
    assert FORMATS["prompt_chosen_rejected"](row) == {
        "system": None,
        "prompt": "a",
        "chosen": "b",
        "rejected": "c",
    }


@pytest.mark.parametrize("name", ["messages", "sharegpt"])
@pytest.mark.parametrize("key", ["tool_calls", "tool_call_id", "function_call"])
def test_a_call_of_a_tool_is_not_dropped_in_silence(name: str, key: str) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", key: "x"}]
    with pytest.raises(
        DataError, match=f"row 7: a turn has '{key}', which this format would drop: use format: rows"
    ):
        FORMATS[name]({"_id": "7", "messages": turns})
    turns[1][key] = None  # type: ignore[assignment]
    assert len(FORMATS[name]({"_id": "7", "messages": turns})) == 1
