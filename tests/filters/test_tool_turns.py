"""``unfold: tool_turns``: which tokens of a call are key tokens, and rows that are no conversations."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from gristmill.contracts.outcomes import Failed, Filtered, Kept
from gristmill.filters.tool_turns import ToolTurns, key_spans


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ('{"name": "f", "arguments": {"a": "b"}}', ["f", "b"]),
        ('{"parameters": {"n": -1.5e3, "ok": true, "s": {"t": ["x", null]}}, "name": "g"}',
         ["-1.5e3", "true", "x", "null", "g"]),
        ('say {"name": "f", "arguments": {}} and {"name": "h", "arguments": {"q": "say \\"hi\\""}}',
         ["f", "h", 'say \\"hi\\"']),
        ('[{"name": "f", "arguments": {"a": ""}}]', ["f"]),
        ('{"name": "f"}', []),
        ('{"name": 3, "arguments": {"a": 1}}', []),
        ('{"name": "f", "arguments": {"a": 1', []),
        ("no call", []),
    ],
)  # fmt: skip
def test_the_key_tokens_are_the_name_and_the_values_of_arguments(text: str, keys: list[str]) -> None:
    assert [text[start:end] for start, end in key_spans(text)] == keys


def outcomes(messages: Any, context: Any, **options: Any) -> list[Any]:
    step = ToolTurns(**options)
    (found,) = asyncio.run(step.open(context)([{"_id": "a", "messages": messages}]))
    return found


def test_a_turn_is_left_out_if_its_tool_answers_with_an_error(context) -> None:
    call = '{"name": "f", "arguments": {"a": 1}}'
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": call},
        {"role": "tool", "content": "oops"},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": "An error of mine."},
    ]
    first, last = outcomes(messages, context, errors="oops")
    assert isinstance(first, Filtered)
    assert first.rule == "error"
    assert isinstance(last, Kept)
    assert last.row["messages"] == messages
    first, _ = outcomes(messages, context)
    assert isinstance(first, Kept)
    assert {span["weight"] for span in first.row["span_weights"]} == {2.0}


def test_a_turn_is_left_out_if_any_of_the_tools_that_it_calls_answers_with_an_error(context: Any) -> None:
    said = ["5", "Error: no such city"]
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "Both."},
        *({"role": "tool", "content": each} for each in said),
        {"role": "assistant", "content": "One again."},
        {"role": "tool", "content": said[0]},
        {"role": "user", "content": "Thanks."},
        {"role": "tool", "content": said[1]},
    ]
    assert [type(each) for each in outcomes(messages, context)] == [Filtered, Kept]


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ('{"error": null, "temperature": 5}', False),
        ('[{"error" : false}, {"error": ""}, {"failed": 0}]', False),
        ('{"result": {"error": []}, "exception": {}}', False),
        ('{"error": "null", "temperature": 5}', True),
        ('{"error": 0.5}', True),
        ('{"error": null, "reason": "the query failed"}', True),
        ('{"ok": false}', True),
        ("error: null", True),
    ],
)
def test_an_error_of_nothing_is_none(context: Any, said: str, wrong: bool) -> None:
    messages = [{"role": "assistant", "content": "Now."}, {"role": "tool", "content": said}]
    errors = ToolTurns().errors + '|"ok": false'
    (found,) = outcomes(messages, context, errors=errors)
    assert isinstance(found, Filtered if wrong else Kept)


def test_calls_apart_from_the_text_make_a_row_too(context: Any) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "Sunny.", "tool_call_id": "1"},
    ]
    (found,) = outcomes(messages, context)
    assert isinstance(found, Kept)
    assert (found.row["turn"], found.row["span_weights"]) == (1, [])
    messages[2]["content"] = "error: no such city"
    (wrong,) = outcomes(messages, context)
    assert isinstance(wrong, Filtered)


def test_a_conversation_without_a_turn_of_the_assistant_is_filtered(context: Any) -> None:
    for silent in ([{"role": "user", "content": "x"}], [{"role": "assistant", "content": " "}]):
        (found,) = outcomes(silent, context)
        assert isinstance(found, Filtered)
        assert found.rule == "no_turn"


def test_a_row_without_turns_fails_alone_and_a_wrong_pattern_is_refused(context) -> None:
    for messages in (None, "text", [1]):
        (found,) = outcomes(messages, context)
        assert isinstance(found, Failed)
    with pytest.raises(ValidationError, match="not a regular expression"):
        ToolTurns(errors="(")
