"""Formats: a trainer reads back the original conversation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.pipelines.sinks.formats import FORMATS
from gristmill.pipelines.sinks.turns import turns_of

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
    assert turns_of(row) == exchange("Be brief.", "Why?", "Because.")
    assert FORMATS["alpaca"](row) == {
        "system": "Be brief.",
        "instruction": "Why?",
        "input": "",
        "output": "Because.",
        "reasoning": None,
    }


@pytest.mark.parametrize("name", ["messages", "alpaca", "prompt_completion", "sharegpt"])
def test_what_was_thought_is_in_every_format(name: str) -> None:
    """In ``messages`` in the turn, in the others in a column."""
    record = FORMATS[name]({"prompt": "Why?", "response": "Because.", "reasoning": "hm"})
    if name == "messages":
        assert record["messages"][-1] == {
            "role": "assistant", "content": "Because.", "reasoning_content": "hm"
        }  # fmt: skip
        return
    assert record["reasoning"] == "hm"
    assert "hm" not in json.dumps({key: value for key, value in record.items() if key != "reasoning"})


def test_calls_in_a_column_are_an_answer() -> None:
    row = {"prompt": "Weather?", "response": None, "tool_calls": [CALL], "reasoning": "hm"}
    assert FORMATS["messages"](row)["messages"][-1] == {
        "role": "assistant", "content": "", "tool_calls": [CALL], "reasoning_content": "hm"
    }  # fmt: skip


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
        (
            "prompt_chosen_rejected",
            {"prompt": "a", "chosen": "b", "rejected": None},
            "column 'rejected', found null",
        ),
        (
            "prompt_chosen_rejected",
            {"prompt": "a", "chosen": [], "rejected": "b"},
            "column 'chosen', found an empty list",
        ),
        ("messages", {"messages": None}, r"no chat form.*found \[\]; 'messages' is null"),
        (
            "messages",
            {"prompt": None, "response": None, "x": 1},
            r"found \['x'\]; 'prompt' and 'response' are null$",
        ),
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
        "tools": None,
    }


SAID = {"role": "assistant", "content": "b"}


@pytest.mark.parametrize("system", [None, "s"])
@pytest.mark.parametrize("sides", [("chosen", "rejected"), ("chosen",)])
def test_a_prompt_is_not_repeated_in_the_answers(system: str | None, sides: tuple[str, ...]) -> None:
    """Data sets often have whole conversations on both sides; TRL puts the prompt before each."""
    asked = exchange(system, "a", "b")[:-1]
    row: dict[str, Any] = {"prompt": "a", "chosen": [SAID], "rejected": [SAID], "system": system}
    made = FORMATS["prompt_chosen_rejected"]({**row, **{side: [*asked, SAID] for side in sides}})
    assert (made["prompt"], made["chosen"], made["rejected"]) == (asked, [SAID], [SAID])
    other = [{"role": "user", "content": "other"}, SAID]
    for wrong in (other, asked):
        with pytest.raises(
            DataError,
            match=r"r1: its 'chosen' begins with a turn of '\w+' and is not .*`format: preferences`",
        ):
            FORMATS["prompt_chosen_rejected"]({"_id": "r1", **row, "chosen": wrong})


def test_a_pair_of_turns_is_written_as_turns_with_its_system_prompt() -> None:
    better, worse = [{"role": "assistant", "content": "b"}], [{"role": "assistant", "content": "c"}]
    row = {"prompt": "a", "chosen": better, "rejected": worse, "system": "s", "tools": TOOLS}
    assert FORMATS["prompt_chosen_rejected"](row) == {
        "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}],
        "chosen": better,
        "rejected": worse,
        "tools": json.dumps(TOOLS),
    }


def test_alpacas_input_is_a_column_of_its_own_again() -> None:
    row = {"prompt": "Translate.\n\nHaus", "input": "Haus", "response": "house"}
    wanted = {
        "system": None,
        "instruction": "Translate.",
        "input": "Haus",
        "output": "house",
        "reasoning": None,
    }
    assert FORMATS["alpaca"](row) == FORMATS["alpaca"](row | {"prompt": "Translate."}) == wanted
    assert FORMATS["alpaca"](row | {"input": "Maus", "prompt": "Maus. Translate."})["input"] == ""


CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"place": "Ulm"}'}}
CALLED: list[dict[str, Any]] = [
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "12 C", "tool_call_id": "c1", "name": "look"},
    {"role": "assistant", "content": "12 degrees."},
]
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


def test_calls_of_tools_are_written_as_openai_has_them() -> None:
    assert FORMATS["messages"]({"messages": CALLED, "tools": TOOLS}) == {
        "messages": CALLED,
        "tools": json.dumps(TOOLS),
    }
    for calls in (
        json.dumps([CALL]),
        [{"name": "look", "arguments": {"place": "Ulm"}, "id": "c1"}],
        [{"function": {"name": "look", "arguments": {"place": "Ulm", "zip": None}}, "id": "c1"}],
    ):
        turns = [CALLED[0], {**CALLED[1], "tool_calls": calls, "function_call": None, "name": None}]
        assert FORMATS["messages"]({"messages": turns})["messages"] == CALLED[:2]
    single = {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}}
    (_, turn) = FORMATS["messages"]({"messages": [CALLED[0], single]})["messages"]
    assert turn["tool_calls"][0]["function"] == {"name": "look", "arguments": "{}"}


def test_a_conversation_column_keeps_the_other_keys_of_its_turns() -> None:
    turns = [
        {"role": "user", "content": "q", "name": "x"},
        {"role": "assistant", "content": "a", "weight": 1},
    ]
    assert FORMATS["messages"]({"turns": turns})["messages"] == turns


def test_sharegpt_has_calls_in_its_function_form() -> None:
    made = FORMATS["sharegpt"]({"messages": CALLED, "tools": json.dumps(TOOLS)})
    assert made["conversations"] == [
        {"from": "human", "value": "Weather?"},
        {"from": "function_call", "value": '{"name": "look", "arguments": {"place": "Ulm"}}'},
        {"from": "observation", "value": "12 C"},
        {"from": "gpt", "value": "12 degrees."},
    ]
    assert json.loads(made["tools"]) == TOOLS
    both = [{**CALL, "id": "a"}, {**CALL, "id": "b"}]
    answers = [{"role": "tool", "content": each, "tool_call_id": each} for each in "ab"]
    turns = [CALLED[0], {**CALLED[1], "tool_calls": both}, *answers, CALLED[3]]
    assert len(json.loads(FORMATS["sharegpt"]({"messages": turns})["conversations"][1]["value"])) == 2
    turns[2:4] = answers[::-1]  # in another order only the ids say which answer is whose
    with pytest.raises(DataError, match="row 7: a turn has 'tool_call_id', which sharegpt would drop"):
        FORMATS["sharegpt"]({"_id": "7", "messages": turns})


@pytest.mark.parametrize(
    ("name", "turn", "message"),
    [
        ("sharegpt", {"content": "Let me look.", "tool_calls": [CALL]}, "both a text and calls"),
        ("sharegpt", {"content": "a", "weight": 1}, "'weight', which sharegpt"),
        ("alpaca", {"content": "", "tool_calls": [CALL]}, "'tool_calls', which alpaca would drop"),
        ("prompt_completion", {"content": "a", "name": "x"}, "'name', which prompt_completion would drop"),
        ("messages", {"content": None, "tool_calls": [{**CALL, "index": 0}]}, "a call has 'index'"),
        ("messages", {"content": None, "tool_calls": [{"id": "c"}]}, "no function with a name"),
        ("messages", {"content": None, "tool_calls": "x"}, "text that is not JSON"),
        ("messages", {"content": [{"type": "text", "text": "a"}]}, "a list of parts"),
        ("messages", {"content": "a", "marks": {"b": 1}}, "'marks' of type dict"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(name: str, turn: dict[str, Any], message: str) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", **turn}]
    with pytest.raises(DataError, match=f"row 7: .*{message}"):
        FORMATS[name]({"_id": "7", "messages": turns})


def test_tools_are_refused_where_a_format_has_no_place_for_them() -> None:
    row = {"_id": "7", "prompt": "q", "response": "a", "tools": TOOLS}
    with pytest.raises(DataError, match="row 7: it has 'tools', which alpaca would drop"):
        FORMATS["alpaca"](row)
    with pytest.raises(DataError, match="row 7: its 'tools' are no list of objects"):
        FORMATS["messages"]({**row, "tools": [1]})
