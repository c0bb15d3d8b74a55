from __future__ import annotations

import json
from typing import Any

import pytest

from gristmill.contracts.layouts import LAYOUTS, Format, RowReader


def U(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def A(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def read(row: dict[str, Any], form: Format = "auto", *untouched: str) -> dict[str, Any]:
    return RowReader(form, frozenset(untouched)).read(row)


TOOLS = [{"type": "function", "function": {"name": "w", "parameters": {"z": 1, "a": 2}}}]


def test_alpaca_keeps_its_input_in_the_prompt_and_as_a_column() -> None:
    row = {"instruction": "Translate.", "input": "Haus", "output": "house", "topic": "t"}
    assert read(row) == {
        "prompt": "Translate.\n\nHaus", "response": "house", "input": "Haus", "topic": "t",
    }  # fmt: skip
    assert read({**row, "input": ""})["prompt"] == "Translate."


def test_alpacas_history_and_system_prompt_are_turns() -> None:
    row = {"instruction": "c", "input": "", "output": "d", "system": "s", "history": [["a", "b"]]}
    assert read(row)["messages"] == [{"role": "system", "content": "s"}, U("a"), A("b"), U("c"), A("d")]
    assert read({**row, "history": []}) == {"prompt": "c", "response": "d", "input": "", "system": "s"}


def test_sharegpt_becomes_messages_with_its_system_prompt_and_tools() -> None:
    row = {
        "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
        "system": "s",
        "tools": TOOLS,
        "id": 7,
    }
    assert read(row) == {
        "messages": [{"role": "system", "content": "s"}, U("q"), A("a")], "tools": json.dumps(TOOLS), "id": 7,
    }  # fmt: skip


def test_another_system_prompt_than_the_conversations_own_stays_a_column() -> None:
    talk = [{"from": "system", "value": "own"}, {"from": "human", "value": "q"}]
    assert read({"conversations": talk, "system": "other"})["system"] == "other"
    assert "system" not in read({"conversations": talk, "system": "own"})


def test_openais_old_functions_are_tools() -> None:
    row = {"messages": [U("q"), A("a")], "functions": [{"name": "w"}]}
    assert json.loads(read(row)["tools"]) == [{"type": "function", "function": {"name": "w"}}]
    assert "functions" not in read(row)


def test_openais_batch_files() -> None:
    body = {"model": "m", "messages": [U("q")], "tools": TOOLS, "max_tokens": 9}
    asked = read({"custom_id": "1", "method": "POST", "url": "/v1", "body": body})
    assert asked == {
        "messages": [U("q")], "tools": json.dumps(TOOLS), "body": {"model": "m", "max_tokens": 9},
        "custom_id": "1", "method": "POST", "url": "/v1",
    }  # fmt: skip
    choice = {"message": A("a", reasoning_content="so"), "finish_reason": "stop"}
    response = {"status_code": 200, "body": {"choices": [choice], "usage": {"total_tokens": 3}}}
    answered = read({"id": "x", "custom_id": "1", "response": response, "error": None})
    assert (answered["response"], answered["finish"], answered["reasoning"]) == ("a", "stop", "so")
    assert json.loads(answered["body"]) == response
    failed = {"custom_id": "1", "response": None, "error": {"code": "x"}}
    assert read(failed) == failed


def test_a_log_of_calls_becomes_conversations_with_what_was_asked_beside_them() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "w", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    row = {
        "request": {"model": "m", "messages": [U("q")], "tools": TOOLS},
        "response": {"id": "r", "choices": [{"message": message, "finish_reason": "tool_calls"}]},
        "success": True,
    }
    assert read(row) == {
        "messages": [U("q"), message], "tools": json.dumps(TOOLS), "finish": "tool_calls",
        "request": '{"model": "m"}', "reply": '{"id": "r"}', "success": True,
    }  # fmt: skip


PREFERENCE = {"prompt": [U("q")], "chosen": [A("good")], "rejected": [A("bad")]}


@pytest.mark.parametrize(
    "row",
    [
        PREFERENCE,
        {"chosen": [U("q"), A("good")], "rejected": [U("q"), A("bad")]},
        {"prompt": "q", "chosen": [U("q"), A("good")], "rejected": [U("q"), A("bad")]},
        {"prompt": [U("q")], "chosen": [U("q"), A("good")], "rejected": [U("q"), A("bad")]},
        {"prompt": "q", "chosen": [A("good")], "rejected": [A("bad")]},
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": {"from": "gpt", "value": "good"},
            "rejected": {"from": "gpt", "value": "bad"},
        },
        {
            "input": {"messages": [U("q")]},
            "preferred_output": [A("good")],
            "non_preferred_output": [A("bad")],
        },
    ],
)  # fmt: skip
def test_conversational_preferences_of_every_form_are_one(row: dict[str, Any]) -> None:
    assert read(row) == PREFERENCE


def test_a_preference_of_texts_without_a_prompt_begins_with_it() -> None:
    """As TRL's trainers take it apart."""
    row = {"chosen": "The sky is blue.", "rejected": "The sky is green."}
    assert read(row) == {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}
    asked = {"question": "Sky?", "system": "s", "chosen": "blue", "rejected": "green"}
    assert read(asked) == {"prompt": "Sky?", "system": "s", "chosen": "blue", "rejected": "green"}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": [U("q"), A("good")], "rejected": [U("other"), A("bad")]},
        {"chosen": "blue", "rejected": "green"},
        {"prompt": "q", "chosen": "good", "rejected": "bad", "messages": [U("another"), A("talk")]},
        {"conversations": [{"value": "no one"}]},
        {"instruction": "i", "output": {"a": 1}},
        {"instruction": "i", "output": "o", "response": "another"},
        {"prompt": "q", "completion": "c"},
        {"title": "t"},
    ],
)
def test_rows_of_no_layout_stay_as_they_are(row: dict[str, Any]) -> None:
    assert read(row) == row


def test_a_prompt_and_its_completion() -> None:
    row = {"prompt": [U("q")], "completion": [A("a")], "system": "s"}
    assert read(row) == {"messages": [{"role": "system", "content": "s"}, U("q"), A("a")]}
    texts = {"prompt": "q", "completion": "a"}
    assert read(texts, "prompt_completion") == {"prompt": "q", "response": "a"}


def test_a_column_that_the_user_names_is_never_taken_away() -> None:
    row = {"instruction": "i", "input": "", "output": "o"}
    assert read(row, "auto", "instruction") == row
    assert read(row, "auto", "prompt", "input")["prompt"] == "i"


def test_a_format_that_was_asked_for_refuses_other_rows_and_as_is_takes_all() -> None:
    with pytest.raises(ValueError, match=r"not of the format sharegpt \(conversations/conversation\).*as_is"):
        read({"messages": [U("q")]}, "sharegpt")
    row = {"instruction": "i", "output": "o"}
    assert read(row, "as_is") is row


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_but_the_conversational_completion_can_be_asked_for(name: str) -> None:
    """That one is the part of `prompt_completion` that is recognized."""
    assert (name in Format.__args__) == (name != "conversational_completion")  # type: ignore[attr-defined]
